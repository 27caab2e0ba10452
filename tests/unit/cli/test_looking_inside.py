"""`journal inspect`, `journal verify` and `dataset verify` as people and machines use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.blocks import HISTOGRAM, HOUR, SUMMARY, Point, blocks_of
from tests.support.dataset import opened, publish
from tests.support.journal import journal
from tests.unit.cli.conftest import Command

from telemetry_collector import _core
from telemetry_collector.store.part import PartName

POINTS = [Point(), HISTOGRAM, SUMMARY]
RECEIVED_NS = HOUR * 3600 * 1_000_000_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A closed journal of five batches of three points."""
    directory = tmp_path / "journal"
    with journal(directory, journal_segment_bytes=1 << 16) as opened_journal:
        for _ in range(5):
            opened_journal.append(POINTS, RECEIVED_NS)
    return directory


def segment(place: Path) -> Path:
    return min(place.glob("segment-*"))


def damage(place: Path, at: int) -> None:
    body = bytearray(segment(place).read_bytes())
    body[at] ^= 1
    segment(place).write_bytes(body)


def told(command: Command, *words: str | Path, code: int = 0) -> dict[str, Any]:
    result = command(*words, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_journal_is_shown_with_its_batches_points_cursors_and_checkpoints(command: Command, place: Path) -> None:
    found = told(command, "journal", "inspect", place)
    assert (found["ok"], found["records"], found["batches"], found["points"]) == (True, 5, 5, 15)
    (shown,) = found["segments"]
    assert (shown["base"], shown["cause"], shown["points"], shown["end"]) == (0, "first", 15, found["end"])
    (checkpoint,) = found["checkpoints"]
    assert (checkpoint["position"], checkpoint["series"], checkpoint["identities"], checkpoint["epochs"]) == (
        found["end"], 3, 1, 1,
    )  # fmt: skip
    text = command("journal", "inspect", place).stdout
    assert found["journal_id"] in text
    assert "5 records (5 batches, 15 points)" in text


def test_a_journal_that_is_open_is_shown_and_stays_as_it_is(command: Command, tmp_path: Path) -> None:
    with journal(tmp_path / "journal") as running:
        running.append(POINTS, RECEIVED_NS)
        running.core.cursor("parquet").store(running.core.committed)
        running.append(POINTS, RECEIVED_NS)
        before = {path: path.read_bytes() for path in (tmp_path / "journal").iterdir()}
        found = told(command, "journal", "verify", tmp_path / "journal")
        assert {path: path.read_bytes() for path in (tmp_path / "journal").iterdir()} == before
        assert (found["ok"], found["records"], found["end"]) == (True, 2, running.core.committed)
        (cursor,) = [item for item in found["cursors"] if item["consumer"] == "parquet"]
        assert cursor["lag_bytes"] == running.core.committed - cursor["position"] > 0


def test_a_journal_is_found_by_its_collectors_configuration(command: Command, place: Path) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"journal": {"dir": str(place)}}))
    assert told(command, "journal", "inspect", "c.yaml")["directory"] == str(place)


def test_damage_is_listed_and_verifying_fails(command: Command, place: Path) -> None:
    damage(place, 4096 + 40)
    found = told(command, "journal", "verify", place, code=1)
    (place_of_it,) = found["damage"]
    assert (place_of_it["position"], place_of_it["reason"]) == (4096, "payload-checksum")
    assert found["batches"] == 4
    assert told(command, "journal", "inspect", place)["damaged"] == 1
    text = command("journal", "verify", place)
    assert text.exit_code == 1
    assert "0000000000001000" in text.stdout
    assert "damaged places: 1" in text.stdout


def test_what_recovery_set_aside_is_listed(command: Command, place: Path) -> None:
    for checkpoint in place.glob("checkpoint-*"):
        checkpoint.unlink()
    damage(place, 4096 + 40)
    with journal(place):
        pass
    (kept,) = told(command, "journal", "inspect", place)["quarantine"]
    assert (kept["file"], kept["position"], kept["reason"]) == (f"quarantine-{4096:016x}", 4096, "payload-checksum")


