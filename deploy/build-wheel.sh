#!/bin/sh
# Usage: build-wheel.sh OUTPUT_DIRECTORY
# Builds the abi3 wheel, which every Python from 3.11 on can install, from the sources around this script.
# Needs Rust, a C compiler and maturin (requirements/build.lock) on the PATH.
set -eu
mkdir -p "$1"
output=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
maturin build --release --locked --quiet --out "$output"
ls "$output"
