"""How clients share what there is only so much of."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.listeners.requests.shares import Shares


def test_one_client_has_half_and_a_newcomer_as_much_as_is_left() -> None:
    shares = Shares(8)
    assert sum(shares.take("greedy") for _ in range(100)) == 4
    assert [shares.take("newcomer") for _ in range(3)] == [True, True, False]
    shares.give_back("newcomer")
    assert not shares.take("greedy")
    assert shares.take("another")
    assert shares.taken == 6


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=100))
def test_there_is_always_one_left_for_a_newcomer_and_what_is_given_back_is_free(asked: list[tuple[int, bool]]) -> None:
    shares = Shares(14)
    held: Counter[str] = Counter()
    for number, takes in asked:
        client = str(number)
        if takes:
            held[client] += shares.take(client)
        elif held[client]:
            held[client] -= 1
            shares.give_back(client)
        assert shares.taken == held.total()
    assert shares.take("newcomer")
    shares.give_back("newcomer")
    for client in held.elements():
        shares.give_back(client)
    assert (shares.taken, shares._clients) == (0, {})
