"""A UDP relay in front of a collector: the network between it and its agents, as bad as it is told to be."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import cast, final

from telemetry_collector.torture.link import CLEAR, Link

HOST = "127.0.0.1"
FLIGHT_MAX = 20_000
"""Datagrams that are under way; one more is lost, as in a router whose queue is full."""
PEERS_MAX = 1_024
"""Client addresses that are remembered; the one that was silent longest is forgotten for another."""

Address = tuple[str, int]


@final
class Relay:
    """Listens on a port of its own and passes datagrams on over `link`, which may change at any time.

    Answers pass over it too, unless there is a `way_back`.
    """

    def __init__(self, target: Address, random: Random) -> None:
        self.link: Link = CLEAR
        self.way_back: Link | None = None
        self._target = target
        self._random = random
        self._front: asyncio.DatagramTransport | None = None
        # A socket for each client, so that answers find their way back.
        self._peers: OrderedDict[Address, asyncio.DatagramTransport | None] = OrderedDict()
        self._flying = 0
        #: Datagrams that came, from either side, whatever became of them.
        self.taken = 0
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where agents connect."""
        assert self._front is not None, "the relay is started"
        return int(self._front.get_extra_info("sockname")[1])

    async def start(self) -> None:
        """Begins to listen on a port that the system chooses."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._outward), local_addr=(HOST, 0))
        self._front = transport

    async def stop(self) -> None:
        """Closes everything. Idempotent, and safe before `start`."""
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for peer in self._peers.values():
            if peer is not None:
                peer.close()
        self._peers.clear()
        if self._front is not None:
            self._front.close()
            self._front = None
        # Transports close their sockets in the loop's next round.
        await asyncio.sleep(0)

    def _outward(self, data: bytes, client: Address) -> None:
        if client not in self._peers:
            # What arrives until the socket is there is lost; QUIC sends its first datagram again.
            self._peers[client] = None
            task = asyncio.get_running_loop().create_task(self._open(client, data))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            return
        self._peers.move_to_end(client)
        peer = self._peers[client]
        if peer is not None:
            self._pass(lambda: None if peer.is_closing() else peer.sendto(data), self.link)

    async def _open(self, client: Address, first: bytes) -> None:
        def inward(data: bytes, _: Address) -> None:
            way = self.way_back or self.link
            self._pass(lambda: self._front.sendto(data, client) if self._front is not None else None, way)

        loop = asyncio.get_running_loop()
        peer, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(inward), remote_addr=self._target)
        self._peers[client] = peer
        self._pass(lambda: None if peer.is_closing() else peer.sendto(first), self.link)
        while len(self._peers) > PEERS_MAX:
            _, silent = self._peers.popitem(last=False)
            if silent is not None:
                silent.close()

    def _pass(self, arrive: Callable[[], None], link: Link) -> None:
        self.taken += 1
        for delay in link.arrivals(self._random):
            if not delay:
                arrive()
            elif self._flying < FLIGHT_MAX:
                self._flying += 1
                asyncio.get_running_loop().call_later(delay, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], None]) -> None:
        self._flying -= 1
        arrive()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, address: tuple[str | object, int]) -> None:
        self._received(data, cast("Address", address[:2]))

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there at the moment: a datagram that is lost, as any other."""
