"""An outage of an hour costs the other writers nothing; then the hour comes, in order, no faster than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.support.delivery import BLOCK_BYTES, Stand
from tests.support.virtual_time import LoopClock, in_virtual_time

from telemetry_collector.breaker import Breaker, State
from telemetry_collector.config import WriterSection
from telemetry_collector.errors import RetryableError
from telemetry_collector.pipeline.fanout import FanOut

HOUR_SECS = 3_600
LIVE_POINTS_PER_SEC = 100
BATCHES_PER_SEC = 4
INTERVAL_SECS = 1.0


class Fleet:
    """What comes in, for two writers of which one may be down."""

    def __init__(self, catch_up_points_per_sec: int | None) -> None:
        clock = LoopClock()
        section = WriterSection(catch_up_points_per_sec=catch_up_points_per_sec)
        self.down = Stand(
            name="database",
            clock=clock,
            batch_points=LIVE_POINTS_PER_SEC,
            flush_interval_secs=INTERVAL_SECS,
            section=section,
            breaker=Breaker(clock=clock),
            live_points_per_sec=lambda: float(LIVE_POINTS_PER_SEC),
        )
        self.well = Stand(name="files", clock=clock, batch_points=10_000, flush_interval_secs=INTERVAL_SECS)
        self.fanout = FanOut([self.down.consumer, self.well.consumer])
        for stand in (self.down, self.well):
            stand.cursor.merges = True

    @property
    def made_up(self) -> int:
        """Points that the one that was down has now."""
        return sum(blocks.points for blocks in self.down.writer.flushed)

    async def until(self, over: Callable[[], bool]) -> float:
        """Metrics come in until something holds; how many seconds that took."""
        begun = asyncio.get_running_loop().time()
        while not over():
            assert asyncio.get_running_loop().time() - begun < 2 * HOUR_SECS, "it does not come to that"
            for stand in (self.down, self.well):
                stand.cursor.commit(points=LIVE_POINTS_PER_SEC // BATCHES_PER_SEC)
            self.fanout.committed()
            await asyncio.sleep(1 / BATCHES_PER_SEC)
            assert self.well.cursor.lag_secs <= INTERVAL_SECS, "the other one is as prompt as ever"
        return asyncio.get_running_loop().time() - begun


def seconds(count: float) -> Callable[[], bool]:
    end = asyncio.get_running_loop().time() + count
    return lambda: asyncio.get_running_loop().time() >= end


def test_an_hour_is_made_up_in_order_and_no_faster_than_allowed() -> None:
    async def main() -> None:
        fleet = Fleet(catch_up_points_per_sec=1_000)
        down = fleet.down
        await fleet.fanout.start()
        await fleet.until(seconds(10))
        down.writer.down = RetryableError("connection refused")
        attempts_before = down.writer.attempts
        await fleet.until(seconds(HOUR_SECS))
        assert down.consumer.breaker.state is State.OPEN
        asked = down.writer.offered[attempts_before + 1 :]
        assert len(asked) < HOUR_SECS / 15 + 10, "it is asked once in half a minute"
        assert max(asked) <= LIVE_POINTS_PER_SEC, "with one batch, not with the hour"
        backlog = down.cursor.lag_points
        assert backlog >= HOUR_SECS * LIVE_POINTS_PER_SEC * 0.99

        down.writer.down = None
        await fleet.until(lambda: down.consumer.breaker.state is State.CLOSED)
        made_up = [fleet.made_up]

        def caught_up() -> bool:
            made_up.append(fleet.made_up)
            return down.cursor.lag_secs <= INTERVAL_SECS

        took = await fleet.until(caught_up)
        # Within ten seconds of now a writer is not behind, and takes what is left at once.
        ideal = backlog / (1_000 - LIVE_POINTS_PER_SEC)
        assert ideal * 0.95 <= took <= ideal * 1.1, f"{took} s of {ideal} s"
        behind = made_up[: -15 * BATCHES_PER_SEC]
        in_ten_secs = [later - before for before, later in zip(behind, behind[10 * BATCHES_PER_SEC :], strict=False)]
        assert max(in_ten_secs) <= 11 * 1_000, "never faster, at no time"
        await fleet.fanout.stop(10)
        ranges = [(blocks.start, blocks.end) for blocks in down.writer.flushed]
        ends = [0, *(end for _, end in ranges)]
        assert [start for start, _ in ranges] == ends[:-1], "every block once, in order"
        assert ends[-1] == BLOCK_BYTES * len(down.cursor.blocks)

    in_virtual_time(main())


@pytest.mark.parametrize("catch_up", [1, None])
def test_a_bound_below_what_comes_in_still_converges_and_none_is_none(catch_up: int | None) -> None:
    async def main() -> None:
        fleet = Fleet(catch_up_points_per_sec=catch_up)
        await fleet.fanout.start()
        fleet.down.writer.down = RetryableError("down")
        await fleet.until(seconds(300))
        fleet.down.writer.down = None
        took = await fleet.until(lambda: fleet.down.cursor.lag_secs <= INTERVAL_SECS)
        # Half as much again as comes in; the pause before the first attempt is up to 30 s.
        assert took <= 30 + 2 if catch_up is None else 550 <= took <= 750
        await fleet.fanout.stop(10)

    in_virtual_time(main())


def test_stopping_does_not_wait_for_what_is_to_be_caught_up() -> None:
    async def main() -> None:
        fleet = Fleet(catch_up_points_per_sec=200)
        await fleet.fanout.start()
        fleet.down.writer.down = RetryableError("down")
        await fleet.until(seconds(1_000))
        fleet.down.writer.down = None
        await fleet.until(lambda: fleet.made_up > 1_000)
        begun = asyncio.get_running_loop().time()
        assert await fleet.fanout.stop(30) == []
        assert asyncio.get_running_loop().time() - begun < 2
        assert fleet.down.cursor.stored == fleet.down.writer.flushed[-1].end, "the rest is in the journal"

    in_virtual_time(main())


def test_stopping_does_not_wait_for_the_turn_of_a_large_batch() -> None:
    async def main() -> None:
        fleet = Fleet(catch_up_points_per_sec=100)
        down = fleet.down
        down.cursor.commit(points=10_000)
        down.cursor.commit(points=10_000)
        await asyncio.sleep(60)
        await fleet.fanout.start()
        fleet.fanout.committed()
        # The first batch is handed over at once; the turn of the second is a hundred seconds later.
        await asyncio.sleep(5)
        assert down.writer.attempts == 1
        begun = asyncio.get_running_loop().time()
        assert await fleet.fanout.stop(30) == []
        assert asyncio.get_running_loop().time() - begun < 2
        assert down.cursor.stored == BLOCK_BYTES, "what it was handed is flushed, the rest is in the journal"

    in_virtual_time(main())


def test_stopping_does_not_wait_for_a_destination_that_is_down() -> None:
    async def main() -> None:
        fleet = Fleet(catch_up_points_per_sec=None)
        await fleet.fanout.start()
        fleet.down.writer.down = RetryableError("down")
        await fleet.until(seconds(100))
        begun = asyncio.get_running_loop().time()
        assert await fleet.fanout.stop(30) == []
        assert asyncio.get_running_loop().time() - begun < 2
        assert fleet.well.cursor.lag_points == 0

    in_virtual_time(main())
