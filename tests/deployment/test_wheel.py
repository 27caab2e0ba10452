"""The wheel is all that a machine needs."""

import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from tests.deployment.conftest import Installation
from tests.support.repository import run

pytestmark = pytest.mark.slow


def test_one_wheel_serves_every_python_from_3_11_on(installation: Installation) -> None:
    assert re.fullmatch(r"telemetry_collector-[0-9.]+-cp311-abi3-.*linux.*\.whl", installation.wheel.name)


def test_the_wheel_has_the_package_its_types_and_its_licence_and_nothing_else(installation: Installation) -> None:
    with zipfile.ZipFile(installation.wheel) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"telemetry_collector"}
    for needed in (
        "telemetry_collector/py.typed",
        "telemetry_collector/_core.pyi",
        "telemetry_collector/_core.abi3.so",
    ):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".pem", ".key"))]


def test_the_installed_command_tells_its_version(installation: Installation) -> None:
    version = installation.wheel.name.split("-")[1]
    assert version in run(installation.command, "--version", cwd=Path("/"))


def test_the_tests_own_environment_is_not_what_runs(installation: Installation) -> None:
    """The environment is empty but for the locked requirements: what the tests use must not be there."""
    installed = run(
        installation.prefix / "bin/python", "-c", "import telemetry_collector; print(telemetry_collector.__file__)"
    )
    assert installed.startswith(str(installation.prefix))
    for name in ("pytest", "hypothesis", "maturin"):
        run(installation.prefix / "bin/python", "-c", f"import importlib.util as u; assert not u.find_spec({name!r})")
    assert str(installation.prefix) not in sys.path


def test_the_demo_runs_where_only_the_wheel_is(installation: Installation, tmp_path: Path) -> None:
    """Agent, QUIC, journal and Parquet, from an empty directory: everything acknowledged is in the files."""
    output = run(installation.command, "demo", "--seconds", "5", "--json", cwd=tmp_path, timeout=120)
    summary = json.loads(output)
    assert summary["points_acknowledged"] > 0
    assert summary["points_acknowledged"] == summary["points_stored"] == summary["parquet_rows"]
    assert summary["points_refused"] == 0
    assert summary["parquet_files"] > 0
    assert summary["series"] > 0
    assert 0 < summary["ack_ms"]["p50"] <= summary["ack_ms"]["p99"]
    assert summary["seconds"] >= 5
