"""The collector, composed: who is whose consumer, and in which order they start and stop.

    QuicListener ─► pipeline.Ingest (core: decode, admit, journal) ─► FanOut ─► writers
                                    MetricsEndpoint: /metrics /health /ready

Starting goes from the end to the front, so that nothing is received before it can be kept; stopping goes the other way,
so that nothing received is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any, final

import uvloop

from telemetry_collector import __version__, _core
from telemetry_collector.app import service
from telemetry_collector.app.refusals import Refusals
from telemetry_collector.app.trust import TrustFiles
from telemetry_collector.clock import SystemClock
from telemetry_collector.component import WriterContext
from telemetry_collector.config import WRITERS, Config, Quota, Quotas
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import Deadlines, QuicListener, QuicListenerSettings
from telemetry_collector.observe import logs
from telemetry_collector.observe.endpoint import MetricsEndpoint
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.observe.systemd import ServiceManager
from telemetry_collector.observe.writer_events import WriterMetrics
from telemetry_collector.pipeline.fanout import Consumer, FanOut
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.pipeline.metrics import ConsumerMetrics, CoreMetrics, FanOutMetrics

log = logs.logger(__name__)

# How often the core expires idle series, writes checkpoints and deletes what every writer has passed.
CORE_MAINTENANCE_SECS = 1.0
# The share of the shutdown's time that the listener may use to send the replies due; the writers get the rest.
LISTENER_STOP_SHARE = 0.3


@final
class Collector:
    """The service: everything between the socket and the destinations, for one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clock = SystemClock()
        self._began = time.monotonic()
        self._stack = contextlib.AsyncExitStack()
        self._ready = False
        self._stopping = False
        self._registry = new_registry(__version__)
        self._core: _core.Ingest | None = None
        self._fanout: FanOut | None = None
        self._listener: QuicListener | None = None
        self._trust = TrustFiles(config.security)
        watched = config.observability
        self.endpoint = MetricsEndpoint(
            watched.metrics_addr, watched.metrics_port, self._registry, self.health, self.ready
        )

    async def start(self) -> None:
        """Opens journal, destinations, endpoint and listener. A TelemetryCollectorError or JournalError says what is
        wrong; nothing is left open then."""
        config = self._config
        try:
            # Trust first: without certificates nothing else is worth starting.
            verifier, allowlist = self._trust.load()
            self._trust.check_own(datetime.fromtimestamp(self._clock.unix_secs(), UTC))

            core = self._core = await asyncio.to_thread(_core.Ingest, _ingest_settings(config))
            self._stack.push_async_callback(asyncio.to_thread, core.close)
            _log_recovery(core)
            core.set_quotas(_quotas(config.quotas))
            self._registry.register(CoreMetrics(core.stats, core.quota_offenders, self._clock))

            fanout = self._fanout = FanOut(_consumers(config, core, self._registry, self._clock))
            self._registry.register(ConsumerMetrics(fanout))
            ingest = Ingest(core, fanout.committed)
            ingest.start()
            self._stack.callback(ingest.stop)
            await fanout.start()

            await self.endpoint.start()
            self._stack.push_async_callback(self.endpoint.stop)
            self._listener = QuicListener(
                _listener_settings(config), ingest, verifier, allowlist, ListenerEvents(self._registry)
            )
            await self._listener.start()
            refusals = Refusals(core, self._clock)
            self._stack.callback(refusals.finish)
            for name, work in {
                "core": self._maintain(core, refusals),
                "trust": self._trust.watch(self._listener),
            }.items():
                self._stack.push_async_callback(_cancel, asyncio.create_task(work, name=f"{name} maintenance"))
        except BaseException:
            await self.stop()
            raise
        self._ready = True

    async def reload(self) -> None:
        """Reads authorities and revocation lists again, now rather than when the change is noticed."""
        if self._listener is not None:
            await self._trust.reload(self._listener)

    async def stop(self) -> None:
        """Stops accepting, answers and commits what is in flight, lets the writers finish, closes everything.

        Idempotent, and safe before or during `start`. Takes about `server.shutdown_timeout_secs` at most.
        """
        self._ready = False
        self._stopping = True
        deadline = time.monotonic() + self._config.server.shutdown_timeout_secs
        if self._listener is not None:
            await self._listener.stop(LISTENER_STOP_SHARE * self._config.server.shutdown_timeout_secs)
        if self._core is not None and self._fanout is not None:
            await asyncio.to_thread(self._core.drain, max(deadline - time.monotonic(), 0.1))
            late = await self._fanout.stop(max(deadline - time.monotonic(), 0.1))
            if late:
                log.warning("writers_stopped_early", writers=late, note="the journal keeps what they have not written")
        await self._stack.aclose()

    @property
    def listen_addr(self) -> str:
        """Where agents connect, with the port that the system chose."""
        assert self._listener is not None, "the collector is started"
        return str(self._listener.address)

    def health(self) -> Mapping[str, Any]:
        """Whether the process does its work, and the counts that a person asks for first."""
        return {"ok": not self._stopping, "version": __version__, **self.summary()}

    def ready(self) -> Mapping[str, Any]:
        """Whether agents should be sent here."""
        failing = {c.name: c.failing for c in self._fanout.consumers if c.failing} if self._fanout else {}
        return {"ok": self._ready, "failing_writers": failing}

    def summary(self) -> dict[str, Any]:
        """What was done since the start."""
        stats = self._core.stats() if self._core is not None else {}
        consumers = self._fanout.consumers if self._fanout is not None else ()
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "connections": self._listener.connections if self._listener is not None else 0,
            "batches_received": stats.get("batches_received", 0),
            "points_received": stats.get("points_received", 0),
            "points_accepted": stats.get("points_accepted", 0),
            "points_committed": stats.get("points_committed", 0),
            "points_refused": sum(stats.get("points_refused", {}).values()),
            "series": stats.get("series", 0),
            "writers": {
                consumer.name: {
                    "points_written": consumer.points_written,
                    "points_refused": consumer.points_refused,
                    "lag_points": consumer.lag_points,
                    "failing": consumer.failing,
                }
                for consumer in consumers
            },
        }

    async def _maintain(self, core: _core.Ingest, refusals: Refusals) -> None:
        while True:
            await asyncio.sleep(CORE_MAINTENANCE_SECS)
            try:
                await asyncio.to_thread(core.maintain, self._clock.unix_secs())
            except _core.JournalError as error:
                # Nothing is lost: the journal keeps more than it needs to, and the next round tries again.
                log.error("journal_maintenance_failed", error=str(error))
            refusals.look()


