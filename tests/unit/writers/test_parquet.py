"""The Parquet writer: what is published when, under which ranges, what a restart finds, and what faults do."""

import asyncio
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.blocks import HISTOGRAM, HOUR, SUMMARY, FakeBlocks, Point, blocks_of
from tests.support.dataset import names, paths, staged, values
from tests.support.parquet import name, writer
from tests.support.writing import Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import ConfigError, CoreError, PermanentError, RetryableError
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.exchange import rename_new
from telemetry_collector.store.part import partition

# Publishing.


async def test_nothing_is_visible_before_the_flush_and_all_after_it(tmp_path: Path) -> None:
    observed = Observed()
    parquet = writer(tmp_path, observed)
    assert await parquet.start(0) == 0
    await parquet.write(blocks_of(10, 0))
    await parquet.write(blocks_of(10, 10, first=10))
    assert names(tmp_path) == []
    assert await parquet.flush() == 20
    assert names(tmp_path) == [name(0, 20)]
    assert values(tmp_path) == [float(value) for value in range(20)]
    assert observed.count("points", "parquet") == 20
    assert observed.count("files", "parquet") == 1
    (path,) = paths(tmp_path)
    assert observed.count("bytes", "parquet") == path.stat().st_size
    await parquet.stop()


async def test_flushing_nothing_publishes_nothing(tmp_path: Path) -> None:
    parquet = writer(tmp_path)
    await parquet.start(7)
    assert await parquet.flush() == 7
    await parquet.write(FakeBlocks([], 7, 12))
    assert await parquet.flush() == 12
    assert names(tmp_path) == []
    await parquet.write(blocks_of(3, 12))
    assert await parquet.flush() == 15
    assert names(tmp_path) == [name(7, 15)], "the range without points belongs to the next file"
    await parquet.stop()


async def test_each_hour_has_its_own_file_with_its_own_range(tmp_path: Path) -> None:
    parquet = writer(tmp_path, lanes=1)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    await parquet.write(blocks_of(10, 10, hour=HOUR + 1))
    assert [path.relative_to(tmp_path) for path in paths(tmp_path)] == [partition(HOUR) / name(0, 10)]
    assert await parquet.flush() == 20
    assert [path.relative_to(tmp_path) for path in paths(tmp_path)] == [
        partition(HOUR) / name(0, 10),
        partition(HOUR + 1) / name(10, 20),
    ]
    await parquet.stop()


async def test_ranges_have_no_gaps_where_the_journal_skips_some_bytes(tmp_path: Path) -> None:
    parquet = writer(tmp_path)
    await parquet.start(0)
    for start in (4, 30):
        await parquet.write(blocks_of(10, start))
        await parquet.flush()
    assert names(tmp_path) == [name(0, 14), name(14, 40)]
    await parquet.stop()


async def test_a_file_that_has_its_size_is_published_before_the_flush(tmp_path: Path) -> None:
    parquet = writer(tmp_path, lanes=1, file_max_bytes=2)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    assert names(tmp_path) == [name(0, 10)]
    assert await parquet.flush() == 10
    await parquet.stop()


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
async def test_the_compression_is_the_one_asked_for(tmp_path: Path, compression: str) -> None:
    parquet = writer(tmp_path, compression=compression)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    await parquet.flush()
    (path,) = paths(tmp_path)
    expected = {"snappy": "SNAPPY", "zstd": "ZSTD", "none": "UNCOMPRESSED"}[compression]
    group = pq.read_metadata(path).row_group(0)
    assert {group.column(index).compression for index in range(group.num_columns)} == {expected}
    await parquet.stop()


