"""Every writer gets every block once, at its own pace, and one that fails costs nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs
from tests.support.blocks import FakeBlocks, Point
from tests.support.waiting import until

from telemetry_collector.config import Section
from telemetry_collector.errors import ConfigError, Mistake, PermanentError, RetryableError
from telemetry_collector.pipeline import fanout
from telemetry_collector.pipeline.fanout import Consumer, FanOut

WAIT_SECS_MAX = 10.0


class FakeCursor:
    """Committed blocks of a hundred bytes and as many points as asked for."""

    def __init__(self) -> None:
        self.blocks: list[FakeBlocks] = []
        self.position = 0
        self.stored = 0

    def commit(self, points: int = 1) -> None:
        """One more batch is committed."""
        start = self.blocks[-1].end if self.blocks else 0
        self.blocks.append(FakeBlocks([Point()] * points, start=start, end=start + 100))

    def _unread(self) -> Iterator[FakeBlocks]:
        return (blocks for blocks in self.blocks if blocks.start >= self.position)

    @property
    def lag_bytes(self) -> int:
        return 100 * sum(1 for _ in self._unread())

    @property
    def lag_points(self) -> int:
        return sum(blocks.points for blocks in self._unread())

    @property
    def lag_secs(self) -> float:
        return 0.0

    def read(self, points_max: int) -> Any:
        assert points_max > 0
        found = next(self._unread(), None)
        if found is not None:
            self.position = found.end
        return found

    def seek(self, position: int) -> None:
        self.position = position

    def store(self, position: int) -> None:
        assert position >= self.stored, "a stored position never goes back"
        self.stored = position


class FakeWriter:
    """Keeps what it was given; what is flushed counts. Fails as told."""

    Config: ClassVar[type[Section]] = Section
    flush_interval_secs = 3600.0

    def __init__(self, *, batch_points: int = 1) -> None:
        self.batch_points = batch_points
        self.taken: list[FakeBlocks] = []
        self.flushed: list[FakeBlocks] = []
        self.starts = 0
        self.stops = 0
        self.faults: list[Exception] = []
        self.start_fault: Exception | None = None
        self.skip_to = 0

    def _fail_as_told(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    async def start(self, stored: int) -> int:
        self.starts += 1
        self.taken.clear()
        if self.start_fault is not None:
            raise self.start_fault
        return max(stored, self.skip_to)

    async def write(self, blocks: Any) -> None:
        self._fail_as_told()
        self.taken.append(blocks)

    async def flush(self) -> int:
        self._fail_as_told()
        self.flushed += self.taken
        position = self.taken[-1].end
        self.taken.clear()
        return position

    async def maintain(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        self.stops += 1


class FakeEvents:
    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.points = 0

    def written(self, writer: str, points: int, received_first_us: int) -> None:
        assert received_first_us > 0
        assert writer
        self.points += points

    def failed(self, writer: str, reason: str) -> None:
        self.told.append(("failed", writer, reason))

    def dropped(self, writer: str, points: int, reason: str) -> None:
        self.told.append(("dropped", writer, str(points), reason))


class WellDestination:
    failing: str | None = None
    points_refused = 0


class Stand:
    """One consumer under test, with its parts."""

    def __init__(self, **writer: Any) -> None:
        self.cursor = FakeCursor()
        self.writer = FakeWriter(**writer)
        self.events = FakeEvents()
        self.destination = WellDestination()
        self.consumer = Consumer("fake", self.writer, self.cursor, self.events, self.destination)
        self.fanout = FanOut([self.consumer])

    def commit(self, points: int = 1) -> None:
        self.cursor.commit(points)
        self.fanout.committed()

    @property
    def flushed(self) -> Sequence[int]:
        """Starts of the ranges that were flushed."""
        return [blocks.start for blocks in self.writer.flushed]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "RESTART_PAUSE_SECS_MIN", 0.001)


async def test_what_is_committed_is_written_flushed_and_only_then_stored() -> None:
    stand = Stand()
    await stand.fanout.start()
    stand.commit()
    await until(lambda: len(stand.writer.taken) == 1)
    assert (stand.writer.flushed, stand.cursor.stored) == ([], 0)
    assert await stand.fanout.stop(WAIT_SECS_MAX) == []
    assert (stand.flushed, stand.cursor.stored) == ([0], 100)
    assert (stand.consumer.points_written, stand.events.points) == (1, 1)


async def test_a_writer_is_not_woken_before_a_batch_is_worth_it() -> None:
    stand = Stand(batch_points=10)
    await stand.fanout.start()
    for _ in range(9):
        stand.commit()
    for _ in range(100):
        await asyncio.sleep(0)
    assert stand.writer.taken == []
    stand.commit()
    await until(lambda: len(stand.writer.taken) == 10)
    await stand.fanout.stop(WAIT_SECS_MAX)


async def test_the_flush_interval_ends_the_waiting() -> None:
    stand = Stand(batch_points=1_000_000)
    stand.writer.flush_interval_secs = 0.01
    await stand.fanout.start()
    stand.commit()
    await until(lambda: stand.cursor.stored == 100)
    stand.commit()
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)


@pytest.mark.parametrize("fault", [RetryableError("down"), ValueError("a defect")])
async def test_a_writer_that_fails_reads_again_from_where_it_had_stored(fault: Exception) -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.commit()
    await until(lambda: stand.cursor.stored == 100)
    stand.writer.faults.append(fault)
    stand.commit()
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.flushed == [0, 100]
    assert stand.writer.starts == 2
    assert stand.events.told == [("failed", "fake", type(fault).__name__)]
    assert stand.consumer.failing is None


async def test_a_failing_writer_says_so_until_it_works_again() -> None:
    stand = Stand()
    stand.writer.start_fault = RetryableError("the disk is away")
    await stand.fanout.start()
    assert stand.consumer.failing == "the disk is away"
    await until(lambda: stand.writer.starts >= 3)
    stand.writer.start_fault = None
    stand.commit()
    await until(lambda: bool(stand.writer.taken))
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert not stand.consumer.failing


async def test_what_became_unusable_while_running_is_told_in_words_and_mends_itself() -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.writer.faults.append(RetryableError("cannot write"))
    stand.writer.start_fault = ConfigError([Mistake("parquet.output_dir", "cannot be used: read-only file system")])
    with capture_logs() as logs:
        stand.commit()
        await until(lambda: stand.writer.starts >= 3)
        assert "read-only file system" in (stand.consumer.failing or "")
        stand.writer.start_fault = None
        await until(lambda: stand.cursor.stored == 100)
        await stand.fanout.stop(WAIT_SECS_MAX)
    assert {line["event"] for line in logs} == {"writer_failed"}, "no defect, no traceback"


async def test_a_destination_that_keeps_a_writer_waiting_is_told_too() -> None:
    stand = Stand()
    stand.destination.failing = "refused: 503"
    assert stand.consumer.failing == "refused: 503"


async def test_what_only_an_operator_can_mend_stops_the_start() -> None:
    stand = Stand()
    stand.writer.start_fault = ConfigError([Mistake("parquet.output_dir", "is held by another process")])
    with pytest.raises(ConfigError, match="is held by another process"):
        await stand.fanout.start()
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.writer.stops == 1


async def test_points_refused_for_good_are_counted_and_the_next_ones_go_on() -> None:
    stand = Stand()
    stand.writer.faults.append(PermanentError("never"))
    stand.commit(points=3)
    stand.commit()
    await stand.fanout.start()
    await until(lambda: len(stand.writer.taken) == 1)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert (stand.flushed, stand.cursor.stored) == ([100], 200)
    assert stand.events.told == [("dropped", "fake", "3", "PermanentError")]


async def test_what_the_destination_refused_does_not_count_as_written() -> None:
    stand = Stand(batch_points=100)
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    stand.commit(points=10)
    await until(lambda: stand.cursor.stored == 100)
    stand.destination.points_refused = 3
    stand.commit(points=10)
    await until(lambda: stand.cursor.stored == 200)
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert (stand.consumer.points_written, stand.consumer.points_refused) == (17, 3)


async def test_what_the_destination_already_has_is_skipped() -> None:
    stand = Stand()
    stand.commit()
    stand.commit()
    stand.writer.skip_to = 100
    await stand.fanout.start()
    await stand.fanout.stop(WAIT_SECS_MAX)
    assert stand.flushed == [100]


async def test_finishing_reads_to_the_end_however_often_a_flush_is_due_meanwhile() -> None:
    stand = Stand()
    stand.writer.flush_interval_secs = 0.0
    await stand.fanout.start()
    for _ in range(50):
        stand.cursor.commit()
    assert await stand.fanout.stop(WAIT_SECS_MAX) == []
    assert (len(stand.flushed), stand.cursor.stored) == (50, 5_000)


async def test_a_writer_that_hangs_is_named_and_the_stop_keeps_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    stand, other = Stand(), Stand()
    hanging = asyncio.Event()

    async def hang(_blocks: Any) -> None:
        hanging.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(stand.writer, "write", hang)
    both = FanOut([stand.consumer, other.consumer])
    stand.cursor.commit()
    other.cursor.commit()
    await both.start()
    both.committed()
    await asyncio.wait_for(hanging.wait(), WAIT_SECS_MAX)
    assert await both.stop(0.2) == ["fake"]
    assert other.flushed == [0], "the other one finished"
    assert stand.cursor.stored == 0
