from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.clock import ManualClock
from telemetry_collector.observe.occasional import Occasional


def test_the_first_is_told_and_then_one_an_interval_with_what_happened_since() -> None:
    clock = ManualClock()
    occasional = Occasional(10, clock)
    assert occasional.due("a") == 1
    clock.advance(5)
    assert occasional.due("a") is None
    assert occasional.due("a", 3) is None
    assert occasional.due("b") == 1
    clock.advance(5)
    assert occasional.due("a") == 5
    assert occasional.due("a") is None


def test_a_kind_that_was_quiet_is_told_at_once() -> None:
    clock = ManualClock()
    occasional = Occasional(10, clock)
    occasional.due("a")
    clock.advance(100)
    assert occasional.due("a", 2) == 2


def test_what_was_not_told_can_be_told_at_the_end_and_only_once() -> None:
    occasional = Occasional(10, ManualClock())
    for _ in range(3):
        occasional.due("a")
    occasional.due("b")
    assert occasional.untold() == [("a", 2)]
    assert occasional.untold() == []


def test_the_kind_not_heard_of_for_longest_makes_room() -> None:
    occasional = Occasional(10, ManualClock(), keys_max=2)
    occasional.due("a")
    occasional.due("b")
    assert occasional.due("a") is None
    assert occasional.due("c") == 1
    assert occasional.due("a") is None
    assert occasional.due("b") == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.floats(0, 20)), max_size=40))
def test_nothing_is_lost_between_tellings(steps: list[tuple[str, int, float]]) -> None:
    clock = ManualClock()
    occasional = Occasional(10, clock)
    told = 0
    for key, amount, wait in steps:
        told += occasional.due(key, amount) or 0
        clock.advance(wait)
    told += sum(amount for _, amount in occasional.untold())
    assert told == sum(amount for _, amount, _ in steps)
