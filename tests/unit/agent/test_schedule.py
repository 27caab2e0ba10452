"""When the agent reads."""

import asyncio

import pytest

from telemetry_collector.agent.schedule import Schedule
from telemetry_collector.clock import ManualClock


async def passed(task: "asyncio.Task[None]") -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_003.25)


async def test_moments_are_whole_multiples_of_the_interval(clock: ManualClock) -> None:
    schedule = Schedule(10.0, clock)
    for moment in (1_800_000_010.0, 1_800_000_020.0, 1_800_000_030.0):
        waiting = asyncio.create_task(schedule.wait())
        assert not await passed(waiting)
        clock.advance(moment - clock.unix_secs() - 0.01)
        assert not await passed(waiting)
        clock.advance(0.011)
        assert await passed(waiting)
        assert clock.unix_secs() == pytest.approx(moment, abs=0.01)


async def test_a_late_reading_does_not_shift_the_next(clock: ManualClock) -> None:
    schedule = Schedule(10.0, clock)
    first = asyncio.create_task(schedule.wait())
    await passed(first)
    clock.advance(6.751)
    assert await passed(first)
    clock.advance(4.0)
    second = asyncio.create_task(schedule.wait())
    assert not await passed(second)
    clock.advance(6.0)
    assert await passed(second)
    assert schedule.missed == 0


async def test_missed_moments_are_skipped_and_counted(clock: ManualClock) -> None:
    schedule = Schedule(10.0, clock)
    first = asyncio.create_task(schedule.wait())
    await passed(first)
    clock.advance(6.751)
    assert await passed(first)
    clock.advance(35.0)  # three moments have passed: the last is served late, two are skipped
    late = asyncio.create_task(schedule.wait())
    assert await passed(late)
    assert schedule.missed == 2
    onwards = asyncio.create_task(schedule.wait())
    assert not await passed(onwards)
    clock.advance(5.0)
    assert await passed(onwards)
    assert clock.unix_secs() == pytest.approx(1_800_000_050.0, abs=0.01)
