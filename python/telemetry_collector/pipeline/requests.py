"""Requests that wait for their commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from telemetry_collector import _core

LOOP_BYTES_MAX: Final = 64 * 1024
"""A larger request is taken on a thread: reading it takes longer than the loop should stand still."""


@final
class Requests:
    """Those of one core, on one event loop, which hears of every commit."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def taken(self, take: Callable[[], _core.Request], size: int) -> _core.Request:
        """Takes a request whose body has so many bytes; returns it when its commits are known."""
        request = take() if size <= LOOP_BYTES_MAX else await asyncio.to_thread(take)
        # Nothing is missed between asking and waiting: commits are heard of on this loop.
        while not request.done():
            heard = self._waiting[request.id] = asyncio.get_running_loop().create_future()
            try:
                await heard
            finally:
                del self._waiting[request.id]
        return request

    def committed(self, identifier: int) -> bool:
        """Some commit of the request with this id became known; False when no request has it."""
        heard = self._waiting.get(identifier)
        if heard is None or heard.done():
            return False
        heard.set_result(None)
        return True
