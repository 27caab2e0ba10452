"""A database that takes line protocol, remembers which values it was given, and has outages."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
from enum import StrEnum
from typing import final

from aiohttp import web

from telemetry_collector.torture.values import Seen

BODY_BYTES_MAX = 1 << 26
HANG_SECS = 30.0
"""So long a hanging database holds a request; the collector gives up before."""

_VALUE = re.compile(rb" value=([0-9.e+]+)")


class Mood(StrEnum):
    """How it answers."""

    TAKES = "takes"
    REFUSES = "refuses"
    """500, and nothing is taken."""
    BUSY = "busy"
    """429 with Retry-After, and nothing is taken."""
    FORGETS = "forgets"
    """Everything is taken, and the answer is an error all the same."""
    HANGS = "hangs"
    """No answer."""


OUTAGES = (Mood.REFUSES, Mood.BUSY, Mood.FORGETS, Mood.HANGS)


@final
class Sink:
    """POST /api/v2/write on loopback, between `start` and `stop`."""

    def __init__(self) -> None:
        self.mood = Mood.TAKES
        self.seen = Seen()
        self._stopping = asyncio.Event()
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_post("/api/v2/write", self._write)
        self._runner = web.AppRunner(application, shutdown_timeout=0, access_log=None)
        self.url = ""

    async def start(self) -> None:
        """Begins to listen on a port that the system chooses."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Closes everything; requests that hang are answered. Idempotent."""
        self._stopping.set()
        await self._runner.cleanup()

    async def _write(self, request: web.Request) -> web.Response:
        mood = self.mood
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if mood in (Mood.TAKES, Mood.FORGETS):
            self.seen.update(int(float(text)) for text in _VALUE.findall(body))
        match mood:
            case Mood.TAKES:
                return web.Response(status=204)
            case Mood.BUSY:
                return web.Response(status=429, headers={"Retry-After": "1"})
            case Mood.HANGS:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), HANG_SECS)
        return web.Response(status=500, text="out of order, by order")
