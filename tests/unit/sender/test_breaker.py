"""The circuit breaker of one collector, in virtual time."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.sender.backoff import Backoff
from telemetry_collector.sender.breaker import Breaker

MIN_SECS, MAX_SECS = 0.25, 30.0


def new_breaker(seed: int = 1) -> Breaker:
    return Breaker(Backoff(min_secs=MIN_SECS, max_secs=MAX_SECS, random=Random(seed)), proven_secs=MAX_SECS)


def test_it_is_closed_at_first_and_open_after_a_failure_until_its_pause_is_over() -> None:
    breaker = new_breaker()
    assert (breaker.state, breaker.allows(0)) == ("closed", True)
    breaker.failed(10)
    assert (breaker.state, breaker.allows(10)) == ("open", False)
    assert 10 + MIN_SECS / 2 <= breaker.due <= 10 + MIN_SECS
    assert (breaker.allows(breaker.due), breaker.state) == (True, "half_open")
    breaker.worked(11)
    assert (breaker.allows(11), breaker.state) == (True, "closed")


@given(st.integers(0, 1_000))
def test_pauses_grow_up_to_a_bound_and_are_spread(seed: int) -> None:
    breaker, now, span = new_breaker(seed), 0.0, MIN_SECS
    for _ in range(12):
        breaker.failed(now)
        assert span / 2 <= breaker.due - now <= span
        now, span = breaker.due, min(2 * span, MAX_SECS)
        assert breaker.allows(now)
    assert breaker.opened == 12


def test_a_dead_collector_is_tried_a_few_times_an_hour_not_at_every_reconnect() -> None:
    breaker, tried = new_breaker(), 0
    for second in range(3_600):
        if breaker.allows(second):
            tried += 1
            breaker.failed(second)
    assert 120 <= tried <= 250


def test_only_a_connection_that_lived_makes_pauses_short_again() -> None:
    breaker = new_breaker()
    for _ in range(9):
        breaker.failed(0)
    breaker.worked(100)
    breaker.failed(101)
    assert breaker.due - 101 >= MAX_SECS / 2
    breaker.worked(200)
    breaker.failed(200 + MAX_SECS)
    assert breaker.due - (200 + MAX_SECS) <= MIN_SECS
