"""A command line, and the entry points of an installed collector."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.repository import REPOSITORY

from telemetry_collector.cli.main import cli

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `telemetry-collector` with words, in an empty directory, without the machine's own configuration."""
    where = tmp_path / "here"
    where.mkdir()
    monkeypatch.chdir(where)
    monkeypatch.setattr("telemetry_collector.config.search.COLLECTOR_PATHS", (Path("config.yaml"),))
    monkeypatch.setattr("telemetry_collector.config.search.AGENT_PATHS", (Path("agent.yaml"),))

    def run(*words: str | Path) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], prog_name="telemetry-collector")

    return run


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers are found by entry point, as when the collector is installed."""
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "telemetry_collector-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telemetry-collector\nVersion: 0\n")
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