def _ingest_settings(config: Config) -> _core.IngestSettings:
    limits = config.limits
    return _core.IngestSettings(
        journal_dir=str(config.journal.dir),
        journal_segment_bytes=config.journal.segment_bytes,
        journal_bytes_max=config.journal.max_bytes,
        recent_bytes_max=config.journal.recent_bytes_max,
        max_cardinality=limits.max_cardinality,
        series_idle_secs=limits.series_idle_secs,
        max_batch_size=limits.max_batch_size,
        frame_bytes_max=limits.frame_bytes_max,
        inflated_bytes_max=limits.inflated_bytes_max,
        backpressure_threshold=limits.backpressure_threshold,
        inflight_bytes_max=limits.inflight_bytes_max,
        timestamp_past_secs=limits.timestamp_past_secs,
        timestamp_future_secs=limits.timestamp_future_secs,
        bind_node_id=config.security.bind_node_id,
    )


def _quotas(config: Quotas) -> _core.Quotas:
    return _core.Quotas(
        default=_quota(config.default),
        overrides=[(one.identities, _quota(one)) for one in config.overrides],
    )


def _quota(config: Quota) -> _core.Quota:
    return _core.Quota(
        batches_per_sec=config.batches_per_sec,
        points_per_sec=config.points_per_sec,
        bytes_per_sec=config.bytes_per_sec,
        series=config.series,
    )


def _listener_settings(config: Config) -> QuicListenerSettings:
    return QuicListenerSettings(
        address=config.server.listen_addr,
        tls_cert_path=config.security.tls_cert_path,
        tls_key_path=config.security.tls_key_path,
        connections_max=config.server.max_connections,
        handshakes_per_address=config.server.handshakes_per_address,
        connections_per_address_per_sec=config.server.connections_per_address_per_sec,
        deadlines=Deadlines(idle=config.server.connection_timeout_secs),
    )


def _consumers(config: Config, core: _core.Ingest, registry: Any, clock: SystemClock) -> list[Consumer]:
    """One consumer a writer section, in the order of the document."""
    metrics = WriterMetrics(registry)
    events = FanOutMetrics(registry, clock)
    classes = {point.name: point for point in entry_points(group=WRITERS)}
    consumers = []
    for name, section in config.writers.items():
        reported = metrics.writer(name)
        writer = classes[name].load()(section, WriterContext(name=name, journal_id=core.journal_id, events=reported))
        consumers.append(Consumer(name, writer, core.cursor(name), events, reported))
    if not consumers:
        log.warning("no_writers", note="batches are journalled and acknowledged, and nothing reads them; add a writer")
    return consumers


def _log_recovery(core: _core.Ingest) -> None:
    found = core.recovery
    level = log.warning if found["quarantined"] or found["undecodable"] else log.info
    level("journal_opened", journal_id=core.journal_id, committed=core.committed, **found)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def run_collector(config: Config, *, as_json: bool = False) -> int:
    """Runs the service until SIGTERM or SIGINT; prints what was done. The process' exit code."""
    logs.configure(config.observability.log_level, config.observability.log_format)
    return uvloop.run(_serve(Collector(config), as_json=as_json))


async def _serve(collector: Collector, *, as_json: bool) -> int:
    manager = ServiceManager()
    stopping = service.stop_signals()
    try:
        await collector.start()
    except (TelemetryCollectorError, _core.CoreError) as error:
        log.error("start_failed", error=str(error))
        return 1
    # What the start left in memory stays for good. Looking through it for garbage now and again would stop the loop,
    # and every agent's answers, for some fifty milliseconds.
    gc.collect()
    gc.freeze()
    manager.ready(f"listening on {collector.listen_addr}")
    log.info("started", listen_addr=collector.listen_addr, metrics_port=collector.endpoint.port)
    reloading = asyncio.create_task(service.reload_on_signal(collector.reload), name="reload")
    await service.until(stopping, manager)
    await _cancel(reloading)
    manager.stopping("finishing what is in flight")
    await collector.stop()
    service.print_summary(collector.summary(), as_json=as_json)
    return 0
