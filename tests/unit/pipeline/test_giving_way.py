"""When the journal is full, writers with `drop_oldest` give up what nobody else keeps, no more, and it is told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.delivery import FakeCursor, Stand
from tests.support.virtual_time import LoopClock, in_virtual_time

from telemetry_collector.breaker import Breaker, State
from telemetry_collector.config import WriterSection
from telemetry_collector.errors import JournalError, RetryableError
from telemetry_collector.pipeline.consumer import Consumer
from telemetry_collector.pipeline.fanout import FanOut

WAIT_SECS_MAX = 10.0
DROP = WriterSection(when_full="drop_oldest")
BLOCK = WriterSection(when_full="block")


def stand(**keys: Any) -> Stand:
    return Stand(**{"clock": LoopClock(), "section": DROP, "flush_interval_secs": 1.0, **keys})


def told(stuck: Stand) -> str:
    """What /health says of it; nothing when all is well."""
    return stuck.consumer.failing or ""


async def settle() -> None:
    """A second passes."""
    await asyncio.sleep(1)


async def hanging(**keys: Any) -> Stand:
    """A writer that has ten blocks of three points before it and hangs in the first."""
    stuck = stand(**keys)
    for _ in range(10):
        stuck.cursor.commit(points=3)
    stuck.writer.hangs = True
    await stuck.fanout.start()
    await settle()
    assert stuck.writer.attempts == 1
    return stuck


def test_a_writer_that_hangs_is_interrupted_and_goes_on_behind_the_gap() -> None:
    async def main() -> None:
        stuck = await hanging()
        with capture_logs() as logs:
            assert await stuck.fanout.make_room(lambda _: 500)
        assert stuck.cursor.stored == 500
        await settle()
        assert stuck.events.told == [("dropped", "fake", "15", "journal_full")]
        (line,) = (line for line in logs if line["event"] == "writer_points_dropped")
        assert (line["start"], line["end"], line["batches"], line["points"]) == (0, 500, 5, 15)
        assert line["received_first"].startswith("2026-10-24T00:00:00")
        assert told(stuck) == "the journal was full, and this writer gave way"
        stuck.writer.hangs = False
        assert await stuck.fanout.make_room(lambda _: 600)
        await stuck.fanout.stop(WAIT_SECS_MAX)
        assert stuck.flushed == [600, 700, 800, 900]
        assert stuck.cursor.stored == 1_000
        assert told(stuck) == ""

    in_virtual_time(main())


def test_a_destination_that_is_down_is_not_asked_before_its_time() -> None:
    async def main() -> None:
        down = stand(breaker=Breaker(clock=LoopClock()))
        down.writer.down = RetryableError("down", retry_after_secs=100)
        down.cursor.commit()
        down.cursor.commit()
        await down.fanout.start()
        await settle()
        attempts = down.writer.attempts
        assert await down.fanout.make_room(lambda _: 100)
        await settle()
        assert (down.cursor.stored, down.writer.attempts) == (100, attempts)
        assert down.consumer.breaker.state is State.OPEN
        down.writer.down = None
        await asyncio.sleep(200)
        assert down.flushed == [100]
        await down.fanout.stop(WAIT_SECS_MAX)

    in_virtual_time(main())


def test_what_the_destination_has_already_is_not_lost() -> None:
    async def main() -> None:
        stuck = await hanging()
        stuck.writer.skip_to = 300
        assert await stuck.fanout.make_room(lambda _: 500)
        await settle()
        assert stuck.events.told == [("dropped", "fake", "6", "journal_full")], "300 to 500"
        stuck.writer.skip_to = 800
        assert await stuck.fanout.make_room(lambda _: 700)
        await settle()
        assert (stuck.cursor.stored, len(stuck.events.told)) == (800, 1), "nothing more was lost"
        await stuck.fanout.stop(0.1)

    in_virtual_time(main())


def test_nobody_gives_way_for_what_another_keeps() -> None:
    async def main() -> None:
        giving, keeping = await hanging(), stand(name="keeping", section=BLOCK)
        keeping.cursor.stored = 200
        both = FanOut([giving.consumer, keeping.consumer])
        asked = []

        def room_wanted(passable: int) -> int | None:
            asked.append(passable)
            return passable or None

        assert await both.make_room(room_wanted)
        assert asked == [200], "no further than the other one has no need of it"
        assert (giving.cursor.stored, keeping.cursor.stored) == (200, 200)
        assert keeping.events.told == []
        keeping.cursor.stored = 0
        assert not await both.make_room(room_wanted)
        assert giving.cursor.stored == 200
        await giving.fanout.stop(0.1)

    in_virtual_time(main())


def test_a_writer_that_is_not_behind_gives_nothing() -> None:
    async def main() -> None:
        well = stand()
        well.commit()
        await well.fanout.start()
        await settle()
        assert well.cursor.stored == 100
        assert not await well.fanout.make_room(lambda _: 100)
        assert (well.writer.starts, well.events.told) == (1, [])
        await well.fanout.stop(WAIT_SECS_MAX)

    in_virtual_time(main())


def test_what_cannot_be_stored_is_not_given_up() -> None:
    async def main() -> None:
        stuck = await hanging()
        stuck.cursor.store_fault = JournalError("no space left on the file system")
        assert not await stuck.fanout.make_room(lambda _: 500)
        assert (stuck.cursor.stored, stuck.events.told) == (0, [("failed", "fake", "JournalError")])
        stuck.cursor.store_fault = None
        assert await stuck.fanout.make_room(lambda _: 500)
        assert stuck.cursor.stored == 500
        await stuck.fanout.stop(0.1)

    in_virtual_time(main())


@pytest.mark.parametrize("busy", [0, 1, 2, 3, 5, 8])
def test_whatever_it_is_doing_no_block_is_skipped_or_left_out_unless_it_is_counted(busy: int) -> None:
    """The interruption meets it in any of its steps."""

    async def main() -> None:
        working = stand(flush_interval_secs=0.01)
        for _ in range(50):
            working.cursor.commit()
        await working.fanout.start()
        for _ in range(busy):
            await asyncio.sleep(0)
        await working.fanout.make_room(lambda _: 2_000)
        await working.fanout.stop(WAIT_SECS_MAX)
        lost = sum(int(told[2]) for told in working.events.told)
        assert len(working.flushed) + lost == 50
        assert list(working.flushed) == sorted(set(working.flushed))
        assert working.cursor.stored == 5_000

    in_virtual_time(main())


async def test_a_reading_that_is_under_way_is_over_before_the_cursor_is_moved() -> None:
    begun, over = threading.Event(), threading.Event()

    class SlowCursor(FakeCursor):
        def read(self, points_max: int) -> Any:
            begun.set()
            assert over.wait(WAIT_SECS_MAX)
            return super().read(points_max)

        def store(self, position: int) -> None:
            assert over.is_set(), "somebody reads"
            super().store(position)

    slow = Stand(section=DROP)
    cursor = SlowCursor()
    consumer = Consumer("slow", slow.writer, cursor, slow.events, slow.destination, section=DROP)
    for _ in range(10):
        cursor.commit()
    fanout = FanOut([consumer])
    await fanout.start()
    assert await asyncio.to_thread(begun.wait, WAIT_SECS_MAX)
    asyncio.get_running_loop().call_later(0.1, over.set)
    assert await fanout.make_room(lambda _: 500)
    await fanout.stop(WAIT_SECS_MAX)
    assert slow.flushed == [500, 600, 700, 800, 900]
    assert slow.events.told == [("dropped", "slow", "5", "journal_full")]
