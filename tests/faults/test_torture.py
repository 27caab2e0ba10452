"""The proof as a user runs it: `make test` runs a longer one beside these tests."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from telemetry_collector.cli.main import cli

KEYS = {"kills", "faults", "acknowledged", "lost", "doubled", "unreadable", "recovery_seconds", "seed"}
"""What programs that run it rely on."""


def test_torture_loses_and_doubles_nothing_and_tells_so_as_json(tmp_path: Path) -> None:
    arguments = ["torture", "--kills", "2", "--minutes", "2", "--seed", "11", "--json", "--data-dir", str(tmp_path)]
    ran = CliRunner().invoke(cli, arguments)
    told = json.loads(ran.stdout)
    assert set(told) >= KEYS
    assert (told["lost"], told["doubled"], told["unreadable"], told["findings"]) == (0, 0, 0, [])
    assert told["seed"] == 11
    assert told["kills"] >= 2
    assert told["acknowledged"] > 0
    assert told["recovery_seconds"]["max"] >= told["recovery_seconds"]["p50"] > 0
    assert ran.exit_code == 0
    assert list(tmp_path.iterdir()) == [], "where all was well, no files stay"
