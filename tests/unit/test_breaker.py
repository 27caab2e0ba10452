"""After a failure a destination is left alone for a growing while, and then asked once."""

import asyncio

import pytest
from tests.support.virtual_time import LoopClock, in_virtual_time

from telemetry_collector.breaker import RETRY_AFTER_SECS_MAX, Abandoned, Breaker, State


def test_closed_it_keeps_nobody_waiting() -> None:
    async def main() -> None:
        breaker = Breaker(clock=LoopClock())
        await breaker.wait()
        assert (breaker.state, breaker.failures, breaker.retry_in_secs) == (State.CLOSED, 0, 0.0)
        assert asyncio.get_running_loop().time() < 0.01

    in_virtual_time(main())


def test_an_attempt_is_made_when_the_pause_is_over_and_not_before() -> None:
    async def main() -> None:
        breaker = Breaker(clock=LoopClock())
        pause = breaker.failed()
        assert (breaker.state, breaker.failures) == (State.OPEN, 1)
        assert breaker.retry_in_secs == pytest.approx(pause, abs=0.01)
        await breaker.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(pause, abs=0.01)
        assert breaker.state is State.HALF_OPEN
        breaker.succeeded()
        assert (breaker.state, breaker.failures) == (State.CLOSED, 0)

    in_virtual_time(main())


def test_pauses_double_up_to_their_bound_and_begin_anew_after_a_success() -> None:
    async def main() -> None:
        breaker = Breaker(8, LoopClock())
        ceilings = [0.5, 1, 2, 4, 8, 8, 8]
        for ceiling in ceilings:
            assert ceiling / 2 <= breaker.failed() <= ceiling
            await breaker.wait()
        breaker.succeeded()
        assert breaker.failed() <= 0.5
        for _ in range(5_000):
            assert breaker.failed() <= 8

    in_virtual_time(main())


def test_a_bound_below_the_first_pause_holds_too() -> None:
    assert Breaker(0.1).failed() <= 0.1


@pytest.mark.parametrize(("asked", "given"), [(7, 7), (86_400, RETRY_AFTER_SECS_MAX)])
def test_a_destination_that_asks_for_a_pause_gets_it_within_reason(asked: float, given: float) -> None:
    assert given <= Breaker(1.0).failed(asked) <= given + 0.25


def test_nobody_waits_for_an_attempt_that_will_not_be_made() -> None:
    async def main() -> None:
        breaker = Breaker(clock=LoopClock())
        await breaker.wait()
        breaker.failed(100)
        waiting = asyncio.create_task(breaker.wait())
        await asyncio.sleep(1)
        breaker.abandon()
        with pytest.raises(Abandoned):
            await waiting
        with pytest.raises(Abandoned):
            await breaker.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(1, abs=0.01)
        assert breaker.state is State.OPEN
        breaker.succeeded()
        await breaker.wait()

    in_virtual_time(main())
