"""The bounds on answering: time, memory, size, number, and files that move while they are read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.blocks import HOUR, FakeBlocks, Point, blocks_of
from tests.support.dataset import opened, paths, publish
from tests.support.waiting import until

from telemetry_collector.query import (
    Aggregation,
    AnswerTooLarge,
    DatasetUnreadable,
    Engine,
    EngineSettings,
    InvalidQuery,
    Operator,
    Query,
    QueryBusy,
    QueryTimedOut,
    QueryTooLarge,
    Selection,
    TagMatcher,
    engine,
)
from telemetry_collector.query.files import files_of
from telemetry_collector.query.statement import Statement
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.part import PartName

SECOND = 1_000_000_000
BEGIN = HOUR * 3600 * SECOND
NAME = "system.cpu.usage"


def query(aggregation: Aggregation = Aggregation.SUM, **given: Any) -> Query:
    return Query(Selection(given.pop("name", NAME)), BEGIN, BEGIN + 3600 * SECOND, aggregation, **given)


@asynccontextmanager
async def answering(root: Path, **given: Any) -> AsyncIterator[Engine]:
    bounds: dict[str, Any] = {
        "threads": 1,
        "memory_bytes_max": 128 << 20,
        "timeout_secs": 20.0,
        "at_a_time": 1,
        "range_secs_max": 7200.0,
        "series_max": 100,
        "points_max": 100,
        "late_secs": 3600,
        "ahead_secs": 600,
        **given,
    }
    running = Engine(EngineSettings(root=root, **bounds))
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dataset = opened(tmp_path)
    publish(dataset, blocks_of(10, 0))
    dataset.close()
    return tmp_path


def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is one that DuckDB takes an hour for."""
    forever = Statement("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", {})
    monkeypatch.setattr(engine, "statement", lambda *_: forever)


async def asked(running: Engine, **given: Any) -> list[float]:
    return [value.values[0] for series in await running.ask(query(**given)) for value in series.values]


async def test_a_question_that_takes_too_long_is_ended_and_its_slot_is_free_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(root, timeout_secs=0.3) as running:
        with monkeypatch.context() as patched:
            slow(patched)
            with pytest.raises(QueryTimedOut, match=r"query\.timeout_secs = 0\.3"):
                await running.ask(query())
            await until(lambda: not running._running)
        assert await asked(running) == [45.0]


async def test_a_question_whose_asker_left_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(root) as running:
        slow(monkeypatch)
        asking = asyncio.create_task(running.ask(query()))
        await until(lambda: running._running)
        asking.cancel()
        await until(lambda: not running._running)
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_stopping_ends_what_is_under_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(root) as running:
        slow(monkeypatch)
        asking = asyncio.create_task(running.ask(query()))
        await until(lambda: running._running)
        await running.stop()
        with pytest.raises(QueryTimedOut):
            await asking


async def test_one_more_than_may_be_at_a_time_is_told_to_come_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(root, at_a_time=2) as running:
        with monkeypatch.context() as patched:
            slow(patched)
            first = [asyncio.create_task(running.ask(query())) for _ in range(2)]
            await until(lambda: len(running._running) == 2)
            with pytest.raises(QueryBusy, match=r"query\.at_a_time"):
                await running.ask(query())
            for task in first:
                task.cancel()
            await until(lambda: not running._running)
            await asyncio.gather(*first, return_exceptions=True)
        assert await asked(running) == [45.0]


async def test_the_event_loop_turns_while_a_question_is_answered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(root, timeout_secs=0.5) as running:
        slow(monkeypatch)
        asking = asyncio.create_task(running.ask(query()))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert isinstance(asking.exception(), QueryTimedOut)
        assert turns > 100


async def test_work_that_needs_too_much_memory_is_refused_and_others_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Statement("SELECT list(range) FROM range(100000000)", {})
    async with answering(root, memory_bytes_max=64 << 20) as running:
        with monkeypatch.context() as patched:
            patched.setattr(engine, "statement", lambda *_: greedy)
            with pytest.raises(QueryTooLarge, match=r"query\.memory_bytes_max"):
                await running.ask(query())
        assert await asked(running) == [45.0]


@pytest.mark.parametrize("bounds", [{"points_max": 9}, {"series_max": 9}])
async def test_an_answer_has_at_most_so_many_points_and_series(tmp_path: Path, bounds: dict[str, int]) -> None:
    dataset = opened(tmp_path)
    points = [Point(tags={"disk": str(number)}, timestamp_ns=BEGIN) for number in range(10)]
    publish(dataset, FakeBlocks(points, 0, 10))
    dataset.close()
    async with answering(tmp_path, **bounds) as running:
        with pytest.raises(AnswerTooLarge, match="a longer step"):
            await running.ask(query(group_by=("disk",)))
        assert await asked(running) == [10.0]


async def test_the_range_has_a_bound(root: Path) -> None:
    async with answering(root, range_secs_max=60.0) as running:
        with pytest.raises(InvalidQuery, match=r"end_unix_ns: .* query\.range_secs_max = 60"):
            await running.ask(query())


def joined_when_listed(monkeypatch: pytest.MonkeyPatch, root: Path, times: int) -> Callable[[], int]:
    """So many times an hour's file gets another name after it was listed, as when it is joined with others."""
    listed = 0
    original = files_of

    def moving(*arguments: Any) -> list[str]:
        nonlocal listed
        found = original(*arguments)
        if listed < times:
            (file,) = root.glob("date=*/hour=*/*.parquet")
            file.rename(file.with_name(str(PartName("a" * 32, 0, 100 + listed))))
        listed += 1
        return found

    monkeypatch.setattr(engine, "files_of", moving)
    return lambda: listed


