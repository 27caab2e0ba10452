"""`telemetry-collector query` as people and machines use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.support.blocks import HOUR, FakeBlocks, Point
from tests.support.dataset import opened, publish
from tests.unit.cli.conftest import Command

BEGIN_NS = HOUR * 3600 * 1_000_000_000
UNTIL = ("--until", "2026-10-24T01:00:00")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten points, one a minute, of two nodes in turn."""
    dataset = opened(tmp_path / "parquet")
    points = [
        Point(value=float(minute), tags={"node_id": f"n{minute % 2}"}, timestamp_ns=BEGIN_NS + minute * 60_000_000_000)
        for minute in range(10)
    ]
    publish(dataset, FakeBlocks(points, 0, 10))
    dataset.close()
    return dataset.root


def test_a_table_has_a_row_for_each_group_and_window(command: Command, place: Path) -> None:
    shown = command("query", place, "system.*", "--by", "node_id", "--step", "30m", *UNTIL)
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines() if "system.cpu.usage" in line]
    assert lines == [
        ["system.cpu.usage", "n0", "2026-10-24", "00:00:00", "4"],
        ["system.cpu.usage", "n1", "2026-10-24", "00:00:00", "5"],
    ]


def test_json_has_the_same_for_programs(command: Command, place: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"parquet": {"output_dir": str(place)}}))
    options = ("--aggregate", "quantile", "--quantile", "0.5", "--quantile", "1", "--where", "node_id!=n0", *UNTIL)
    found = json.loads(command("query", config, "system.cpu.usage", *options, "--json").stdout)
    (series,) = found["series"]
    assert series == {
        "name": "system.cpu.usage",
        "tags": {},
        "points": [{"start_unix_ns": BEGIN_NS, "values": [5.0, 9.0]}],
    }


def test_json_has_null_for_what_no_number_can_be(command: Command, tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    publish(dataset, FakeBlocks([Point(value=1.7e308, timestamp_ns=BEGIN_NS + second) for second in range(2)]))
    dataset.close()
    text = command("query", tmp_path, "system.cpu.usage", "--aggregate", "sum", *UNTIL, "--json").stdout
    assert json.loads(text, parse_constant=pytest.fail)["series"][0]["points"][0]["values"] == [None]


def test_nothing_found_is_said(command: Command, place: Path) -> None:
    shown = command("query", place, "other", *UNTIL)
    assert (shown.exit_code, shown.stdout) == (0, "no points\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("m", "--last", "1x"), 2, "'1x' is no duration; expected one such as 90s, 15m, 1h or 7d"),
        (("m", "--where", "node"), 2, "'node' is no condition"),
        (("m", "--where", "node=~("), 2, "Invalid value for --where: is no regular expression"),
        (
            ("m", "--last", "32d"),
            2,
            "Invalid value for --last: the range is longer than query.range_secs_max = 2678400",
        ),
        (("m", "--last", "1d", "--step", "1s"), 2, "Invalid value for --step: the range has 86400 windows"),
        (("m", "--aggregate", "quantile"), 2, "Invalid value for --quantile: there are none"),
        (("m", "--quantile", "0.5"), 2, "Invalid value for --quantile: avg takes none"),
        (("m", "--by", "a", "--by", "a"), 2, "Invalid value for --by: a is there twice"),
        (("",), 2, "Invalid value for NAME: has 0 bytes"),
        (("m", "--until", "1960-01-01"), 2, "Invalid value for "),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    command: Command, place: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    shown = command("query", place, *words)
    assert shown.exit_code == code
    assert told in shown.stderr
    assert "Traceback" not in shown.stderr
