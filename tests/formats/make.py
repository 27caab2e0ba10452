"""Makes the sample of a journal: `python -m tests.formats.make DIRECTORY`; README.md tells its story."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.support.blocks import HISTOGRAM, HOUR, SUMMARY, Point
from tests.support.journal import EPOCH, IDENTITY, Journal, journal

from telemetry_collector import _core

RECEIVED_NS = HOUR * 3600 * 1_000_000_000
SEGMENT_BYTES = 1 << 16


def points(sequence: int) -> list[Point]:
    """One of each type; the values tell the batch, and every third batch brings a series of its own."""
    value = float(sequence)
    return [
        Point(
            "requests", value, {"node_id": "node-1", "path": "/ü"}, RECEIVED_NS + sequence, "counter", "1", delta=True
        ),
        Point("temperature", -value / 3, {"node_id": "node-1", "region": "eu"}, RECEIVED_NS - sequence, "gauge", "Cel"),
        Point("rate", value * 1e300, {"node_id": "node-1"}, RECEIVED_NS, "meter", "1/s"),
        HISTOGRAM,
        SUMMARY,
        *([Point(f"only.{sequence}", value)] if sequence % 3 == 0 else []),
    ]


def append(opened: Journal, *sequences: int) -> None:
    for sequence in sequences:
        opened.sequence = sequence - 1
        opened.append(points(sequence), RECEIVED_NS + sequence * 1_000_000)


def rows(blocks: list[_core.Blocks]) -> list[dict[str, Any]]:
    """All points as plain values."""
    table = pa.Table.from_batches([pa.record_batch(block.record_batch("ns")) for block in blocks])
    for name in ("timestamp", "received"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(pa.int64()))
    return [json.loads(json.dumps(row)) for row in table.to_pylist()]


def write(directory: Path) -> dict[str, Any]:
    """The journal as it was left; returns what is to be found."""
    live, killed = directory / "live", directory / "killed"
    settings: dict[str, Any] = {"journal_segment_bytes": SEGMENT_BYTES}
    with journal(live, **settings) as opened:
        append(opened, 1, 2)
        cursor = opened.core.cursor("parquet")
        cursor.store(opened.core.committed)
        stored = cursor.stored
        append(opened, 3, 4)
    with journal(live, **settings) as opened:
        append(opened, 5)
        start = opened.core.committed
        append(opened, 6, 7)
        shutil.copytree(live, killed)
    body = killed / max(path.name for path in killed.glob("segment-*"))
    flip(body, start - int(body.name[8:], 16) + 100)
    with journal(killed, **settings) as opened:
        append(opened, 8)
        end = opened.core.committed
        append(opened, 9)
        left = shutil.copytree(killed, directory / "journal-1")
    body = left / max(path.name for path in left.glob("segment-*"))
    content = body.read_bytes()
    torn = end - int(body.name[8:], 16) + 200
    body.write_bytes(content[:torn] + bytes(len(content) - torn))
    shutil.copytree(left, directory / "read")
    with journal(directory / "read", **settings) as opened:
        return {
            "journal_id": opened.core.journal_id,
            "identity": IDENTITY,
            "epoch": EPOCH,
            "stored": [1, 2, 3, 4, 5, 7, 8],
            "not_stored": [6, 9],
            "cursors": {"parquet": stored},
            "end": end,
            "quarantined": start,
            "series": opened.core.recovery["series"],
            "replayed": opened.core.recovery["records"],
            "torn_bytes": opened.core.recovery["torn_bytes"],
            "points": rows(opened.blocks(0)),
        }


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 0x10
    path.write_bytes(body)


def make(target: Path) -> None:
    """Writes the archive and what is to be found in it."""
    with tempfile.TemporaryDirectory() as scratch:
        expected = write(Path(scratch))
        with tarfile.open(target / "journal-1.tar.xz", "w:xz") as archive:
            archive.add(Path(scratch) / "journal-1", "journal-1", filter=_plain)
    (target / "journal-1.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.endswith(("/lock", ".tmp")) else entry


if __name__ == "__main__":
    make(Path(sys.argv[1]))