async def test_a_file_that_was_joined_since_it_was_listed_is_listed_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = joined_when_listed(monkeypatch, root, 1)
    async with answering(root) as running:
        assert await asked(running) == [45.0]
    assert listings() == 2


async def test_while_many_hours_are_joined_it_is_asked_until_none_went_away(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = joined_when_listed(monkeypatch, root, 9)
    async with answering(root) as running:
        assert await asked(running) == [45.0]
    assert listings() == 10


async def test_files_that_vanish_for_ever_take_no_longer_than_a_question_may(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined_when_listed(monkeypatch, root, 1 << 30)
    async with answering(root, timeout_secs=0.3) as running:
        with pytest.raises(QueryTimedOut):
            await running.ask(query())
        await until(lambda: not running._running)


async def test_a_name_that_leads_nowhere_is_an_error(root: Path) -> None:
    (file,) = paths(root)
    file.unlink()
    file.symlink_to("gone")
    async with answering(root) as running:
        with pytest.raises(DatasetUnreadable):
            await running.ask(query())


async def test_a_damaged_file_is_an_error_and_not_an_empty_answer(root: Path) -> None:
    os.truncate(paths(root)[0], 10)
    async with answering(root) as running:
        with pytest.raises(DatasetUnreadable, match="the dataset cannot be read"):
            await running.ask(query())


@pytest.mark.parametrize(("name", "other"), [("a*", "ab"), ("a?", "ab"), ("a[b]c", "abc"), ("it's", "its")])
async def test_a_path_is_no_pattern(tmp_path: Path, name: str, other: str) -> None:
    for directory, count in ((name, 10), (other, 3)):
        dataset = opened(tmp_path / directory)
        publish(dataset, blocks_of(count, 0))
        dataset.close()
    async with answering(tmp_path / name) as running:
        assert await asked(running) == [45.0]


@pytest.mark.parametrize("name", ["region=eu", "name=other", "value=7", "timestamp=1"])
async def test_what_stands_in_a_directorys_name_is_no_column(tmp_path: Path, name: str) -> None:
    dataset = opened(tmp_path / name)
    publish(dataset, FakeBlocks([Point(tags={"region": "us"}, value=3.0)]))
    dataset.close()
    async with answering(tmp_path / name) as running:
        (series,) = await running.ask(query(group_by=("region",)))
    assert (series.name, series.tags, series.values[0].values) == (NAME, (("region", "us"),), (3.0,))


async def test_quantiles_of_either_zero_are_the_least(root: Path) -> None:
    async with answering(root) as running:
        (series,) = await running.ask(query(Aggregation.QUANTILE, quantiles=(-0.0, 0.0, 1.0)))
    assert series.values[0].values == (0.0, 0.0, 9.0)


async def test_expressions_are_not_compiled_on_the_event_loop(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    compiling = Selection.check_expressions

    def looked(selection: Selection, field: str = "selection") -> None:
        threads.append(threading.get_native_id())
        compiling(selection, field)

    monkeypatch.setattr(Selection, "check_expressions", looked)
    wrong = Selection(NAME, (TagMatcher("zone", Operator.MATCHES, "("),))
    async with answering(root) as running:
        with pytest.raises(InvalidQuery, match=r"selection\.matchers\[0\]\.value: is no regular expression"):
            await running.ask(Query(wrong, BEGIN, BEGIN + SECOND, Aggregation.SUM))
    (thread,) = threads
    assert thread != threading.get_native_id()


def publish_ns(root: Path, *points: Point) -> None:
    dataset = opened(root)
    rows = FakeBlocks(points).record_batch("ns")
    part = PartFile(dataset.stage(".part"), rows.schema, "snappy")
    part.add(rows)
    part.finish()
    dataset.publish(part.path, HOUR, PartName("b" * 32, 0, 10))
    dataset.close()


async def test_nanoseconds_count_where_files_have_them(tmp_path: Path) -> None:
    inside, outside = Point(value=1.0, timestamp_ns=BEGIN), Point(value=2.0, timestamp_ns=BEGIN - 1)
    publish_ns(tmp_path, inside, outside)
    async with answering(tmp_path) as running:
        assert await asked(running) == [1.0]


async def test_files_in_microseconds_and_in_nanoseconds_go_together(root: Path) -> None:
    publish_ns(root, Point(value=100.0, timestamp_ns=BEGIN + 1_001), Point(value=1e3, timestamp_ns=BEGIN - 1_000))
    async with answering(root) as running:
        assert await asked(running) == [145.0]


async def test_the_database_reaches_nothing_but_the_dataset(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Were a statement ever to come from outside, it could still not read another file, write one, or load code."""
    secret = tmp_path_factory.mktemp("other") / "secret.csv"
    secret.write_text("a\n1\n")
    async with answering(root) as running:
        await running.ask(query())
        database = running._database
        assert database is not None
        for statement in (
            f"SELECT * FROM read_csv('{secret}')",
            f"COPY (SELECT 1) TO '{secret}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '100GB'",
        ):
            with pytest.raises(duckdb.Error):
                database.execute(statement)
    assert secret.read_text() == "a\n1\n"


async def test_an_empty_dataset_has_no_series(tmp_path: Path) -> None:
    async with answering(tmp_path / "gone") as running:
        assert await running.ask(query()) == []
    await running.stop()


async def test_questions_give_way_to_the_rest_of_the_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    priorities: list[int] = []

    def looked(*arguments: Any) -> list[str]:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return files_of(*arguments)

    monkeypatch.setattr(engine, "files_of", looked)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    async with answering(root) as running:
        assert await asked(running) == [45.0]
    assert priorities == [max(before, 10)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


async def test_where_the_system_forbids_that_they_are_answered_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", forbidden)
    async with answering(root) as running:
        assert await asked(running) == [45.0]
