"""A consumer of the journal and everything around it, without a journal: what the fan-out is tested with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from tests.support.blocks import FakeBlocks, Point

from telemetry_collector.breaker import Breaker
from telemetry_collector.clock import Clock
from telemetry_collector.config import Section
from telemetry_collector.pipeline.consumer import Consumer
from telemetry_collector.pipeline.fanout import FanOut

BLOCK_BYTES = 100


class FakeCursor:
    """Committed blocks of a hundred bytes and as many points as asked for."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.blocks: list[FakeBlocks] = []
        self.position = 0
        self.stored = 0
        self.store_fault: Exception | None = None
        self.wanted = 0
        """After how many unread points it asked to be woken last."""
        self.merges = False
        """Whether one read takes all that it may, as the core's does, or one block."""
        self.gives = True
        """Whether reading gives anything of what is there."""
        self._clock = clock
        self._points_before = [0]
        self._committed_at: list[float] = []

    def commit(self, points: int = 1) -> None:
        """One more batch is committed."""
        start = BLOCK_BYTES * len(self.blocks)
        self.blocks.append(FakeBlocks([Point()] * points, start=start, end=start + BLOCK_BYTES))
        self._points_before.append(self._points_before[-1] + points)
        self._committed_at.append(self._clock.monotonic() if self._clock else 0.0)

    @property
    def _unread(self) -> int:
        """The place of the block that is read next."""
        return -(-self.position // BLOCK_BYTES)

    @property
    def lag_bytes(self) -> int:
        return BLOCK_BYTES * (len(self.blocks) - self._unread)

    @property
    def lag_points(self) -> int:
        return self._points_before[-1] - self._points_before[self._unread]

    @property
    def lag_secs(self) -> float:
        oldest = self.stored // BLOCK_BYTES
        return self.age(oldest) if oldest < len(self.blocks) else 0.0

    def age(self, place: int) -> float:
        """Seconds since a block was committed."""
        return self._clock.monotonic() - self._committed_at[place] if self._clock else 0.0

    def want(self, points: int) -> None:
        self.wanted = points

    def read(self, points_max: int) -> Any:
        assert points_max > 0
        if self._unread == len(self.blocks) or not self.gives:
            return None
        found = [self.blocks[self._unread]]
        if self.merges:
            left = points_max - found[0].points
            for blocks in self.blocks[self._unread + 1 :]:
                left -= blocks.points
                if left < 0:
                    break
                found.append(blocks)
        self.position = found[-1].end
        points = [point for blocks in found for point in blocks.points_list]
        return FakeBlocks(points, start=found[0].start, end=found[-1].end)

    def measure(self, start: int, end: int) -> tuple[int, int, tuple[int, int] | None]:
        found = [blocks for blocks in self.blocks if start <= blocks.start < end]
        received = (found[0].received_first_us, found[-1].received_last_us) if found else None
        return len(found), sum(blocks.points for blocks in found), received

    def claim(self, position: int) -> bool:
        return position > BLOCK_BYTES * len(self.blocks)

    def seek(self, position: int) -> None:
        self.position = position

    def store(self, position: int) -> None:
        if self.store_fault is not None:
            raise self.store_fault
        assert position >= self.stored, "a stored position never goes back"
        self.stored = position


class FakeWriter:
    """Keeps what it was given; what is flushed counts. Fails as told."""

    Config: ClassVar[type[Section]] = Section

    def __init__(self, *, batch_points: int = 1, flush_interval_secs: float = 3600.0) -> None:
        self.batch_points = batch_points
        self.flush_interval_secs = flush_interval_secs
        self.taken: list[FakeBlocks] = []
        self.flushed: list[FakeBlocks] = []
        self.starts = 0
        self.stops = 0
        self.faults: list[Exception] = []
        self.start_fault: Exception | None = None
        self.skip_to = 0
        self.offered: list[int] = []
        """Points of each call of `write`, whatever became of it."""
        self.hangs = False
        self.down: Exception | None = None

    @property
    def attempts(self) -> int:
        return len(self.offered)

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
        self.offered.append(blocks.points)
        if self.hangs:
            await asyncio.Event().wait()
        if self.down is not None:
            raise self.down
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

    def __init__(
        self,
        *,
        name: str = "fake",
        batch_points: int = 1,
        flush_interval_secs: float = 3600.0,
        clock: Clock | None = None,
        **consumer: Any,
    ) -> None:
        """`consumer` goes to the consumer; its breaker makes short pauses unless told otherwise."""
        self.cursor = FakeCursor(clock)
        self.writer = FakeWriter(batch_points=batch_points, flush_interval_secs=flush_interval_secs)
        self.events = FakeEvents()
        self.destination = WellDestination()
        consumer = {"breaker": Breaker(pause_secs_max=0.001, clock=clock), "clock": clock, **consumer}
        self.consumer = Consumer(name, self.writer, self.cursor, self.events, self.destination, **consumer)
        self.fanout = FanOut([self.consumer])

    def commit(self, points: int = 1) -> None:
        self.cursor.commit(points)
        self.fanout.committed()

    @property
    def flushed(self) -> Sequence[int]:
        """Starts of the ranges that were flushed."""
        return [blocks.start for blocks in self.writer.flushed]
