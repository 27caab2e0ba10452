"""Datagrams that were read and not handled yet: whoever sends little does not wait for whoever sends much.

All peers share one socket, and handling a datagram costs ten times what reading it does. So the socket is read first,
and then every connection gets a turn of a bounded number of datagrams: those that have fewest waiting come first, and
those that are still in their handshake, which is the dearest work there is, come last and a few at a time.
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

Waiting = deque[tuple[bytes, Path]]


class Backlog:
    """The queues of all connections, and whose turn it is."""

    def __init__(self) -> None:
        self._waiting: dict[AgentConnection, Waiting] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def add(self, connection: AgentConnection, data: bytes, path: Path) -> bool:
        """Whether there was room for it."""
        waiting = self._waiting.get(connection)
        if waiting is None:
            waiting = self._waiting[connection] = deque()
        if self._count >= DATAGRAMS_MAX or len(waiting) >= CONNECTION_DATAGRAMS_MAX:
            if not waiting:
                del self._waiting[connection]
            return False
        waiting.append((data, path))
        self._count += 1
        return True

    def forget(self, connection: AgentConnection) -> None:
        """The connection is gone."""
        self._count -= len(self._waiting.pop(connection, ()))

    def turn(self) -> Iterator[tuple[AgentConnection, list[tuple[bytes, Path]]]]:
        """Each connection with what it may have handled now."""
        waiting = self._waiting
        if len(waiting) > 1:
            order = sorted(waiting, key=lambda one: (one.phase is Phase.HANDSHAKING, len(waiting[one])))
        else:
            order = list(waiting)
        handshakes = 0
        for connection in order:
            if connection.phase is Phase.HANDSHAKING:
                handshakes += 1
                if handshakes > TURN_HANDSHAKES:
                    return
            queue = waiting.get(connection)
            if queue is None:
                continue
            if len(queue) <= TURN_DATAGRAMS:
                del waiting[connection]
                taken = list(queue)
            else:
                taken = [queue.popleft() for _ in range(TURN_DATAGRAMS)]
            self._count -= len(taken)
            yield connection, taken
