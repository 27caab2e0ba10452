"""A server that takes line protocol and answers as it is told: InfluxDB on a bad day."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """What the server answers."""

    status: int = 204
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What the server was sent, unpacked."""

    body: bytes
    wire_bytes: int
    query: dict[str, str]
    token: str
    encoding: str

    @property
    def lines(self) -> list[bytes]:
        return self.body.splitlines()


class FakeInflux:
    """Serves POST /api/v2/write on loopback while it is entered.

    Answers with `script`'s replies first, one a request, then with what `judge` makes of each; accepts by default.
    """

    def __init__(self, *script: Reply, judge: Callable[[Request], Reply] = lambda _: Reply()) -> None:
        self.requests: list[Request] = []
        self.accepted: list[bytes] = []
        self._script = list(script)
        self._judge = judge
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/api/v2/write", self._write)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _write(self, request: web.Request) -> web.Response:
        raw = await request.content.read()
        encoding = request.headers.get("Content-Encoding", "")
        wire_bytes = int(request.headers["Content-Length"])
        # The server library unpacks by itself where it sees the header; raw bytes still begin with gzip's own mark.
        body = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        received = Request(body, wire_bytes, dict(request.query), request.headers.get("Authorization", ""), encoding)
        self.requests.append(received)
        reply = self._script.pop(0) if self._script else self._judge(received)
        if reply.status == 204:
            self.accepted += received.lines
        return web.Response(status=reply.status, text=reply.body or None, headers=reply.headers)
