"""The API over HTTP: what is known of the workers, as JSON, and what there is to ask, as OpenAPI.

Every answer is made of bytes that are ready, so the slowest request is as slow as sending them. Nothing can be changed
here, and nobody is asked who he is: it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote

from prometheus_client import CollectorRegistry

from telemetry_collector.api import NO_SUCH_WORKER
from telemetry_collector.api.openapi import document
from telemetry_collector.api.page import page
from telemetry_collector.api.workers import TelemetryManager
from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.observe.http_server import BODY_BYTES_MAX, HttpServer, error_body
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter, gauge

if TYPE_CHECKING:
    from aiohttp import web

log = logger(__name__)

PORT_KEY: Final = "api.http_port (or the environment variable HTTP_PORT)"
ADDR_KEY: Final = "api.http_addr"

JSON: Final = "application/json"
# A page that some browser shows beside others must neither be framed nor read as what it is not.
HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


@final
class ApiEndpoint:
    """Serves the API on one port."""

    def __init__(
        self,
        addr: str,
        port: int,
        workers: TelemetryManager,
        registry: CollectorRegistry,
        *,
        version: str,
        clock: Clock | None = None,
    ) -> None:
        self._addr = addr
        self._server = HttpServer(addr, port, purpose="the API", port_key=PORT_KEY, addr_key=ADDR_KEY)
        self._workers = workers
        self._clock = clock or SystemClock()
        self._document = json.dumps(document(version), indent=2).encode() + b"\n"
        self._page = page(document(version)).encode()
        self._requests = counter(
            registry, "api_requests", "Requests to the API, by path and status", ("path", "status")
        )
        self._listening = gauge(registry, "api_listening", "1 while the API listens, 0 where its port could not be had")

    @property
    def port(self) -> int:
        """The port listened on: where 0 was asked for, the system's choice once started."""
        return self._server.port

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._server.connections

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        from aiohttp import web

        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for path, answer in {
            "/": self._index,
            "/health": self._health,
            "/telemetry": self._all,
            "/workers": self._all,
            # Without an expression, aiohttp has no braces in what it matches.
            "/telemetry/{worker_id:[^/]+}": self._one,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
        }.items():
            app.router.add_get(path, answer)
        app.on_response_prepare.append(self._answered)
        await self._server.start(app)
        self._listening.set(1)
        log.info("api_started", addr=self._addr, port=self.port)

    async def stop(self) -> None:
        """Stops listening. Idempotent, and safe before `start`."""
        self._listening.set(0)
        await self._server.stop()

    async def _health(self, _request: web.Request) -> web.Response:
        return _json(json.dumps({"status": "healthy", "time": int(self._clock.unix_secs())}).encode())

    async def _all(self, _request: web.Request) -> web.Response:
        return _json(self._workers.map_as_json())

    async def _one(self, request: web.Request) -> web.Response:
        # As it was sent: a name may have a slash in it, which a decoded path would have lost.
        worker_id = unquote(request.rel_url.raw_path.removeprefix("/telemetry/"))
        found = self._workers.one_as_json(worker_id)
        if found is None:
            return _json(error_body(404, f"{NO_SUCH_WORKER} {worker_id[:200]!r}"), 404)
        return _json(found)

    async def _openapi(self, _request: web.Request) -> web.Response:
        return _json(self._document)

    async def _docs(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)

    async def _index(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="/health\n/telemetry\n/telemetry/{worker_id}\n/workers\n/openapi.json\n/docs\n")

    async def _answered(self, request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "other"
        self._requests.labels(path, str(response.status)).inc()


def _json(body: bytes, status: int = 200) -> web.Response:
    from aiohttp import web

    return web.Response(body=body, status=status, content_type=JSON, headers=HEADERS)
