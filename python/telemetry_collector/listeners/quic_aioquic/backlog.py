"""Datagrams that were read and not handled yet: whoever sends little does not wait for whoever sends much.

All peers share one socket, and handling a datagram costs ten times what reading it does. So the socket is read first,
and then every connection gets a turn of a bounded number of datagrams: those that have fewest waiting come first, and
those that are still in their handshake, which is the dearest work there is, come last and a few at a time. What waits
of those has bounds of its own: they have shown no certificate, and agents' datagrams find room however many they send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from telemetry_collector.listeners.quic_aioquic.connection import AgentConnection, Phase
from telemetry_collector.listeners.quic_aioquic.datagrams import Path

TURN_DATAGRAMS = 48
"""Datagrams of one connection handled before another has its turn: about a millisecond."""

TURN_HANDSHAKES = 2
"""Connections in their handshake that have a turn before the socket is read again."""

CONNECTION_DATAGRAMS_MAX = 512
"""Datagrams of one connection that wait; more are dropped, which is how a sender learns to send less."""

DATAGRAMS_MAX = 16_384
"""The same of all connections: some 20 MB."""

HANDSHAKE_DATAGRAMS_MAX = 16
"""Datagrams of one connection in its handshake that wait: a client's flight and what it may send right behind it. No
more than a turn, so that none are left when the handshake is done."""

HANDSHAKES_DATAGRAMS_MAX = 2_048
"""The same of all connections in their handshake."""

Waiting = deque[tuple[bytes, Path]]


class Backlog:
    """The queues of all connections, and whose turn it is."""

    def __init__(self) -> None:
        self._handshaking = _Queues(HANDSHAKE_DATAGRAMS_MAX, HANDSHAKES_DATAGRAMS_MAX)
        self._others = _Queues(CONNECTION_DATAGRAMS_MAX, DATAGRAMS_MAX)

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._handshaking.waiting or self._others.waiting)

    @property
    def handshakes(self) -> int:
        """Connections in their handshake of which something waits."""
        return len(self._handshaking.waiting)

    def add(self, connection: AgentConnection, data: bytes, path: Path) -> bool:
        """Whether there was room for it."""
        queues = self._handshaking if connection.phase is Phase.HANDSHAKING else self._others
        return queues.add(connection, data, path)

    def forget(self, connection: AgentConnection) -> None:
        """The connection is gone."""
        self._handshaking.forget(connection)
        self._others.forget(connection)

    def turn(self) -> Iterator[tuple[AgentConnection, list[tuple[bytes, Path]]]]:
        """Each connection with what it may have handled now."""
        yield from self._others.turn(len(self._others.waiting))
        yield from self._handshaking.turn(TURN_HANDSHAKES)


class _Queues:
    """The queues of one kind of connections, and their bounds."""

    def __init__(self, each_max: int, all_max: int) -> None:
        self.waiting: dict[AgentConnection, Waiting] = {}
        self._each_max = each_max
        self._all_max = all_max
        self._count = 0

    def add(self, connection: AgentConnection, data: bytes, path: Path) -> bool:
        waiting = self.waiting.get(connection)
        if self._count >= self._all_max or (waiting is not None and len(waiting) >= self._each_max):
            return False
        if waiting is None:
            waiting = self.waiting[connection] = deque()
        waiting.append((data, path))
        self._count += 1
        return True

    def forget(self, connection: AgentConnection) -> None:
        self._count -= len(self.waiting.pop(connection, ()))

    def turn(self, connections_max: int) -> Iterator[tuple[AgentConnection, list[tuple[bytes, Path]]]]:
        """So many connections, those with the fewest datagrams first."""
        waiting = self.waiting
        order = sorted(waiting, key=lambda one: len(waiting[one])) if len(waiting) > 1 else list(waiting)
        for connection in order[:connections_max]:
            queue = waiting.get(connection)
            if queue is None:
                # It has gone while others had their turn.
                continue
            if len(queue) <= TURN_DATAGRAMS:
                del waiting[connection]
                taken = list(queue)
            else:
                taken = [queue.popleft() for _ in range(TURN_DATAGRAMS)]
            self._count -= len(taken)
            yield connection, taken
