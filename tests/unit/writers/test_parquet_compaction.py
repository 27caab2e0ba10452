"""The Parquet writer joins past hours in the background, and gives way, fails and stops as it should."""

import asyncio
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import names, staged, values
from tests.support.parquet import name, writer
from tests.support.writing import Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.store.compaction import Compactor
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.part import partition
from telemetry_collector.writers.parquet import ParquetWriter


async def test_maintain_compacts_what_is_past_without_holding_up_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, clock = Observed(), ManualClock((HOUR + 1) * 3600 + 100.0)
    parquet = writer(tmp_path, observed, clock)
    await parquet.start(0)
    for start in (0, 10):
        await parquet.write(blocks_of(10, start, first=start))
        await parquet.flush()
    clock.advance(20)
    begun, go_on = threading.Event(), threading.Event()
    finish = PartFile.finish

    def slow(file: PartFile) -> int:
        if file.path.parent.suffix == ".hour":
            begun.set()
            assert go_on.wait(10)
        return finish(file)

    monkeypatch.setattr(PartFile, "finish", slow)
    await parquet.maintain()
    await asyncio.to_thread(begun.wait, 10)
    await parquet.maintain()
    await parquet.write(blocks_of(10, 20, first=20))
    assert await parquet.flush() == 30
    assert len(names(tmp_path)) == 3
    go_on.set()
    await parquet.settled()
    assert names(tmp_path) == [name(0, 20), name(20, 30)]
    assert values(tmp_path) == [float(value) for value in range(30)]
    assert observed.count("compactions", "parquet") == 1
    assert observed.count("compacted_files", "parquet") == 2
    await parquet.stop()


async def test_looking_for_past_periods_is_done_once_in_a_while(tmp_path: Path) -> None:
    clock = ManualClock((HOUR + 1) * 3600 + 100.0)
    parquet = writer(tmp_path, clock=clock)
    await parquet.start(0)
    for start in (0, 10):
        await parquet.write(blocks_of(10, start))
        await parquet.flush()
    for secs, files in ((0, 2), (29, 2), (1, 1)):
        clock.advance(secs)
        await parquet.maintain()
        await parquet.settled()
        assert len(names(tmp_path)) == files
    await parquet.stop()


async def test_an_hour_that_parts_still_come_for_is_left_alone(tmp_path: Path) -> None:
    clock = ManualClock((HOUR + 5) * 3600.0)
    parquet = writer(tmp_path, clock=clock)
    await parquet.start(0)
    for start in range(0, 80, 10):
        await parquet.write(blocks_of(10, start))
        await parquet.flush()
        clock.advance(10)
        await parquet.maintain()
        await parquet.settled()
    assert len(names(tmp_path)) == 8
    clock.advance(30)
    await parquet.maintain()
    await parquet.settled()
    assert len(names(tmp_path)) == 1
    await parquet.stop()


async def test_an_hour_that_cannot_be_compacted_is_counted(tmp_path: Path) -> None:
    observed, clock = Observed(), ManualClock((HOUR + 1) * 3600 + 100.0)
    parquet = writer(tmp_path, observed, clock)
    await parquet.start(0)
    await parquet.write(blocks_of(10, 0))
    await parquet.flush()
    (tmp_path / partition(HOUR) / name(10, 20)).write_bytes(b"no parquet")
    clock.advance(20)
    await parquet.maintain()
    await parquet.settled()
    assert observed.count("failures", "parquet", reason="compaction") == 1
    await parquet.stop()


async def test_a_defect_in_compaction_is_logged_whole_and_writing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Compactor, "run", defect)
    parquet = writer(tmp_path)
    await parquet.start(0)
    await parquet.maintain()
    await parquet.settled()
    await parquet.write(blocks_of(10, 0))
    assert await parquet.flush() == 10
    await parquet.stop()
    assert "ZeroDivisionError: a defect" in capsys.readouterr().out


async def compacting(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ParquetWriter, threading.Event]:
    """A writer in the midst of joining an hour of two files, and what lets it go on."""
    clock = ManualClock((HOUR + 1) * 3600 + 100.0)
    parquet = writer(directory, clock=clock)
    await parquet.start(0)
    for start in (0, 10):
        await parquet.write(blocks_of(10, start))
        await parquet.flush()
    begun, go_on = threading.Event(), threading.Event()
    add = PartFile.add
    clock.advance(20)

    def held(file: PartFile, rows: pa.RecordBatch) -> None:
        begun.set()
        assert go_on.wait(10)
        add(file, rows)

    monkeypatch.setattr(PartFile, "add", held)
    await parquet.maintain()
    await asyncio.to_thread(begun.wait, 10)
    return parquet, go_on


async def test_stopping_ends_compaction_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet, go_on = await compacting(tmp_path, monkeypatch)
    stopping = asyncio.create_task(parquet.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert names(tmp_path) == [name(0, 10), name(10, 20)]
    assert staged(tmp_path) == []


async def test_a_stop_that_is_cancelled_during_compaction_releases_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet, go_on = await compacting(tmp_path, monkeypatch)
    stopping = asyncio.create_task(parquet.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    successor = writer(tmp_path)
    try:
        assert await successor.start(0) == 20
    finally:
        go_on.set()
        await parquet.settled()
        await successor.stop()
