"""Brings a core's requests into the event loop: they are taken, and answered when their commits are known.

The core signals an eventfd. One reader on the loop takes the ids of what became due, wakes the requests among them, and
tells whoever asked that more may be readable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from telemetry_collector import _core

LOOP_BYTES_MAX: Final = 64 * 1024
"""A larger request is taken on a thread: reading it takes longer than the loop should stand still. What is packed
counts as it is unpacked, of which no more than this happens on the loop."""


class RequestIngest:
    """A consumer of requests. Attached to one event loop between `start` and `stop`."""

    def __init__(self, core: _core.Ingest | _core.Signals, committed: Callable[[], None]) -> None:
        """`committed` is called on the loop after each wake-up, when more may be readable."""
        self._core = core
        self._committed = committed
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to watch for commits, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._core.fileno(), self._on_commit)

    def stop(self) -> None:
        """Stops watching. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._core.fileno())
            self._loop = None

    async def take(
        self, form: _core.RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool
    ) -> _core.Request:
        """Takes a request of another protocol; returns it when its commits are known. RequestError refuses it whole."""

        def work(body: bytes, encoding: str) -> _core.Request:
            return self._core.take(
                form, body, encoding, identity=identity, node=node, relay=relay, now_unix_ns=time.time_ns()
            )

        small = _core.unpack_small(body, encoding, LOOP_BYTES_MAX) if len(body) <= LOOP_BYTES_MAX else None
        request = await asyncio.to_thread(work, body, encoding) if small is None else work(small, "")
        # Nothing is missed between asking and waiting: commits are heard of on this loop.
        while not request.done():
            heard = self._waiting[request.id] = asyncio.get_running_loop().create_future()
            try:
                await heard
            finally:
                del self._waiting[request.id]
        return request

    def _on_commit(self) -> None:
        for identifier in self._core.ready():
            heard = self._waiting.get(identifier)
            if heard is None or heard.done():
                self._due(identifier)
            else:
                heard.set_result(None)
        self._committed()

    def _due(self, identifier: int) -> None:
        """Something else than a request that waits became due: here, one whose caller has left."""