def test_a_journal_of_something_else_is_checked_and_not_decoded(command: Command, place: Path) -> None:
    """As a spool is: the same files, other payloads."""
    body = bytearray(segment(place).read_bytes())
    at, crc = 4096, _crc32c
    while (length := int.from_bytes(body[at + 8 : at + 12], "little")) and body[at + 20] == 1:
        body[at + 32] = 99  # the version of what is in a record
        body[at + 12 : at + 16] = crc(bytes(body[at + 32 : at + 32 + length])).to_bytes(4, "little")
        seeded = crc(bytes(body[at : at + 28]), crc(bytes.fromhex(_id(place))))
        body[at + 28 : at + 32] = seeded.to_bytes(4, "little")
        at += 32 + -(-length // 8) * 8
    segment(place).write_bytes(body)
    for checkpoint in place.glob("checkpoint-*"):
        checkpoint.unlink()
    found = told(command, "journal", "verify", place)
    assert (found["payload"], found["records"], found["batches"], found["ok"]) == ("not decoded", 5, 0, True)
    assert "payload not decoded" in command("journal", "inspect", place).stdout


def _id(place: Path) -> str:
    return segment(place).read_bytes()[16:32].hex()


def _crc32c(data: bytes, start: int = 0) -> int:
    value = start ^ 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_a_newer_journal_is_refused_by_name(command: Command, place: Path) -> None:
    body = bytearray(segment(place).read_bytes())
    for at in (0, 2048):
        body[at + 8] = 2
        body[at + 12 : at + 16] = _crc32c(bytes(body[at : at + 12])).to_bytes(4, "little")
    segment(place).write_bytes(body)
    result = command("journal", "inspect", place)
    assert result.exit_code == 1
    assert f"{segment(place)} has format version 2" in result.stderr
    with pytest.raises(_core.JournalError, match="format version 2"), journal(place):
        pass


def test_a_dataset_is_verified(command: Command, tmp_path: Path) -> None:
    dataset = opened(tmp_path / "data")
    path = publish(dataset, blocks_of(10, 0))
    assert told(command, "dataset", "verify", tmp_path / "data")["rows"] == 10
    assert "10 rows" in command("dataset", "verify", tmp_path / "data").stdout
    path.with_name(str(PartName("f" * 32, 0, 10))).write_bytes(path.read_bytes())
    found = told(command, "dataset", "verify", tmp_path / "data", code=1)
    assert (found["doubled_batches"], found["doubled_rows"]) == (1, 10)
    path.write_bytes(b"half")
    text = command("dataset", "verify", tmp_path / "data")
    assert text.exit_code == 1
    assert str(path) in text.stdout


def test_several_datasets_are_compared(command: Command, tmp_path: Path) -> None:
    for name in ("one", "other"):
        publish(opened(tmp_path / name), blocks_of(10, 0))
    Path("c.yaml").write_text(yaml.safe_dump({"parquet": {"output_dir": str(tmp_path / "one")}}))
    found = told(command, "dataset", "verify", "c.yaml", tmp_path / "other")
    assert (found["ok"], found["across_batches"], found["across_rows"]) == (True, 1, 10)
    assert "1 batches are in more than one dataset" in command("dataset", "verify", "c.yaml", tmp_path / "other").stdout


@pytest.mark.parametrize("words", [("journal", "inspect", "absent"), ("journal", "verify"), ("dataset", "verify")])
def test_a_command_line_that_names_nothing_is_not_understood(command: Command, words: tuple[str, ...]) -> None:
    assert command(*words).exit_code == 2


def test_a_configuration_without_a_dataset_is_not_understood(command: Command) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"console": {}}))
    assert command("dataset", "verify", "c.yaml").exit_code == 2


def test_a_directory_without_a_journal_is_told(command: Command, tmp_path: Path) -> None:
    result = command("journal", "verify", tmp_path)
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr


def test_a_directory_that_is_no_dataset_is_not_said_to_be_whole(command: Command, tmp_path: Path) -> None:
    result = command("dataset", "verify", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} holds no dataset" in result.stderr
    assert result.stdout == ""
