"""Messages of gRPC that are being read: gRPC keeps one in memory from its first byte, and tells its size with its last.

So before a message is asked for, its call takes one of few turns. Until then HTTP/2's windows keep the sender waiting,
at 64 KiB a call. Memory for messages that are not whole is thereby at most READS_MAX of the largest; what is whole
counts against the door's room. A client has a few turns of its own, that others go on while it trickles, and may have
so many calls wait for one that others find room to wait, too (`shares`): those that gRPC itself refuses are not told
that they may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, final

from telemetry_collector.listeners.requests.shares import Shares

READS_MAX: Final = 16
"""Messages that are read at a time."""
READS_OF_CLIENT_MAX: Final = 4
"""And of one client."""
READ_SECS_MAX: Final = 30.0
"""How long a message may take to come, once it is read."""
CALLS_WAITING_MAX: Final = 512
"""Calls whose message is read or waits to be."""


class NoTurn(Exception):
    """Too many calls wait for their turn, or too many of this client."""


@final
class Readings:
    """The turns of one server."""

    def __init__(self, calls_max: int = CALLS_WAITING_MAX) -> None:
        self._turns = asyncio.Semaphore(READS_MAX)
        self._calls = Shares(calls_max)
        # The turns of each that has calls.
        self._clients: dict[str, asyncio.Semaphore] = {}

    async def read(self, client: str, messages: AsyncIterator[bytes], secs_max: float = READ_SECS_MAX) -> bytes | None:
        """The next message of a call; None when there is none. TimeoutError when it takes too long to come; NoTurn."""
        if not self._calls.take(client):
            raise NoTurn
        own = self._clients.setdefault(client, asyncio.Semaphore(READS_OF_CLIENT_MAX))
        try:
            # Its own turn first: who waits for that takes none of those that others wait for.
            async with own, self._turns, asyncio.timeout(secs_max):
                return await anext(messages, None)
        finally:
            if not self._calls.give_back(client):
                del self._clients[client]


def address_of(peer: str) -> str:
    """The address in what gRPC calls a peer, such as ipv4:127.0.0.1:50324, without its port."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else peer
