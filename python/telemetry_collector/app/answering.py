"""The services that answer programs, and what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from telemetry_collector.app.server_tls import ServerTls
from telemetry_collector.config import Config
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests import Trust
from telemetry_collector.observe.endpoint import Report
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

if TYPE_CHECKING:
    from telemetry_collector.api.grpc import GrpcEvents, GrpcServer, Querying
    from telemetry_collector.query import Engine, EngineSettings

COLLECTING: Final = "telemetry.v1.TelemetryService"
"""The service that takes batches."""


class Answering:
    """The gRPC service of a collector, where its configuration has one."""

    def __init__(
        self,
        config: Config,
        ingest: Ingest,
        verifier: ClientVerifier,
        allowlist: AllowList,
        registry: CollectorRegistry,
        health: Report,
        ready: Report,
    ) -> None:
        self._config = config
        self._trust = Trust(verifier, allowlist)
        self._server: GrpcServer | None = None
        self._querying: Querying | None = None
        self._settings: EngineSettings | None = None
        self._tls = ServerTls(config.security)
        self._events: GrpcEvents | None = None
        if config.grpc.is_on:
            self._build(ingest, registry, health, ready)

    @property
    def address(self) -> Address | None:
        """Where it listens, with the port that the system chose."""
        return self._server.address if self._server is not None else None

    @property
    def points_accepted(self) -> int:
        """Points that calls brought and that are stored."""
        return self._events.points_accepted if self._events is not None else 0

    async def start(self) -> None:
        """Begins to listen. AddressError, CertificateError or RulesUnreadable says what is wrong."""
        if self._server is not None:
            await asyncio.to_thread(self._rules.load)
            await self._server.start()

    async def stop(self, timeout_secs: float = 5.0) -> None:
        """Answers what is under way, for so long. Idempotent."""
        if self._server is not None:
            await self._server.stop(timeout_secs)
        if self._events is not None:
            self._events.stopped()

    async def tell_ready(self, ready: bool) -> None:
        """Standard health says of the service that takes batches whether it takes any."""
        if self._server is not None:
            await self._server.tell_serving(COLLECTING, serving=ready)

    def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """Judges clients by these from the next call on, and shows them what the server's files say now.

        CertificateError names a file that cannot be used; what was shown before is shown then.
        """
        self._trust.update(verifier, allowlist)
        self._tls.read_again()

    async def follow(self, config: Config) -> None:
        """Answers from the directory that is written now, and looks as far as points may be late now."""
        if self._querying is None or _settings(config) == self._settings:
            return
        self._settings = _settings(config)
        engine, self._querying.engine = self._querying.engine, _engine(self._settings)
        if engine is not None:
            await engine.stop()

    def _build(self, ingest: Ingest, registry: CollectorRegistry, health: Report, ready: Report) -> None:
        from telemetry_collector.alerts import AlertRules
        from telemetry_collector.api import grpc as api
        from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service
        from telemetry_collector.api.grpc.server import MESSAGE_BYTES_MAX

        config = self._config
        section = config.grpc
        self._rules = AlertRules(section.alert_rules_path)
        self._events = api.GrpcEvents(registry)
        calls = api.Calls(api.Peers(self._trust if section.security == "mutual" else None), self._events)
        collecting = api.Collecting(ingest, self._events, config.limits.frame_bytes_max)
        self._settings = _settings(config)
        querying = self._querying = api.Querying(_engine(self._settings), MESSAGE_BYTES_MAX)
        alerting, reporting = api.Alerting(self._rules), api.Reporting(health, ready)
        unary = calls.unary
        services = {
            COLLECTING: {
                "CollectMetrics": calls.collecting("CollectMetrics", collecting.collect),
                "StreamMetrics": calls.conversing("StreamMetrics", collecting.stream),
                "QueryMetrics": unary("QueryMetrics", service.QueryMetricsRequest, querying.query),
                "GetHealth": unary("GetHealth", service.GetHealthRequest, reporting.health),
            },
            "telemetry.v1.AlertService": {
                "ConfigureAlert": unary("ConfigureAlert", service.ConfigureAlertRequest, alerting.configure),
                "ListAlerts": unary("ListAlerts", service.ListAlertsRequest, alerting.list),
                "DeleteAlert": unary("DeleteAlert", service.DeleteAlertRequest, alerting.delete),
            },
        }
        files = None
        if section.listen_addr is not None and section.security != "off":
            files = self._tls.grpc_files(section.security)

        async def finish() -> None:
            collecting.stop()
            if querying.engine is not None:
                await querying.engine.stop()
            await calls.settled()

        self._server = api.GrpcServer(services, section.listen_addr, section.unix_socket, files, finish, self._events)


def settings_of(config: Config, root: Path) -> EngineSettings:
    """The bounds that a configuration has for questions about the dataset in `root`."""
    from telemetry_collector.query import EngineSettings

    bounds, limits = config.query, config.limits
    return EngineSettings(
        root=root,
        threads=bounds.threads,
        memory_bytes_max=bounds.memory_bytes_max,
        timeout_secs=bounds.timeout_secs,
        at_a_time=bounds.at_a_time,
        range_secs_max=bounds.range_secs_max,
        series_max=bounds.series_max,
        points_max=bounds.points_max,
        late_secs=limits.timestamp_past_secs,
        ahead_secs=limits.timestamp_future_secs,
    )


def _settings(config: Config) -> EngineSettings | None:
    """None where no Parquet files are written."""
    if "parquet" not in config.writers:
        return None
    output_dir: Path = config.writers["parquet"].output_dir  # type: ignore[attr-defined]  # found by its entry point
    return settings_of(config, output_dir.resolve())


def _engine(settings: EngineSettings | None) -> Engine | None:
    from telemetry_collector.query import Engine

    return Engine(settings) if settings is not None else None
