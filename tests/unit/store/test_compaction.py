"""What is joined, when, into what; and that an hour is never seen half done."""

import errno
import os
import threading
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.blocks import HISTOGRAM, HOUR, SUMMARY, FakeBlocks, Point, blocks_of
from tests.support.dataset import GLOB, joiner, names, opened, publish, values
from tests.support.writing import JOURNAL_ID

from telemetry_collector.clock import ManualClock
from telemetry_collector.store import dataset as dataset_module
from telemetry_collector.store.compaction import Compacted, Compactor, Failed
from telemetry_collector.store.dataset import REPLACED_KEPT_SECS, Dataset
from telemetry_collector.store.durable import sync_directory
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.format import POINTS, PartFormat
from telemetry_collector.store.joining import Part, plan
from telemetry_collector.store.part import PartName, partition
from telemetry_collector.store.schema import SCHEMA_VERSION, SCHEMA_VERSION_KEY, points_schema

LATER = (HOUR + 1) * 3600 + 100.0
"""The hour is over, and what came last was published."""

SCHEMA = points_schema()


def compactor(dataset: Dataset, part_format: PartFormat = POINTS, **settings: Any) -> Compactor:
    defaults: dict[str, Any] = {
        "compression": "snappy",
        "file_bytes_max": 1 << 30,
        "period_secs": 3600,
        "settle_secs": 20.0,
    }
    return Compactor(dataset, joiner(dataset, part_format), **{**defaults, **settings})


def part(
    start: int, end: int, *, size: int = 10, period: int = 0, journal: str = "a", schema: pa.Schema = SCHEMA
) -> Part:
    return Part(PartName(journal * 32, start, end), size, 1, period * 3600 * 1_000_000, schema)


# What is joined.


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 1), st.integers(0, 1), st.integers(1, 60)), max_size=20),
    st.integers(1, 100),
)
def test_groups_are_neighbours_of_one_period_and_keep_the_bound(
    steps: list[tuple[int, int, int, int]], bound: int
) -> None:
    parts, position = [], 0
    for length, gap, period, size in steps:
        parts.append(part(position + gap, position + gap + length, size=size, period=period))
        position += gap + length
    groups = plan(parts, file_bytes_max=bound, period_secs=3600)
    for group in groups:
        assert len(group) >= 2
        assert sum(member.file_bytes for member in group) <= bound
        assert len({member.received_first_us for member in group}) == 1
        assert all(one.name.end == other.name.start for one, other in pairwise(group))
    members = [member.name for group in groups for member in group]
    assert len(members) == len(set(members))


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 100))
def test_neighbouring_groups_would_not_have_fitted_together(sizes: list[int], bound: int) -> None:
    parts = [part(index, index + 1, size=size) for index, size in enumerate(sizes)]
    groups = plan(parts, file_bytes_max=bound, period_secs=3600)
    ends = {group[-1].name.end: group for group in groups}
    for group in groups:
        if (before := ends.get(group[0].name.start)) is not None:
            assert sum(member.file_bytes for member in before) + group[0].file_bytes > bound


def test_journals_and_schemas_are_kept_apart() -> None:
    nanoseconds = points_schema("ns")
    parts = [part(0, 1), part(1, 2, journal="b"), part(2, 3), part(3, 4, schema=nanoseconds), part(4, 5)]
    assert plan(parts, file_bytes_max=1000, period_secs=3600) == []


# When.


