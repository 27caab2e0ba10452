import asyncio
import time

import pytest

from telemetry_collector.clock import Clock, ManualClock, SystemClock


def test_the_systems_clock_tells_the_systems_time() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns()
    told = clock.unix_ns()
    assert before <= told <= time.time_ns()
    assert abs(clock.unix_secs() - time.time()) < 60
    assert clock.monotonic() <= clock.monotonic()


async def test_the_systems_clock_sleeps() -> None:
    clock = SystemClock()
    started = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - started >= 0.009


def test_a_manual_clock_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(unix_secs=1_000.0)
    assert (clock.unix_secs(), clock.unix_ns(), clock.monotonic()) == (1_000.0, 10**12, 0.0)
    clock.advance(2.5)
    assert (clock.unix_secs(), clock.monotonic()) == (1_002.5, 2.5)


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleeper(name: str, secs: float) -> None:
        await clock.sleep(secs)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper(*args)) for args in (("c", 3.0), ("a", 1.0), ("b", 1.0))]
    await asyncio.sleep(0)
    assert clock.sleepers == 3
    clock.advance(0.9)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(0.1)
    await asyncio.sleep(0)
    assert woken == ["a", "b"]
    clock.advance(10)
    await asyncio.gather(*tasks)
    assert woken == ["a", "b", "c"]


@pytest.mark.parametrize("secs", [0.0, -1.0])
async def test_no_time_at_all_lets_others_run_first(secs: float) -> None:
    clock = ManualClock()
    ran: list[int] = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    await clock.sleep(secs)
    assert ran == [1]


async def test_a_sleeper_that_was_cancelled_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0
    clock.advance(2)
