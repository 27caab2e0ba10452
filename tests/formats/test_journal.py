"""Journals and checkpoints of every released format are opened by this program, and hold what was stored in them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.formats.make import RECEIVED_NS, SEGMENT_BYTES, points, rows, write
from tests.support.journal import IDENTITY, journal
from tests.support.protobuf import framed, pb
from tests.support.repository import REPOSITORY

from telemetry_collector import _core
from telemetry_collector.pipeline.inspection import inspect_journal

SAMPLES = REPOSITORY / "tests" / "formats"
NEWEST = 1
"""The format that this program writes."""

STORED, DUPLICATE = 1, 2


@pytest.fixture(params=range(1, NEWEST + 1))
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    name = f"journal-{request.param}"
    with tarfile.open(SAMPLES / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / name, json.loads((SAMPLES / f"{name}.json").read_text())


def test_it_is_opened_and_holds_the_points_cursors_and_series(sample: tuple[Path, dict[str, Any]]) -> None:
    directory, expected = sample
    with journal(directory, journal_segment_bytes=SEGMENT_BYTES) as opened:
        recovery = opened.core.recovery
        assert opened.core.journal_id == expected["journal_id"]
        assert {name: recovery[name] for name in ("series", "torn_bytes")} == {
            name: expected[name] for name in ("series", "torn_bytes")
        }
        assert (recovery["records"], recovery["undecodable"]) == (expected["replayed"], 0)
        assert len(recovery["quarantined"]) == 1
        for consumer, position in expected["cursors"].items():
            assert opened.core.cursor(consumer).stored == position
        assert rows(opened.blocks(0)) == expected["points"]


def test_names_that_it_stored_are_duplicates_and_others_are_not(sample: tuple[Path, dict[str, Any]]) -> None:
    directory, expected = sample
    with journal(directory, journal_segment_bytes=SEGMENT_BYTES) as opened:
        conversation = opened.core.conversation(IDENTITY, "node-1", relay=False)
        for outcome, sequences in ((DUPLICATE, expected["stored"]), (STORED, expected["not_stored"])):
            for sequence in sequences:
                metric = pb.Metric(name="again", type=2, timestamp_unix_ns=RECEIVED_NS, value=1.0)
                batch = pb.MetricBatch(sequence=sequence, epoch=expected["epoch"], metrics=[metric])
                answer = conversation.receive(framed(batch), RECEIVED_NS)
                assert opened.core.drain(30.0)
                (ack,) = _core.AckReader().feed(answer + conversation.replies())
                assert (sequence, ack.outcome) == (sequence, outcome)


def test_it_is_looked_into_without_being_opened(sample: tuple[Path, dict[str, Any]]) -> None:
    directory, expected = sample
    found = inspect_journal(directory)
    assert (found["journal_id"], found["end"]) == (expected["journal_id"], expected["end"])
    assert (found["batches"], found["points"]) == (len(expected["stored"]), len(expected["points"]))
    assert found["tail_bytes"] == expected["torn_bytes"]
    assert [(item["position"], item["reason"]) for item in found["damage"]] == [
        (expected["quarantined"], "payload-checksum")
    ]
    assert [item["position"] for item in found["quarantine"]] == [expected["quarantined"]]
    assert {item["consumer"]: item["position"] for item in found["cursors"]} == expected["cursors"]
    (checkpoint,) = found["checkpoints"]
    assert (checkpoint["identities"], checkpoint["epochs"], checkpoint["bytes"] > 0) == (1, 1, True)


def test_the_newest_sample_is_of_the_format_that_is_written_now(tmp_path: Path) -> None:
    """A new format, or another story of the script, needs a sample of its own: README.md."""
    now = write(tmp_path)
    assert inspect_journal(tmp_path / "journal-1")["format_version"] == NEWEST
    then = json.loads((SAMPLES / f"journal-{NEWEST}.json").read_text())
    assert now | {"journal_id": ""} == then | {"journal_id": ""}
    assert {point.type for point in points(3)} == {"counter", "gauge", "meter", "histogram", "summary"}
