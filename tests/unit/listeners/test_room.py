"""How clients share what requests take of memory."""

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.listeners.requests.room import Hold, Room


def holds(room: Room, stack: ExitStack, client: str, count: int) -> list[Hold]:
    return [stack.enter_context(room.hold(client)) for _ in range(count)]


def test_one_client_has_half_of_the_room_and_a_newcomer_as_much_as_is_left() -> None:
    room = Room(bytes_max=100, requests_max=8)
    with ExitStack() as stack:
        greedy = holds(room, stack, "greedy", 100)
        assert sum(hold.grow(1) for hold in greedy) == 50
        assert sum(hold.begin() for hold in greedy) == 4
        for newcomer in range(4):
            [hold] = holds(room, stack, f"new-{newcomer}", 1)
            assert hold.grow(1)
        [late] = holds(room, stack, "late", 1)
        assert late.begin()
        assert not greedy[0].fits(1)
    with room.hold("greedy") as alone:
        assert alone.fits(50)
        assert not alone.fits(51)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.booleans()), max_size=60))
def test_there_is_always_room_for_a_newcomer_and_what_ends_is_given_back(asked: list[tuple[int, int, bool]]) -> None:
    room = Room(bytes_max=1_000, requests_max=30)
    with ExitStack() as stack:
        for client, size, begins in asked:
            hold = stack.enter_context(room.hold(str(client)))
            hold.grow(size)
            if begins:
                hold.begin()
        with room.hold("newcomer") as newcomer:
            # Six others leave it a seventh, of which one taken is half.
            assert newcomer.fits(1_000 // 7 // 2)
            assert newcomer.begin()
    assert not room._clients
    assert (room._all.bytes, room._all.requests, room._all.holds) == (0, 0, 0)