@pytest.mark.parametrize("unit", ["us", "ns"])
async def test_files_hold_the_documented_columns(tmp_path: Path, unit: str) -> None:
    parquet = writer(tmp_path, timestamp_unit=unit)
    moment = HOUR * 3600 * 10**9 + 123_456_789
    await parquet.start(0)
    await parquet.write(FakeBlocks([Point(timestamp_ns=moment, tags={"x": "y"}), HISTOGRAM, SUMMARY], 0, 9))
    await parquet.flush()
    (path,) = paths(tmp_path)
    metadata = pq.read_metadata(path)
    schema = pq.read_schema(path)
    assert metadata.metadata == {b"telemetry.schema_version": b"1"}, "no Arrow schema that some readers would follow"
    assert schema.field("timestamp").type == pa.timestamp(unit, tz="UTC")
    assert schema.field("name").type == pa.utf8()
    assert not any("UINT" in str(metadata.schema.column(index).logical_type) for index in range(len(metadata.schema)))
    raw = metadata.row_group(0).column(0).statistics.max_raw
    assert raw == (moment if unit == "ns" else moment // 1000)
    await parquet.stop()


# Restarts.


async def test_what_was_not_flushed_is_asked_for_again(tmp_path: Path) -> None:
    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    await parquet.flush()
    await parquet.write(blocks_of(10, 10, first=10))
    await parquet.stop()
    assert staged(tmp_path) == []
    assert await parquet.start(0) == 10
    await parquet.write(blocks_of(10, 10, first=10))
    assert await parquet.flush() == 20
    assert values(tmp_path) == [float(value) for value in range(20)]
    await parquet.stop()


@pytest.mark.parametrize(("stored", "expected"), [(0, 10), (10, 10), (25, 25)])
async def test_a_new_process_starts_at_the_greater_of_cursor_and_files(
    tmp_path: Path, stored: int, expected: int
) -> None:
    first = writer(tmp_path)
    await first.start(0)
    await first.write(blocks_of(10, 0))
    await first.flush()
    await first.stop()
    second = writer(tmp_path)
    assert await second.start(stored) == expected
    await second.stop()


async def test_a_range_that_was_given_up_is_in_no_name_and_no_row_goes_with_it(tmp_path: Path) -> None:
    """The journal was full: the writer is stopped with 10 to 20 in its hands, and starts anew at 50."""
    observed, clock = Observed(), ManualClock((HOUR + 3) * 3600)
    parquet = writer(tmp_path, observed, clock, flush_interval_secs=1)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    assert await parquet.flush() == 10
    await parquet.write(blocks_of(10, 10, first=100))
    await parquet.stop()
    assert await parquet.start(50) == 50
    for start in (50, 60):
        await parquet.write(blocks_of(10, start, first=start))
        assert await parquet.flush() == start + 10
    kept = [*range(10), *range(50, 70)]
    assert names(tmp_path) == [name(0, 10), name(50, 60), name(60, 70)]
    assert values(tmp_path) == [float(value) for value in kept]
    clock.advance(3600)
    await parquet.maintain()
    await parquet.settled()
    assert names(tmp_path) == [name(0, 10), name(50, 70)], "neighbours are joined, and nothing over the gap"
    assert values(tmp_path) == [float(value) for value in kept]
    await parquet.stop()
    again = writer(tmp_path)
    assert await again.start(50) == 70, "and what was published behind the gap is not written again"
    await again.stop()


async def test_a_second_writer_on_the_directory_fails_and_says_why(tmp_path: Path) -> None:
    first, second = writer(tmp_path), writer(tmp_path)
    await first.start(0)
    with pytest.raises(ConfigError, match=rf"parquet.output_dir = {tmp_path}: is in use by another collector"):
        await second.start(0)
    await second.stop()
    await first.stop()
    assert await second.start(0) == 0
    await second.stop()


# Faults.


async def test_a_full_disk_is_retryable_and_the_retry_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: PartFile) -> int:
        del file
        raise OSError(28, "No space left on device")

    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    with monkeypatch.context() as patch:
        patch.setattr(PartFile, "finish", full)
        with pytest.raises(RetryableError, match=rf"cannot write to {tmp_path}: .*No space left"):
            await parquet.flush()
    await parquet.stop()
    assert await parquet.start(0) == 0
    await parquet.write(blocks_of(10, 0))
    assert await parquet.flush() == 10
    assert values(tmp_path) == [float(value) for value in range(10)]
    await parquet.stop()


async def test_a_fault_after_the_rename_does_not_double_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_then_fail(source: Path, target: Path) -> None:
        rename_new(source, target)
        raise OSError(5, "Input/output error")

    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    with monkeypatch.context() as patch:
        patch.setattr("telemetry_collector.store.dataset.rename_new", rename_then_fail)
        with pytest.raises(RetryableError):
            await parquet.flush()
    await parquet.stop()
    assert await parquet.start(0) == 10
    assert values(tmp_path) == [float(value) for value in range(10)]
    await parquet.stop()


async def test_blocks_that_make_no_batch_are_refused_and_the_next_ones_taken(tmp_path: Path) -> None:
    class Garbled(FakeBlocks):
        def record_batch(self, timestamp_unit: str = "us") -> pa.RecordBatch:
            raise CoreError(f"no {timestamp_unit}")

    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    with pytest.raises(PermanentError, match=r"blocks \[10, 20\) make no record batch: no us"):
        await parquet.write(Garbled([Point()], 10, 20))
    await parquet.write(blocks_of(10, 20, first=10))
    assert await parquet.flush() == 30
    assert values(tmp_path) == [float(value) for value in range(20)]
    await parquet.stop()


async def test_blocks_that_were_written_are_never_written_again(tmp_path: Path) -> None:
    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    await parquet.flush()
    with pytest.raises(RetryableError, match="expected some that begin at 10"):
        await parquet.write(blocks_of(10, 5))
    await parquet.stop()


async def test_the_event_loop_runs_on_while_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    finish = PartFile.finish

    def slow(file: PartFile) -> int:
        begun.set()
        assert go_on.wait(10)
        return finish(file)

    monkeypatch.setattr(PartFile, "finish", slow)
    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    flushing = asyncio.create_task(parquet.flush())
    await asyncio.to_thread(begun.wait, 10)
    assert not flushing.done()
    go_on.set()
    assert await flushing == 10
    await parquet.stop()


async def test_a_cancelled_flush_leaves_a_whole_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    finish = PartFile.finish

    def slow(file: PartFile) -> int:
        begun.set()
        assert go_on.wait(10)
        return finish(file)

    monkeypatch.setattr(PartFile, "finish", slow)
    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    flushing = asyncio.create_task(parquet.flush())
    await asyncio.to_thread(begun.wait, 10)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    stopping = asyncio.create_task(parquet.stop())
    go_on.set()
    await stopping
    assert await parquet.start(0) == 10
    assert values(tmp_path) == [float(value) for value in range(10)]
    await parquet.stop()
