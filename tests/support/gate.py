"""A way to a collector whose datagrams can be held back and let go: what is on it arrives late, and in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Address = tuple[Any, ...]


class Gate:
    """Passes datagrams on to `target`; each client has a port of its own towards it."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._front: asyncio.DatagramTransport | None = None
        self._ways: dict[Address, asyncio.Future[asyncio.DatagramTransport]] = {}
        self._shut: set[Address] = set()
        self._cut: set[Address] = set()
        self._held: list[tuple[Address, bytes]] = []

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._front is not None, "the gate is started"
        return int(self._front.get_extra_info("sockname")[1])

    @property
    def held_bytes(self) -> int:
        """What waits to be let go."""
        return sum(len(data) for _, data in self._held)

    async def __aenter__(self) -> Gate:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._outward), local_addr=("127.0.0.1", 0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for way in self._ways.values():
            (await way).close()
        if self._front is not None:
            self._front.close()
        await asyncio.sleep(0)

    def hold(self) -> None:
        """From now on holds back what the clients of now send; others come and go as ever."""
        self._shut = set(self._ways)

    def cut(self) -> None:
        """From now on loses what the clients that are held back send: they vanish without a word."""
        self._cut |= self._shut

    def let_go(self) -> None:
        """Passes on everything that was held back."""
        self._shut.clear()
        held, self._held = self._held, []
        for client, data in held:
            self._pass(data, client)

    def _outward(self, data: bytes, client: Address) -> None:
        if client in self._cut:
            return
        if client in self._shut:
            self._held.append((client, data))
            return
        self._pass(data, client)

    def _pass(self, data: bytes, client: Address) -> None:
        way = self._ways.get(client)
        if way is None:
            way = self._ways[client] = asyncio.ensure_future(self._open(client))
        way.add_done_callback(lambda opened: opened.result().sendto(data))

    async def _open(self, client: Address) -> asyncio.DatagramTransport:
        def inward(data: bytes, _: Address) -> None:
            if self._front is not None and not self._front.is_closing():
                self._front.sendto(data, client)

        loop = asyncio.get_running_loop()
        way, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(inward), remote_addr=self._target[:2])
        return way


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there any more: a datagram that is lost."""
