"""What a destination refuses for good is in a file, whole and durable, before the cursor passes it; all is bounded."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.support.blocks import blocks_of
from tests.support.influx import FakeInflux, Reply, Request
from tests.support.writing import Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import ConfigError, RetryableError
from telemetry_collector.writers.dead_letter import DeadLetter, DeadLetters
from telemetry_collector.writers.influxdb import InfluxWriter

from .test_influxdb import config, lines

NAME = "influxdb"


def letters(directory: Path, observed: Observed, max_bytes: int = 1 << 20) -> DeadLetters:
    opened = DeadLetters(directory, max_bytes, observed.context(NAME), ManualClock())
    opened.open()
    return opened


def letter(text: str, count: int = 1) -> DeadLetter:
    return DeadLetter("bad_request", "400 no", f"{text} value=1 1\n".encode() * count)


def kept(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def test_a_refusal_is_kept_with_the_servers_words_for_its_owner_alone(tmp_path: Path) -> None:
    observed, directory = Observed(), tmp_path / "new" / "letters"
    opened = letters(directory, observed)
    opened.keep([letter("cpu,host=ä", 2)])
    opened.keep([letter("memory")])
    (path,) = directory.iterdir()
    assert path.name == "influxdb-00000001.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert kept(directory)[0] == {
        "time": "2027-01-15T08:00:00.000+00:00",
        "reason": "bad_request",
        "answer": "400 no",
        "points": 2,
        "lines": "cpu,host=ä value=1 1\n" * 2,
    }
    assert observed.count("dead_letter_points", NAME) == 3
    assert observed.count("dead_letter_bytes", NAME) == path.stat().st_size


def test_it_is_on_stable_storage_when_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    opened = letters(tmp_path, Observed())
    monkeypatch.setattr(os, "fsync", noted)
    opened.keep([letter("cpu")])
    assert synced == ["influxdb-00000001.jsonl", tmp_path.name], "the file, and that it is there"
    opened.keep([letter("cpu")])
    assert synced[2:] == ["influxdb-00000001.jsonl"]


def test_the_oldest_file_makes_room_and_its_points_are_counted(tmp_path: Path) -> None:
    observed = Observed()
    opened = letters(tmp_path, observed, max_bytes=8_000)
    for number in range(100):
        opened.keep([letter(f"cpu{number}", 20)])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8_000
    found = kept(tmp_path)
    assert found[-1]["lines"].startswith("cpu99 ")
    numbers = [int(entry["lines"].split()[0].removeprefix("cpu")) for entry in found]
    assert numbers == list(range(numbers[0], 100)), "the newest, without a gap"
    assert observed.count("dead_letter_points_dropped", NAME) == 20 * numbers[0] > 0


def test_what_is_larger_than_all_files_may_be_is_kept_until_there_is_newer(tmp_path: Path) -> None:
    observed = Observed()
    opened = letters(tmp_path, observed, max_bytes=1_000)
    opened.keep([letter("large", 1_000)])
    assert [entry["points"] for entry in kept(tmp_path)] == [1_000]
    opened.keep([letter("small")])
    assert [entry["points"] for entry in kept(tmp_path)] == [1]
    assert observed.count("dead_letter_points_dropped", NAME) == 1_000


def test_a_new_start_leaves_a_torn_line_alone_and_others_files_too(tmp_path: Path) -> None:
    letters(tmp_path, Observed()).keep([letter("before")])
    (first,) = tmp_path.iterdir()
    torn = first.read_bytes()[:-30]
    first.write_bytes(torn)
    (tmp_path / "other-00000007.jsonl").write_text("mine")
    (tmp_path / "influxdb-notes.txt").write_text("mine")
    observed = Observed()
    opened = letters(tmp_path, observed, max_bytes=1_000)
    opened.keep([letter("after")])
    assert first.read_bytes() == torn
    assert json.loads((tmp_path / "influxdb-00000002.jsonl").read_text())["lines"].startswith("after")
    opened.keep([letter("large", 1_000)])
    assert {path.name for path in tmp_path.iterdir()} == {
        "influxdb-00000003.jsonl",
        "other-00000007.jsonl",
        "influxdb-notes.txt",
    }
    assert observed.count("dead_letter_points_dropped", NAME) == 1, "what is torn has no count"


def test_a_file_that_cannot_be_removed_is_no_reason_to_keep_a_refusal_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = Observed()
    opened = letters(tmp_path, observed, max_bytes=1_000)
    opened.keep([letter("first", 100)])
    unlink = Path.unlink

    def stuck(path: Path, missing_ok: bool = False) -> None:
        if path.name == "influxdb-00000001.jsonl":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", stuck)
    opened.keep([letter("second", 100)])
    opened.keep([letter("third", 100)])
    assert [entry["lines"].split()[0] for entry in kept(tmp_path)] == ["first", "third"]
    assert observed.count("dead_letter_points_dropped", NAME) == 100
    monkeypatch.undo()
    opened.keep([letter("fourth", 100)])
    assert [entry["lines"].split()[0] for entry in kept(tmp_path)] == ["fourth"]


def test_a_file_that_was_moved_away_to_be_sent_again_is_no_error(tmp_path: Path) -> None:
    opened = letters(tmp_path, Observed())
    opened.keep([letter("one")])
    (tmp_path / "influxdb-00000001.jsonl").rename(tmp_path / "mended")
    opened.keep([letter("two")])
    assert [entry["lines"].split()[0] for entry in kept(tmp_path)] == ["two"]


def test_a_directory_that_cannot_be_used_is_a_mistake_that_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"influxdb\.dead_letter_dir: cannot be used: .*directory"):
        letters(tmp_path / "file" / "below", Observed())


# In the writer.


def refusing(request: Request) -> Reply:
    return Reply(400, "field type conflict") if any(b"node-1" in line for line in request.lines) else Reply()


async def test_the_refused_lines_and_no_others_are_there_before_the_position_is(tmp_path: Path) -> None:
    observed = Observed()
    async with FakeInflux(judge=refusing) as influx:
        context = observed.context(NAME)
        writer = InfluxWriter(config(influx.url, dead_letter_dir=tmp_path), context)
        await writer.start(0)
        await writer.write(blocks_of(12, 0))
        assert await writer.flush() == 12
        found = kept(tmp_path)
        refused = [line for line in lines(12) if b"node-1" in line]
        assert sorted("".join(entry["lines"] for entry in found).encode().splitlines()) == sorted(refused)
        assert {(entry["reason"], entry["answer"]) for entry in found} == {("bad_request", "400 field type conflict")}
        assert len(influx.accepted) + len(refused) == 12
        assert observed.count("dead_letter_points", NAME) == len(refused)
        assert observed.count("points_refused", NAME, reason="bad_request") == len(refused)
        await writer.stop()


async def test_what_cannot_be_kept_is_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    observed = Observed()
    async with FakeInflux(judge=refusing) as influx:
        writer = InfluxWriter(config(influx.url, dead_letter_dir=tmp_path), observed.context(NAME))
        await writer.start(0)
        await writer.write(blocks_of(12, 0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RetryableError, match="No space left"):
                await writer.flush()
        assert observed.count("points_refused", NAME, reason="bad_request") == 0, "they are refused again"
        await writer.stop()
        assert await writer.start(0) == 0
        await writer.write(blocks_of(12, 0))
        assert await writer.flush() == 12
        assert sum(entry["points"] for entry in kept(tmp_path)) >= 4
        assert observed.count("points_refused", NAME, reason="bad_request") == 4
        await writer.stop()
