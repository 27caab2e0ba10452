"""Values name agent, life and place, and a set of them tells what is missing."""

import pytest

from telemetry_collector.torture.values import AGENTS_MAX, LIVES_MAX, Seen, first_value


def seen(*values: int) -> Seen:
    made = Seen()
    made.update(values)
    return made


def test_every_life_has_values_of_its_own_that_a_double_holds() -> None:
    last = first_value(AGENTS_MAX - 1, LIVES_MAX - 1) + (1 << 32) - 1
    assert int(float(last)) == last < 1 << 53
    assert first_value(0, 1) - first_value(0, 0) == first_value(3, 0) - first_value(2, LIVES_MAX - 1) == 1 << 32
    with pytest.raises(ValueError, match="life 4096"):
        first_value(0, LIVES_MAX)


def test_a_set_tells_what_another_has_and_it_lacks() -> None:
    start = first_value(2, 1)
    ours, theirs = seen(start, start + 5), seen(start, start + 4, start + 5, start + 9, first_value(3, 0))
    assert ours.missing(theirs) == 3
    assert theirs.missing(ours) == 0
    ours.merge(theirs)
    assert ours.missing(theirs) == 0
    assert len(ours) == 5


def test_holes_are_values_before_the_last_of_their_life() -> None:
    assert seen(first_value(1, 0), first_value(1, 0) + 1).holes() == 0
    assert seen(first_value(1, 0) + 3, first_value(1, 1)).holes() == 3
