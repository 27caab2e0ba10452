"""One version, wherever it is written."""

import tomllib

from tests.support.repository import REPOSITORY

import telemetry_collector
from telemetry_collector import _core


def test_package_and_crates_have_the_same_version() -> None:
    workspace = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]
    assert workspace["package"]["version"] == telemetry_collector.__version__


def test_the_extension_is_built_from_this_version() -> None:
    assert _core.__version__ == telemetry_collector.__version__


def test_the_packages_version_is_that_of_the_crates() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project
