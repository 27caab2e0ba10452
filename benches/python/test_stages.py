"""What each call into the core, and each step behind it, takes for batches of 1,000 points.

`make bench` times them. `.venv/bin/python -m pytest benches/python --benchmark-enable -k receive` times one.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches.reference import NODE, POINTS, batch, series
from telemetry_collector._core import Blocks, Conversation, Cursor, FrameEncoder, Ingest, IngestSettings
from telemetry_collector.store.encoding import PartFile

Form = Literal["columnar", "row"]
FORMS = get_args(Form)
ROUNDS = 200
"""Of what cannot be repeated without making ready for it."""
BATCHES = 50
"""In the blocks that writers take."""
LINES_BYTES = 1_000_000
PATIENCE_SECS = 30.0


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    opened = Ingest(IngestSettings(journal_dir=str(tmp_path / "journal")))
    yield opened
    opened.close()


def conversation(ingest: Ingest) -> Conversation:
    return ingest.conversation(NODE, NODE, relay=False)


def frames(form: Form) -> Iterator[bytes]:
    """Batch after batch of one stream. The first one defines its series."""
    encoder, definitions, now = FrameEncoder(form=form, compression="none"), series(), time.time_ns()
    for sequence in itertools.count(1):
        readings = batch(now + sequence * 1_000_000, definitions)
        yield encoder.frame(readings, sequence=sequence, epoch=1, oldest_unacknowledged=sequence)


@pytest.fixture
def cursor(ingest: Ingest) -> Cursor:
    """At the beginning of so many batches."""
    reader, stream = ingest.cursor("bench"), conversation(ingest)
    for frame in itertools.islice(frames("columnar"), BATCHES):
        stream.receive(frame, time.time_ns())
        assert ingest.drain(PATIENCE_SECS)
        stream.replies()
    return reader


@pytest.fixture
def blocks(cursor: Cursor) -> Blocks:
    read = cursor.read(BATCHES * POINTS)
    assert read is not None
    assert read.points == BATCHES * POINTS
    return read


@pytest.mark.parametrize("form", FORMS)
def test_encode(benchmark: BenchmarkFixture, form: Form) -> None:
    encoder, readings, sequences = (
        FrameEncoder(form=form, compression="none"),
        batch(time.time_ns(), series()),
        itertools.count(1),
    )
    encoder.frame(readings, sequence=next(sequences), epoch=1)
    assert benchmark(lambda: encoder.frame(readings, sequence=next(sequences), epoch=1))


@pytest.mark.parametrize("form", FORMS)
def test_receive(benchmark: BenchmarkFixture, ingest: Ingest, form: Form) -> None:
    stream, source = conversation(ingest), frames(form)

    def ready() -> tuple[tuple[bytes, int], dict[str, object]]:
        assert ingest.drain(PATIENCE_SECS)
        stream.replies()
        return (next(source), time.time_ns()), {}

    benchmark.pedantic(stream.receive, setup=ready, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert stream.fault == 0
    assert ingest.drain(PATIENCE_SECS)
    assert ingest.stats()["points_committed"] == stream.frames * POINTS


def test_cursor_read(benchmark: BenchmarkFixture, cursor: Cursor) -> None:
    start = cursor.position

    def read() -> int:
        cursor.seek(start)
        found = cursor.read(BATCHES * POINTS)
        return found.points if found else 0

    assert benchmark(read) == BATCHES * POINTS


def test_record_batch(benchmark: BenchmarkFixture, blocks: Blocks) -> None:
    assert benchmark(lambda: pa.record_batch(blocks.record_batch()).num_rows) == BATCHES * POINTS


def test_parquet_file(benchmark: BenchmarkFixture, blocks: Blocks, tmp_path: Path) -> None:
    rows = pa.record_batch(blocks.record_batch())

    def write() -> int:
        file = PartFile(tmp_path / "part", rows.schema, "snappy")
        file.add(rows)
        return file.finish()

    assert benchmark(write) > 0


def test_line_protocol(benchmark: BenchmarkFixture, blocks: Blocks) -> None:
    assert benchmark(lambda: blocks.line_protocol(LINES_BYTES).lines) == BATCHES * POINTS
