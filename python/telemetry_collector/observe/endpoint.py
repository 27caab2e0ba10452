"""/metrics, /health and /ready over HTTP.

`/metrics` answers in Prometheus' text format, or OpenMetrics where asked. `/health` says whether the process does its
work, `/ready` whether it should be sent any: both are a JSON report with a boolean `ok`, and 200 or 503 by it. Reports
are read from memory when asked for; none may block.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from telemetry_collector.errors import AddressError
from telemetry_collector.observe.logs import logger

if TYPE_CHECKING:
    from aiohttp import web

log = logger(__name__)

Report = Callable[[], Mapping[str, Any]]
"""A snapshot with a boolean `ok` and whatever else an operator wants to see; values that JSON has."""

KEEPALIVE_SECS = 75.0
"""An idle HTTP connection is closed after so long: longer than usual scrape intervals."""
CONNECTIONS_WAITING_MAX = 64
"""Connections that wait to be accepted; the system refuses further ones."""
STOP_SECS_MAX = 2.0
"""How long stopping waits for answers under way."""


class MetricsEndpoint:
    """Serves one registry and two reports on one port."""

    def __init__(
        self,
        addr: str,
        port: int,
        registry: CollectorRegistry,
        health: Report,
        ready: Report,
    ) -> None:
        self._addr = addr
        self._port = port
        self._registry = registry
        self._health = health
        self._ready = ready
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port listened on: where 0 was asked for, the system's choice once started."""
        return self._port

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        from aiohttp import web

        app = web.Application(client_max_size=1024)
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._reporter(self._health))
        app.router.add_get("/ready", self._reporter(self._ready))
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE_SECS, shutdown_timeout=STOP_SECS_MAX)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._addr, self._port, backlog=CONNECTIONS_WAITING_MAX).start()
        except OSError as error:
            await runner.cleanup()
            # asyncio's own text repeats the address, so the system's words are taken by number where there is one.
            number = error.errno or 0
            reason = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
            raise AddressError(
                f"cannot listen on {self._addr} port {self._port} for /metrics: {reason}; "
                "expected a free port in observability.metrics_port and one of this machine's addresses in "
                "observability.metrics_addr"
            ) from error
        self._runner = runner
        self._port = runner.addresses[0][1]
        log.info("metrics_endpoint_started", addr=self._addr, port=self._port)

    async def stop(self) -> None:
        """Stops listening. Idempotent, and safe before `start`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _index(self, _request: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.Response(text="/metrics\n/health\n/ready\n")

    async def _metrics(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    def _reporter(self, report: Report) -> "Callable[[web.Request], Any]":
        from aiohttp import web

        async def answer(_request: web.Request) -> web.Response:
            try:
                found: Mapping[str, Any] = report()
            except Exception as error:  # a report that fails is itself bad news for whoever asks
                log.exception("report_failed")
                found = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            body = json.dumps(dict(found), default=str) + "\n"
            status = 200 if found.get("ok") is True else 503
            return web.Response(text=body, status=status, content_type="application/json")

        return answer
