#!/bin/sh
# Usage: install.sh PREFIX WHEEL [PYTHON]
# Installs the collector into a virtual environment of its own at PREFIX; the command is PREFIX/bin/telemetry-collector.
# Everything it depends on is taken only with the hashes of requirements/runtime.lock. Run again, it upgrades.
set -eu
prefix=$1
wheel=$2
python=${3:-python3}
requirements=$(dirname "$0")/../requirements/runtime.lock
"$python" -m venv "$prefix"
pip() { "$prefix/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
pip install --quiet --require-hashes --no-deps -r "$requirements"
pip install --quiet --no-deps --no-index --force-reinstall "$wheel"
pip check
"$prefix/bin/telemetry-collector" --version
