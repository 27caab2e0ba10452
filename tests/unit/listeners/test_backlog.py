"""Whose datagrams are handled next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.listeners.quic_aioquic.backlog import (
    CONNECTION_DATAGRAMS_MAX,
    DATAGRAMS_MAX,
    HANDSHAKE_DATAGRAMS_MAX,
    HANDSHAKES_DATAGRAMS_MAX,
    TURN_DATAGRAMS,
    TURN_HANDSHAKES,
    Backlog,
)
from telemetry_collector.listeners.quic_aioquic.connection import Phase
from telemetry_collector.listeners.quic_aioquic.datagrams import Path

PATH = Path(("10.0.0.1", 40_000))


@dataclass(eq=False)
class Connection:
    """As much of one as the backlog looks at."""

    name: str
    phase: Phase = Phase.OPEN


def fill(backlog: Backlog, connection: Any, count: int) -> int:
    """How many found room."""
    return sum(backlog.add(connection, b"%d" % number, PATH) for number in range(count))


def turn(backlog: Backlog) -> Sequence[tuple[Any, int]]:
    return [(connection, len(datagrams)) for connection, datagrams in backlog.turn()]


def test_who_sends_little_comes_first_and_who_sends_much_has_a_bounded_turn() -> None:
    backlog, flood, agent = Backlog(), Connection("flood"), Connection("agent")
    assert fill(backlog, flood, 200) == 200
    assert fill(backlog, agent, 3) == 3
    assert turn(backlog) == [(agent, 3), (flood, TURN_DATAGRAMS)]
    assert turn(backlog) == [(flood, TURN_DATAGRAMS)]
    assert backlog


def test_handshakes_come_last_and_a_few_at_a_time() -> None:
    backlog, agent = Backlog(), Connection("agent")
    strangers = [Connection(f"stranger {number}", Phase.HANDSHAKING) for number in range(5)]
    for connection in (*strangers, agent):
        fill(backlog, connection, 2)
    assert [connection for connection, _ in turn(backlog)] == [agent, *strangers[:TURN_HANDSHAKES]]
    assert [connection for connection, _ in turn(backlog)] == strangers[TURN_HANDSHAKES : 2 * TURN_HANDSHAKES]


def test_what_waits_is_bounded_for_one_and_for_all() -> None:
    backlog = Backlog()
    assert fill(backlog, Connection("flood"), CONNECTION_DATAGRAMS_MAX + 10) == CONNECTION_DATAGRAMS_MAX
    many = DATAGRAMS_MAX // CONNECTION_DATAGRAMS_MAX
    rest = sum(fill(backlog, Connection(f"{number}"), CONNECTION_DATAGRAMS_MAX) for number in range(many))
    assert rest == DATAGRAMS_MAX - CONNECTION_DATAGRAMS_MAX
    assert fill(backlog, Connection("one more"), 1) == 0


def test_connections_in_their_handshake_take_no_room_of_agents() -> None:
    backlog, agent = Backlog(), Connection("agent")
    strangers = [Connection(f"stranger {number}", Phase.HANDSHAKING) for number in range(256)]
    waiting = [fill(backlog, stranger, CONNECTION_DATAGRAMS_MAX) for stranger in strangers]
    assert (max(waiting), sum(waiting)) == (HANDSHAKE_DATAGRAMS_MAX, HANDSHAKES_DATAGRAMS_MAX)
    assert fill(backlog, agent, CONNECTION_DATAGRAMS_MAX) == CONNECTION_DATAGRAMS_MAX
    stranger = turn(backlog)[1][0]
    assert fill(backlog, stranger, CONNECTION_DATAGRAMS_MAX) == HANDSHAKE_DATAGRAMS_MAX, "none of its were left"


def test_a_connection_that_goes_while_others_have_their_turn_has_none() -> None:
    backlog, first, second = Backlog(), Connection("first"), Connection("second")
    fill(backlog, first, 1)
    fill(backlog, second, 2)
    seen: list[object] = []
    for connection, _ in backlog.turn():
        seen.append(connection)
        backlog.forget(second)  # type: ignore[arg-type]
    assert seen == [first]
    assert not backlog
    assert fill(backlog, second, CONNECTION_DATAGRAMS_MAX) == CONNECTION_DATAGRAMS_MAX


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), max_size=20))
def test_each_connection_gets_all_of_its_datagrams_in_their_order(arrivals: list[tuple[int, int]]) -> None:
    backlog = Backlog()
    connections = [Connection(str(number)) for number in range(4)]
    sent: list[list[bytes]] = [[] for _ in connections]
    received: list[list[bytes]] = [[] for _ in connections]

    def take() -> None:
        for connection, datagrams in backlog.turn():
            received[int(connection.name)] += [data for data, _ in datagrams]  # type: ignore[attr-defined]

    for number, count in arrivals:
        for _ in range(count):
            data = b"%d" % len(sent[number])
            if backlog.add(connections[number], data, PATH):  # type: ignore[arg-type]
                sent[number].append(data)
        take()
    while backlog:
        take()
    assert received == sent
