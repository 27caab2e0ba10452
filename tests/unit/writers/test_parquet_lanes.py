"""Each point is in exactly one file, whatever fails, stops or is cut off, and however many parts are in the making.

A journal of small batches over several hours is written by the writer that users have. What the fan-out would store is
kept, and after every fault it begins where the writer says, as the fan-out does.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.blocks import HOUR, FakeBlocks, blocks_of
from tests.support.dataset import paths, staged
from tests.support.power_loss import Record, recorded
from tests.support.writing import Observed

from telemetry_collector.component import ArrowRecordBatch, ArrowSchema
from telemetry_collector.errors import RetryableError
from telemetry_collector.store import dataset as dataset_module
from telemetry_collector.store import lanes as lanes_module
from telemetry_collector.store.durable import sync_directory
from telemetry_collector.store.encoding import Compression, PartFile
from telemetry_collector.store.exchange import rename_new
from telemetry_collector.store.format import POINTS
from telemetry_collector.store.part import PartName
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

BATCH_POINTS: Final = 3
BATCHES: Final = 40
END: Final = BATCHES * BATCH_POINTS
GROUP_ROWS: Final = 6
# Of the journal's batches, those with which a new hour begins.
HOURS_AT: Final = (9, 10, 25)
SLOW_SECS: Final = 0.001


class Ready(FakeBlocks):
    """Blocks whose record batch takes no time, so that encoding is what takes longest."""

    def record_batch(self, timestamp_unit: str = "us") -> pa.RecordBatch:
        del timestamp_unit
        return _rows(self.start, self.hour)


@cache
def _rows(start: int, hour: int) -> pa.RecordBatch:
    return blocks_of(BATCH_POINTS, start, hour=hour, first=start).record_batch()


def journal(position: int) -> Ready:
    """The batch that begins there."""
    hour = HOUR + sum(position // BATCH_POINTS >= first for first in HOURS_AT)
    blocks = blocks_of(BATCH_POINTS, position, hour=hour, first=position)
    return Ready(blocks.points_list, blocks.start, blocks.end, hour)


class Disk:
    """Fails at a call of a kind, once."""

    def __init__(self) -> None:
        self.calls_left: dict[str, int] = {}
        """Until the one that fails, by its kind."""

    def call(self, kind: str) -> None:
        left = self.calls_left.get(kind)
        if left is not None:
            self.calls_left[kind] = left - 1
            if left == 0:
                raise OSError(28, "No space left on device")


DISK: Final = Disk()


class SlowPart(PartFile):
    """A part whose encoder takes long and whose disk may fail."""

    def __init__(self, path: Path, schema: ArrowSchema, compression: Compression) -> None:
        DISK.call("create")
        super().__init__(path, schema, compression)

    def add(self, rows: ArrowRecordBatch) -> None:
        threading.Event().wait(SLOW_SECS)
        DISK.call("add")
        super().add(rows)

    def finish(self) -> int:
        DISK.call("finish")
        return super().finish()


KINDS: Final = ("create", "add", "finish", "rename", "sync directory")


@contextmanager
def small_world() -> Iterator[None]:
    """Row groups of a few rows, and a disk that fails where it is told to."""

    def failing(kind: str, real: object) -> object:
        def call(*arguments: object) -> None:
            DISK.call(kind)
            real(*arguments)  # type: ignore[operator]

        return call

    DISK.calls_left.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes_module, "ROW_GROUP_ROWS", GROUP_ROWS)
        patch.setattr(dataset_module, "rename_new", failing("rename", rename_new))
        patch.setattr(dataset_module, "sync_directory", failing("sync directory", sync_directory))
        yield


def writer(root: Path, lanes: int) -> ParquetWriter:
    part_format = replace(POINTS, create=SlowPart)
    config = ParquetConfig(output_dir=root)
    return ParquetWriter(config, Observed().context("parquet"), part_format=part_format, lanes=lanes)


def published(root: Path) -> list[tuple[int, int]]:
    """The ranges that readers see, in the journal's order; none of them has another's points."""
    found = sorted((PartName.parse(path.name), path) for path in paths(root))
    ranges = []
    for name, path in found:
        assert name is not None
        values = sorted(pq.read_table(path, columns=["value"])["value"].to_pylist())
        assert values == [float(value) for value in range(name.start, name.end)], "each point of its range, once"
        ranges.append((name.start, name.end))
    return ranges


def check_contiguous(root: Path, stored: int) -> int:
    """Nothing is missing before the end of what is published, and that is not before what was stored."""
    end = 0
    for start, upto in published(root):
        assert start == end, f"{published(root)} has a gap or an overlap"
        end = upto
    assert end >= stored
    return end


Operation = tuple[str, int]
OPERATIONS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 8)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.sampled_from(KINDS), st.integers(0, 5)),
    ),
    max_size=20,
)


async def perform(root: Path, lanes: int, operations: list[Operation]) -> None:
    """What the fan-out does with a writer, over these events; then all of the rest."""
    parquet, stored = writer(root, lanes), 0
    position = await parquet.start(stored)

    async def again() -> int:
        await parquet.stop()
        end = check_contiguous(root, stored)
        assert staged(root) == []
        while True:
            with suppress(RetryableError):  # the disk may fail once more
                assert await parquet.start(stored) == end
                return end

    for what, count in [*operations, ("write", BATCHES), ("flush", 0), ("write", BATCHES), ("flush", 0)]:
        try:
            match what:
                case "write":
                    for _ in range(count):
                        if position < END:
                            await parquet.write(journal(position))
                            position += BATCH_POINTS
                case "flush":
                    stored = await parquet.flush()
                    assert check_contiguous(root, stored) == stored == position
                case "restart":
                    position = await again()
                case kind:
                    DISK.calls_left[kind] = count
        except RetryableError:
            position = await again()
    while position < END or stored < END:
        # Faults that were due meanwhile.
        try:
            while position < END:
                await parquet.write(journal(position))
                position += BATCH_POINTS
            stored = await parquet.flush()
        except RetryableError:
            position = await again()
    await parquet.stop()
    assert check_contiguous(root, END) == END
    assert staged(root) == []
    assert [thread.name for thread in threading.enumerate() if "lane" in thread.name] == []


@pytest.mark.parametrize("lanes", [1, 2, 4])
@given(operations=OPERATIONS)
@settings(max_examples=25, deadline=None)
def test_whatever_happens_each_point_is_in_one_file(lanes: int, operations: list[Operation]) -> None:
    with small_world(), tempfile.TemporaryDirectory() as directory:
        asyncio.run(perform(Path(directory), lanes, operations))


def work(root: Path, lanes: int, stored: int, record: Record | None = None) -> None:
    """Writes the journal from where a process finds itself, with a flush now and then."""

    async def write() -> None:
        parquet = writer(root, lanes)
        try:
            position = await parquet.start(stored)
            while position < END:
                await parquet.write(journal(position))
                position += BATCH_POINTS
                if position % (17 * BATCH_POINTS) == 0 or position == END:
                    end = await parquet.flush()
                    if record is not None:
                        record.note(end)
        finally:
            await parquet.stop()

    asyncio.run(write())


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [2, 4])
def test_a_kill_or_power_loss_between_any_two_calls_costs_nothing(tmp_path: Path, lanes: int) -> None:
    root = tmp_path / "begun"
    root.mkdir()
    with small_world():
        with recorded(root) as record:
            work(root, lanes, 0, record)
        assert len(published(root)) > 6, "parts were in the making beside each other"
        for calls in range(len(record.calls) + 1):
            # The machine keeps what was done: a kill. It keeps what was synchronized, or some of the rest.
            for seed in (1, 0, 3 + calls):
                tree, stored = record.crash(calls, seed)
                left = tmp_path / f"{calls}-{seed}"
                left.mkdir()
                for name, content in tree.items():
                    if content is None:
                        (left / name).mkdir()
                    else:
                        (left / name).write_bytes(content)
                check_contiguous(left, stored)
                if calls % 5 == 0:
                    work(left, lanes, stored)
                    assert check_contiguous(left, END) == END
                    assert staged(left) == []


async def test_stopping_and_giving_up_a_call_end_every_lane(tmp_path: Path) -> None:
    with small_world():
        parquet = writer(tmp_path, 4)
        position = await parquet.start(0)
        for _ in range(20):
            await parquet.write(journal(position))
            position += BATCH_POINTS
        assert any("parquet-lane" in thread.name for thread in threading.enumerate())
        flushing = asyncio.create_task(parquet.flush())
        await asyncio.sleep(0)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        await parquet.stop()
        assert [thread.name for thread in threading.enumerate() if "parquet-lane" in thread.name] == []
        assert staged(tmp_path) == []
        assert await parquet.start(0) == check_contiguous(tmp_path, 0)
        await parquet.stop()