def test_a_past_hour_becomes_one_file_with_the_range_and_rows_of_all(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in range(0, 50, 10):
        publish(dataset, blocks_of(10, start, first=start))
    assert list(compactor(dataset).run(LATER)) == [Compacted(HOUR, files=5, into=1, rows=50)]
    assert names(tmp_path) == [str(PartName(JOURNAL_ID, 0, 50))]
    assert values(tmp_path) == [float(value) for value in range(50)]


def test_an_hour_that_was_replaced_can_be_listed_to_its_end_and_goes_in_a_later_round(tmp_path: Path) -> None:
    clock = ManualClock()
    dataset = opened(tmp_path, clock=clock)
    published = [publish(dataset, blocks_of(10, start, first=start)) for start in range(0, 50, 10)]
    with os.scandir(published[0].parent) as listing:
        assert len(list(compactor(dataset).run(LATER))) == 1
        assert sorted(entry.name for entry in listing) == [path.name for path in published]
    clock.advance(REPLACED_KEPT_SECS - 1)
    list(compactor(dataset).run(LATER))
    assert len(list(dataset.staging.iterdir())) == 1
    clock.advance(1)
    list(compactor(dataset).run(LATER))
    assert list(dataset.staging.iterdir()) == []


def test_an_hour_whose_exchange_could_not_be_synced_is_kept_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    dataset = opened(tmp_path, clock=clock)
    published = [publish(dataset, blocks_of(10, start, first=start)).name for start in (0, 10)]
    date = tmp_path / partition(HOUR).parent

    def failing(path: Path) -> None:
        if path == date:
            raise OSError(errno.EIO, "Input/output error")
        sync_directory(path)

    monkeypatch.setattr(dataset_module, "sync_directory", failing)
    outcomes = list(compactor(dataset).run(LATER))
    assert [type(outcome) for outcome in outcomes] == [Failed]
    assert values(tmp_path) == [float(value) for value in range(20)]
    # Without power now, the day's directory may name the old one again.
    for _ in range(2):
        [old] = dataset.staging.iterdir()
        assert sorted(path.name for path in old.iterdir()) == published
        clock.advance(REPLACED_KEPT_SECS)
        dataset.remove_replaced()
    monkeypatch.undo()
    dataset.remove_replaced()
    assert list(dataset.staging.iterdir()) == []


def test_after_an_outage_no_more_than_the_latest_hours_are_kept_twice(tmp_path: Path) -> None:
    clock = ManualClock()
    dataset = opened(tmp_path, clock=clock)
    for hour in range(HOUR, HOUR + 3):
        for start in (0, 10):
            publish(dataset, blocks_of(10, (hour - HOUR) * 20 + start, hour=hour))
    for _ in compactor(dataset).run(LATER + 3 * 3600):
        assert len(list(dataset.staging.iterdir())) == 1
        clock.advance(REPLACED_KEPT_SECS)


def test_every_column_comes_through(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    batches = []
    for start, points in enumerate([[Point(tags={"x": "y"}), HISTOGRAM], [SUMMARY, Point(delta=True, type="counter")]]):
        blocks = FakeBlocks(points, start, start + 1, sequence=start + 1, second=start)
        publish(dataset, blocks)
        batches.append(blocks.record_batch())
    list(compactor(dataset).run(LATER))
    (path,) = tmp_path.glob(GLOB)
    assert pq.read_table(path, partitioning=None).to_pylist() == pa.Table.from_batches(batches).to_pylist()
    assert pq.read_metadata(path).metadata == {SCHEMA_VERSION_KEY.encode(): SCHEMA_VERSION.encode()}


def test_the_order_of_rows_is_the_journals(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in (20, 0, 10):
        publish(dataset, blocks_of(10, start, first=start))
    list(compactor(dataset).run(LATER))
    (path,) = tmp_path.glob(GLOB)
    assert pq.read_table(path, columns=["value"], partitioning=None)["value"].to_pylist() == list(range(30))


@pytest.mark.parametrize("now", [HOUR * 3600 + 1800.0, (HOUR + 1) * 3600 + 19.0])
def test_an_hour_that_may_still_grow_is_left_alone(tmp_path: Path, now: float) -> None:
    dataset = opened(tmp_path)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start))
    assert list(compactor(dataset).run(now)) == []
    assert len(names(tmp_path)) == 2


def test_a_period_shorter_than_an_hour_is_compacted_within_it(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for index in range(6):
        publish(dataset, blocks_of(10, index * 10, first=index * 10, second=index * 100))
    quarter = compactor(dataset, period_secs=300)
    assert list(quarter.run(HOUR * 3600 + 330.0)) == [Compacted(HOUR, files=3, into=1, rows=30)]
    assert names(tmp_path) == [str(PartName(JOURNAL_ID, *span)) for span in ((0, 30), (30, 40), (40, 50), (50, 60))]
    assert list(quarter.run(HOUR * 3600 + 630.0)) == [Compacted(HOUR, files=3, into=1, rows=30)]
    assert names(tmp_path) == [str(PartName(JOURNAL_ID, *span)) for span in ((0, 30), (30, 60))]
    assert list(quarter.run(LATER)) == []
    assert values(tmp_path) == [float(value) for value in range(60)]


def test_a_period_of_a_day_ends_for_all_its_hours_at_once(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    day = HOUR // 24 * 24
    for hour in (day, day + 1):
        for start in (0, 10):
            publish(dataset, blocks_of(10, hour * 100 + start, hour=hour))
    daily = compactor(dataset, period_secs=86_400)
    assert list(daily.run((day + 23) * 3600.0)) == []
    assert [done.hour for done in daily.run((day + 24) * 3600 + 30.0) if isinstance(done, Compacted)] == [day, day + 1]


def test_a_late_part_makes_the_hour_due_again(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    compacting = compactor(dataset)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start, first=start))
    assert len(list(compacting.run(LATER))) == 1
    assert list(compacting.run(LATER)) == []
    publish(dataset, blocks_of(10, 20, first=20))
    assert list(compacting.run(LATER)) == [Compacted(HOUR, files=2, into=1, rows=30)]
    assert values(tmp_path) == [float(value) for value in range(30)]


def test_a_past_hour_that_is_still_being_caught_up_on_waits(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    compacting = compactor(dataset)
    for hour in (HOUR, HOUR + 1):
        for start in (0, 10):
            publish(dataset, blocks_of(10, (hour - HOUR) * 20 + start, hour=hour))
    busy_us = (HOUR + 1) * 3600 * 1_000_000
    assert [done.hour for done in compacting.run(LATER + 36_000, busy_us)] == [HOUR]
    assert list(compacting.run(LATER + 36_000, busy_us)) == []
    assert [done.hour for done in compacting.run(LATER + 36_000)] == [HOUR + 1]


# Into what.


def test_no_file_is_larger_than_the_bound_and_large_parts_stay_themselves(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    large = publish(dataset, blocks_of(20_000, 0))
    for start in range(20_000, 20_100, 10):
        small = publish(dataset, blocks_of(10, start))
    bound = small.stat().st_size * 4
    assert large.stat().st_size > bound
    inode = large.stat().st_ino
    (done,) = compactor(dataset, file_bytes_max=bound).run(LATER)
    assert done == Compacted(HOUR, files=10, into=3, rows=100)
    assert large.stat().st_ino == inode
    assert all(path.stat().st_size <= bound for path in tmp_path.glob(GLOB) if path != large)
    assert len(values(tmp_path)) == 20_100


def test_small_row_groups_become_large_ones(tmp_path: Path) -> None:
    of_25_rows = replace(POINTS, create=partial(PartFile, group_rows_max=25))
    dataset = opened(tmp_path)
    for start in range(0, 100, 10):
        publish(dataset, blocks_of(10, start, first=start))
    list(compactor(dataset, part_format=of_25_rows).run(LATER))
    (path,) = tmp_path.glob(GLOB)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [25, 25, 25, 25]


# Faults.


def test_a_damaged_part_leaves_its_hour_as_it_was_and_no_other(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for hour in (HOUR, HOUR + 1):
        for start in (0, 10):
            path = publish(dataset, blocks_of(10, (hour - HOUR) * 20 + start, hour=hour, first=start))
    damaged = tmp_path / partition(HOUR) / str(PartName(JOURNAL_ID, 10, 20))
    damaged.write_bytes(b"PAR1" + b"\0" * 100)
    compacting = compactor(dataset)
    failed, done = compacting.run(LATER + 3600)
    assert isinstance(failed, Failed)
    assert failed.hour == HOUR
    assert damaged.name in str(failed.error)
    assert done == Compacted(HOUR + 1, files=2, into=1, rows=20)
    assert sorted(path.name for path in damaged.parent.iterdir()) == [
        str(PartName(JOURNAL_ID, 0, 10)),
        str(PartName(JOURNAL_ID, 10, 20)),
    ]
    assert [len(list(replaced.iterdir())) for replaced in dataset.staging.iterdir()] == [2], "of the other hour alone"
    assert list(compacting.run(LATER + 3600 + 299)) == [], "a failed hour is not tried at once"
    assert len(list(compacting.run(LATER + 3600 + 300))) == 1
    assert path.parent != damaged.parent


def test_rows_that_went_missing_on_the_way_stop_the_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(tmp_path)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start, first=start))
    whole = PartFile.add
    monkeypatch.setattr(PartFile, "add", lambda file, table: whole(file, table.slice(1)))
    (failed,) = compactor(dataset).run(LATER)
    assert isinstance(failed, Failed)
    assert "would hold 18 rows, its parts hold 20" in str(failed.error)
    assert values(tmp_path) == [float(value) for value in range(20)]


def test_a_file_that_is_named_like_a_part_and_has_no_receipt_is_reported(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    path = publish(dataset, blocks_of(10, 0))
    pq.write_table(pa.table({"value": [1.0]}), path.parent / str(PartName(JOURNAL_ID, 10, 20)))
    (failed,) = compactor(dataset).run(LATER)
    assert isinstance(failed, Failed)
    assert "cannot be read as a part" in str(failed.error)


def test_an_hour_with_a_column_that_we_do_not_write_is_named_and_stops_no_other(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for hour in (HOUR, HOUR + 1):
        for start in (0, 10):
            path = publish(dataset, blocks_of(10, (hour - HOUR) * 20 + start, hour=hour))
            if hour == HOUR:
                table = pq.read_table(path, partitioning=None)
                pq.write_table(table.append_column("shard", pa.array([1] * 10, pa.int32())), path)
    compacting = compactor(dataset)
    failed, done = compacting.run(LATER + 3600)
    assert isinstance(failed, Failed)
    assert failed.hour == HOUR
    assert "column shard has the type Int32" in str(failed.error)
    assert done == Compacted(HOUR + 1, files=2, into=1, rows=20)
    assert list(compacting.run(LATER + 3600 + 299)) == [], "a failed hour is not tried at once"
    assert len(names(tmp_path)) == 3


def test_an_hour_that_was_removed_is_forgotten(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    path = publish(dataset, blocks_of(10, 0))
    compacting = compactor(dataset)
    assert list(compacting.run(LATER)) == []
    path.unlink()
    path.parent.rmdir()
    assert list(compacting.run(LATER)) == []
    for start in (10, 20):
        publish(dataset, blocks_of(10, start))
    assert list(compacting.run(LATER)) == [Compacted(HOUR, files=2, into=1, rows=20)]


def test_an_hour_removed_meanwhile_is_no_fault(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    paths = [publish(dataset, blocks_of(10, start)) for start in (0, 10)]

    def remove(step: str) -> None:
        if step == "compact: write":
            paths[1].unlink()

    dataset.step = remove
    assert list(compactor(dataset).run(LATER)) == []
    assert list(dataset.staging.iterdir()) == []


def test_no_staged_file_looks_like_a_part_while_it_is_written(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start))
    found: list[int] = []
    dataset.step = lambda step: (
        found.append(len(list(tmp_path.rglob("*.parquet")))) if step == "compact: finish" else None
    )
    assert len(list(compactor(dataset).run(LATER))) == 1
    assert found == [2]


def test_stopping_leaves_the_hour_as_it_was(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start, first=start))
    compacting = compactor(dataset)
    dataset.step = lambda step: compacting.stop() if step == "compact: write" else None
    assert list(compacting.run(LATER)) == []
    assert len(names(tmp_path)) == 2
    assert list(dataset.staging.iterdir()) == []


# What readers see meanwhile.


def test_a_part_published_at_any_step_of_compaction_is_kept(tmp_path: Path) -> None:
    steps: list[str] = []
    dataset = opened(tmp_path / "count", steps.append)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start))
    begun = len(steps)
    list(compactor(dataset).run(LATER))
    free = [step for step in steps[begun:] if not step.startswith("replace: ")]
    assert len(free) == 2
    for number, moment in enumerate(free):
        root = tmp_path / str(number)
        dataset = opened(root)
        for start in (0, 10):
            publish(dataset, blocks_of(10, start, first=start))

        def late(step: str, dataset: Dataset = dataset, moment: str = moment) -> None:
            if step == moment:
                publish(dataset, blocks_of(5, 20, first=20))

        dataset.step = late
        assert list(compactor(dataset).run(LATER)) == [Compacted(HOUR, files=2, into=1, rows=20)]
        assert values(root) == [float(value) for value in range(25)]


@pytest.mark.slow
def test_a_reader_never_meets_an_unreadable_file_nor_a_row_twice(tmp_path: Path) -> None:
    """Listings and reads race with publishing and compaction; a file that is gone means listing again, as for users."""
    dataset = opened(tmp_path)
    compacting = compactor(dataset)
    failures: list[str] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        with duckdb.connect() as connection:
            while not done.is_set():
                listed = [str(path) for path in tmp_path.glob(GLOB)]
                try:
                    rows = connection.execute("SELECT value FROM read_parquet($files)", {"files": listed}).fetchall()
                except duckdb.Error as error:
                    if "No files found" not in str(error) and "No such file" not in str(error):
                        failures.append(str(error))
                    continue
                found = sorted(value for (value,) in rows)
                if len(set(found)) != len(found):
                    failures.append(f"rows twice in {listed}")
                reads += 1

    reader = threading.Thread(target=read)
    publish(dataset, blocks_of(10, 0, first=0))
    reader.start()
    try:
        position = 10
        while reads < 60 and not failures and reader.is_alive():
            publish(dataset, blocks_of(10, position, first=position))
            position += 10
            if position % 50 == 0:
                assert all(isinstance(outcome, Compacted) for outcome in compacting.run(LATER))
    finally:
        done.set()
        reader.join()
    assert failures == []
    assert values(tmp_path) == [float(value) for value in range(position)]
