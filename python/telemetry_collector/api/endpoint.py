"""The API over HTTP: what is known of the workers, as JSON, and what there is to ask, as OpenAPI.

Every answer is made of bytes that are ready, so the slowest request is as slow as sending them. Nothing can be changed
here, and nobody is asked who he is: it listens on loopback unless told otherwise.
"""

from __future__ import annotations

import json
from typing import Final, final
from urllib.parse import unquote

from prometheus_client import CollectorRegistry

from telemetry_collector.api import NO_SUCH_WORKER
from telemetry_collector.api.openapi import document
from telemetry_collector.api.page import page
from telemetry_collector.api.workers import TelemetryManager
from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.observe.http_message import TEXT, Answer, Handler, Request, error_body
from telemetry_collector.observe.http_server import HttpServer
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter, gauge

log = logger(__name__)

PORT_KEY: Final = "api.http_port (or the environment variable HTTP_PORT)"
ADDR_KEY: Final = "api.http_addr"

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
        routes: dict[str, Handler] = {
            "/": _index,
            "/health": self._health,
            "/telemetry": self._all,
            "/workers": self._all,
            "/telemetry/{worker_id}": self._one,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
        }
        self._server = HttpServer(
            addr, port, routes, purpose="the API", port_key=PORT_KEY, addr_key=ADDR_KEY, answered=self._answered
        )
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
        await self._server.start()
        self._listening.set(1)
        log.info("api_started", addr=self._addr, port=self.port)

    async def stop(self) -> None:
        """Stops listening. Idempotent, and safe before `start`."""
        self._listening.set(0)
        await self._server.stop()

    def _health(self, _request: Request) -> Answer:
        return _json(json.dumps({"status": "healthy", "time": int(self._clock.unix_secs())}).encode())

    def _all(self, _request: Request) -> Answer:
        return _json(self._workers.map_as_json())

    def _one(self, request: Request) -> Answer:
        worker_id = unquote(request.path.rpartition("/")[2])
        found = self._workers.one_as_json(worker_id)
        if found is None:
            return _json(error_body(404, f"{NO_SUCH_WORKER} {worker_id[:200]!r}"), 404)
        return _json(found)

    def _openapi(self, _request: Request) -> Answer:
        return _json(self._document)

    def _docs(self, _request: Request) -> Answer:
        return Answer(self._page, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS)

    def _answered(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()


def _index(_request: Request) -> Answer:
    text = b"/health\n/telemetry\n/telemetry/{worker_id}\n/workers\n/openapi.json\n/docs\n"
    return Answer(text, content_type=TEXT)


def _json(body: bytes, status: int = 200) -> Answer:
    return Answer(body, status, headers=HEADERS)
