"""/metrics, /health and /ready over HTTP.

`/metrics` answers in Prometheus' text format, or OpenMetrics where asked. `/health` says whether the process does its
work, `/ready` whether it should be sent any: both are a JSON report with a boolean `ok`, and 200 or 503 by it. Reports
are read from memory when asked for; none may block.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from telemetry_collector.observe.http_server import BODY_BYTES_MAX, HttpServer
from telemetry_collector.observe.logs import logger

if TYPE_CHECKING:
    from aiohttp import web

log = logger(__name__)

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text"
UNITS = ("seconds", "bytes", "ratio")
"""What names end with, if their metric has one of the units that OpenMetrics knows."""

Report = Callable[[], Mapping[str, Any]]
"""A snapshot with a boolean `ok` and whatever else an operator wants to see; values that JSON has."""


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
        self._server = HttpServer(
            addr, port, purpose="/metrics",
            port_key="observability.metrics_port", addr_key="observability.metrics_addr",
        )  # fmt: skip
        self._registry = registry
        self._health = health
        self._ready = ready

    @property
    def port(self) -> int:
        """The port listened on: where 0 was asked for, the system's choice once started."""
        return self._server.port

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        from aiohttp import web

        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._reporter(self._health))
        app.router.add_get("/ready", self._reporter(self._ready))
        await self._server.start(app)
        log.info("metrics_endpoint_started", addr=self._addr, port=self.port)

    async def stop(self) -> None:
        """Stops listening. Idempotent, and safe before `start`."""
        await self._server.stop()

    async def _index(self, _request: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.Response(text="/metrics\n/health\n/ready\n")

    async def _metrics(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        openmetrics = wants_openmetrics(request.headers.get("Accept", ""))
        encode, content_type = choose_encoder(OPENMETRICS if openmetrics else "")
        return web.Response(body=encode(_WithUnits(self._registry)), headers={"Content-Type": content_type})

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


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics 1.0, and for nothing of ours rather.

    Whatever else it has, as other versions and what cannot be read, asks for nothing.
    """
    wanted = {TEXT: 0.0, OPENMETRICS: 0.0}
    for each in accept.split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        given = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        if kind not in wanted or (kind == OPENMETRICS and given.get("version", "1.0.0") != "1.0.0"):
            continue
        try:
            wanted[kind] = max(wanted[kind], float(given.get("q", 1)))
        except ValueError:
            continue
    return 0 < wanted[OPENMETRICS] >= wanted[TEXT]


class _WithUnits(Collector):
    """Metrics with the units that their names tell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.unit = metric.unit or next((unit for unit in UNITS if metric.name.endswith(f"_{unit}")), "")
            yield metric
