"""The collector, composed: who is whose consumer, and in which order they start and stop.

    QuicListener, receivers, gRPC ─► pipeline.Ingest (core: decode, admit, journal) ─► FanOut ─► writers
                   │                MetricsEndpoint: /metrics /health /ready
                   └─► TelemetryManager ─► ApiEndpoint: /workers /telemetry

Starting goes from the end to the front, so that nothing is received before it can be kept; stopping goes the other way,
so that nothing received is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, final

from prometheus_client import CollectorRegistry

from telemetry_collector import __version__, _core
from telemetry_collector.api.endpoint import ApiEndpoint
from telemetry_collector.api.workers import TelemetryManager
from telemetry_collector.app import service
from telemetry_collector.app.answering import Answering
from telemetry_collector.app.damage import Damage
from telemetry_collector.app.destinations import Destinations
from telemetry_collector.app.listening import Listener, listener_of, listener_settings
from telemetry_collector.app.maintenance import tend
from telemetry_collector.app.readiness import POINTS, JournalInUse, Readiness
from telemetry_collector.app.receiving import Receiving
from telemetry_collector.app.refusals import Refusals
from telemetry_collector.app.reload import Reloader
from telemetry_collector.app.signals import Signals
from telemetry_collector.app.trust import Validity, read_trust
from telemetry_collector.clock import SystemClock
from telemetry_collector.config import WRITERS, Config, DiscoveredSections, Quota, Quotas, load
from telemetry_collector.config.collector import SECTIONS
from telemetry_collector.errors import AddressError, JournalError
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.requests import RequestConsumer, RequestEvents
from telemetry_collector.observe import logs
from telemetry_collector.observe.endpoint import MetricsEndpoint
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.observe.reloads import ReloadEvents
from telemetry_collector.pipeline.consumer import Consumer
from telemetry_collector.pipeline.fanout import FanOut
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.pipeline.metrics import ConsumerMetrics, CoreMetrics
from telemetry_collector.pipeline.room import JournalRoom

log = logs.logger(__name__)

WORKERS_FILE = "workers.json"
# How often the core expires idle series, writes checkpoints and deletes what every writer has passed.
CORE_MAINTENANCE_SECS = 1.0
# The share of the shutdown's time that the listener may use to send the replies due; the writers get the rest.
LISTENER_STOP_SHARE = 0.3
# And the share after which the writers are cut short: the rest is for the checkpoint.
WRITERS_STOP_SHARE = 0.8

LIVE = (
    *("server.max_connections", "server.max_connections_per_identity"),
    *("server.connection_timeout_secs", "server.shutdown_timeout_secs"),
    *("security", "limits", "quotas"),
    *("observability.log_level", "observability.log_format"),
)
"""Keys, and sections of keys, that take effect while it runs, as the writers' sections do. `apply` sees to each."""


@final
class Collector:
    """The service: everything between the socket and the destinations, for one configuration."""

    def __init__(self, config: Config, disk: _core.FaultDisk | None = None) -> None:
        """`disk` takes the place of the journal's directory."""
        self._config = config
        self._disk = disk
        self._clock = SystemClock()
        self._began = time.monotonic()
        self._stack = contextlib.AsyncExitStack()
        self._ready = False
        self._readiness: Readiness | None = None
        self._stopping = False
        self._registry = new_registry(__version__)
        self._validity = Validity(self._registry, self._clock)
        self._core: _core.Ingest | None = None
        self._destinations: Destinations | None = None
        self._signals: Signals | None = None
        self._room: JournalRoom | None = None
        self._listener: Listener | None = None
        self._receiving: Receiving | None = None
        self._answering: Answering | None = None
        self._workers: TelemetryManager | None = None
        self.api: ApiEndpoint | None = None
        """The API, where there is one."""
        # From now on a file that changes is noticed: before any is read.
        self._reloader = Reloader(self, ReloadEvents(self._registry, self._clock), self._clock)
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
            verifier, allowlist = read_trust(config.security)
            self._validity.look(config.security)

            core = self._core = await asyncio.to_thread(_open_journal, config, self._disk)
            self._stack.push_async_callback(asyncio.to_thread, core.close)
            _log_recovery(core)
            damage = Damage(core, "points")
            core.set_quotas(_quotas(config.quotas))
            self._registry.register(CoreMetrics(core.stats, core.quota_offenders, self._clock))

            room = self._room = JournalRoom(
                core.stats,
                lambda: _free_bytes(config.journal.dir),
                config.journal.max_age_secs,
                self._clock,
                segment_bytes=config.journal.segment_bytes,
            )
            self._registry.register(room)
            self._destinations = Destinations(config.writers, core, self._registry, self._clock, room)
            fanout = self._destinations.fanout
            self._registry.register(ConsumerMetrics(lambda: self._consumers))
            ingest = Ingest(core, fanout.committed)
            ingest.start()
            self._stack.callback(ingest.stop)
            await fanout.start()
            signals = self._signals = Signals(config, core, self._destinations, self._registry, self._clock)
            self._stack.push_async_callback(signals.close)
            await signals.start()

            await self.endpoint.start()
            self._stack.push_async_callback(self.endpoint.stop)
            await self._start_api(core)
            self._listener = listener_of(config, core, ingest, verifier, allowlist, ListenerEvents(self._registry))
            await self._listener.start()
            consumers: dict[str, RequestConsumer] = {"metrics": ingest, **signals.consumers}
            self._receiving = Receiving(config, consumers, verifier, allowlist, RequestEvents(self._registry))
            await self._receiving.start()
            self._answering = Answering(config, ingest, verifier, allowlist, self._registry, self.health, self.ready)
            await self._answering.start()
            journals = {POINTS: JournalInUse(core.refusal, config.journal.dir, "journal.max_bytes"), **signals.journals}
            readiness = self._readiness = Readiness(journals, self._answering.tell_ready, self._clock)
            await readiness.look()
            refusals = Refusals(core, self._clock)
            self._stack.callback(refusals.finish)
            for name, work in {
                "core": self._maintain(core, fanout, room, refusals, damage, signals),
                "reload": self._reloader.watch(),
                "readiness": readiness.watch(),
            }.items():
                self._stack.push_async_callback(service.cancel, asyncio.create_task(work, name=f"{name} maintenance"))
        except BaseException:
            await self.stop()
            raise
        self._ready = True

    async def reload(self) -> None:
        """Reads configuration and certificates again, now rather than when the change is noticed."""
        if self._ready:
            await self._reloader.reload()

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._config

    def load(self, *, check_files: bool) -> Config:
        """What the document says now. ConfigError has all of its mistakes."""
        return load(self._config.origin, DiscoveredSections(WRITERS), check_files=check_files)

    def is_live(self, key: str) -> bool:
        """Whether a change of this key takes effect while it runs: a writer's does, and those in LIVE."""
        section = key.partition(".")[0]
        return key in LIVE or section in LIVE or section not in SECTIONS

    async def apply(self, new: Config, restart_needed: Collection[str]) -> None:
        """Brings a configuration into force but for the keys that need a restart; see `reload.Service`.

        Whom is let in comes first, for a revocation is to act at once; writers last, for they take their time.
        """
        assert self._listener is not None, "the collector is started"
        assert self._core is not None, "the collector is started"
        assert self._destinations is not None, "the collector is started"
        new = new.keeping(restart_needed, self._config)
        verifier, allowlist = await asyncio.to_thread(read_trust, new.security)
        self._validity.look(new.security)
        await self._listener.reconfigure(listener_settings(new), verifier, allowlist)
        if self._receiving is not None:
            self._receiving.update_trust(verifier, allowlist)
        if self._answering is not None:
            self._answering.update_trust(verifier, allowlist)
        self._core.set_policy(_ingest_settings(new))
        if new.quotas != self._config.quotas:
            self._core.set_quotas(_quotas(new.quotas))
        if new.observability != self._config.observability:
            logs.configure(new.observability.log_level, new.observability.log_format)
        try:
            await self._destinations.change(new.writers)
        finally:
            self._config = replace(new, writers=dict(self._destinations.sections))
            if self._answering is not None:
                await self._answering.follow(self._config)

    async def read_trust(self) -> None:
        """Reads authorities and revocation lists again. CertificateError names a file that cannot be used; where it is
        none of these, they act all the same."""
        assert self._listener is not None, "the collector is started"
        verifier, allowlist = await asyncio.to_thread(read_trust, self._config.security)
        await self._listener.update_trust(verifier, allowlist)
        if self._receiving is not None:
            self._receiving.update_trust(verifier, allowlist)
        if self._answering is not None:
            self._answering.update_trust(verifier, allowlist)
        # Last, for its own certificate may be what is wrong, and a revocation acts all the same.
        self._validity.look(self._config.security)

    async def stop(self) -> None:
        """Stops accepting, answers and commits what is in flight, lets the writers finish, closes everything.

        Idempotent, and safe before or during `start`. Takes `server.shutdown_timeout_secs` at most, whatever becomes of
        destinations: what they have not taken stays in the journal.
        """
        self._ready = False
        self._stopping = True
        timeout_secs = self._config.server.shutdown_timeout_secs
        deadline = time.monotonic() + WRITERS_STOP_SHARE * timeout_secs
        doors = [door for door in (self._answering, self._receiving) if door is not None]
        await asyncio.gather(*(door.stop(LISTENER_STOP_SHARE * timeout_secs) for door in doors))
        if self._listener is not None:
            await self._listener.stop(LISTENER_STOP_SHARE * timeout_secs)
        if self._workers is not None:
            # What the last heartbeats said is for the writers, too.
            await self._workers.shutdown()
        # It may be about to exchange a writer: the new one is to write what is committed, too.
        await self._reloader.stop(max(deadline - time.monotonic(), 0.1) / 2)
        if self._core is not None and self._destinations is not None:
            await asyncio.to_thread(self._core.drain, max(deadline - time.monotonic(), 0.1))
            left_secs = max(deadline - time.monotonic(), 0.1)
            stopping = [self._destinations.fanout.stop(left_secs)]
            if self._signals is not None:
                stopping.append(self._signals.stop(left_secs))
            late = [name for names in await asyncio.gather(*stopping) for name in names]
            if late:
                log.warning("writers_stopped_early", writers=late, note="the journal keeps what they have not written")
        await self._stack.aclose()

    @property
    def metrics(self) -> CollectorRegistry:
        """What /metrics shows."""
        return self._registry

    @property
    def listen_addr(self) -> str:
        """Where agents connect, with the port that the system chose."""
        assert self._listener is not None, "the collector is started"
        return str(self._listener.address)

    @property
    def receivers(self) -> Mapping[str, str]:
        """Where other protocols are taken, by receiver, with the ports that the system chose."""
        addresses = self._receiving.addresses if self._receiving is not None else {}
        return {name: str(address) for name, address in addresses.items()}

    @property
    def grpc_addr(self) -> str | None:
        """Where the gRPC service listens, with the port that the system chose; None where it has no address."""
        address = self._answering.address if self._answering is not None else None
        return str(address) if address is not None else None

    def health(self) -> Mapping[str, Any]:
        """Whether the process does its work, and the counts that a person asks for first."""
        room = self._room.report() if self._room is not None else {}
        return {"ok": not self._stopping, "version": __version__, **self.summary(), "journal": room}

    def ready(self) -> Mapping[str, Any]:
        """Whether agents should be sent here."""
        failing = {consumer.name: consumer.failing for consumer in self._consumers if consumer.failing}
        taking = self._readiness is None or self._readiness.ok
        refused = self._readiness.report() if self._readiness is not None else {}
        return {"ok": self._ready and taking, "refused": refused, "failing_writers": failing}

    def summary(self) -> dict[str, Any]:
        """What was done since the start."""
        stats = self._core.stats() if self._core is not None else {}
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "connections": self._listener.connections if self._listener is not None else 0,
            "batches_received": stats.get("batches_received", 0),
            "points_received": stats.get("points_received", 0),
            "points_accepted": stats.get("points_accepted", 0),
            "points_committed": stats.get("points_committed", 0),
            "worker_points": stats.get("worker_points_committed", 0),
            "points_refused": sum(stats.get("points_refused", {}).values()),
            "points_by_requests": sum(door.points_accepted for door in (self._receiving, self._answering) if door),
            "series": stats.get("series", 0),
            "signals": self._signals.summary() if self._signals is not None else {},
            "writers": {
                consumer.name: {
                    "points_written": consumer.points_written,
                    "points_refused": consumer.points_refused,
                    "lag_points": consumer.lag_points,
                    "failing": consumer.failing,
                }
                for consumer in self._of_points
            },
        }

    @property
    def _of_points(self) -> tuple[Consumer, ...]:
        return self._destinations.fanout.consumers if self._destinations is not None else ()

    @property
    def _consumers(self) -> tuple[Consumer, ...]:
        return self._of_points + (self._signals.writers if self._signals is not None else ())

    async def _start_api(self, core: _core.Ingest) -> None:
        config = self._config
        workers = self._workers = TelemetryManager(
            config.journal.dir / WORKERS_FILE,
            hand_on=core.hand_on_heartbeats,
            store=core.store_workers,
            registry=self._registry,
            clock=self._clock,
            workers_max=config.api.workers_max,
            forget_secs=config.api.worker_forget_secs,
        )
        await workers.start()
        self._stack.push_async_callback(workers.shutdown)
        if config.api.http_port is None:
            return
        api = ApiEndpoint(config.api.http_addr, config.api.http_port, workers, self._registry, version=__version__)
        try:
            await api.start()
        except AddressError as error:
            # Agents' data do not wait for those who ask about them.
            log.warning("api_not_started", error=str(error), note="everything else goes on")
            return
        self.api = api
        self._stack.push_async_callback(api.stop)

    async def _maintain(
        self,
        core: _core.Ingest,
        fanout: FanOut,
        room: JournalRoom,
        refusals: Refusals,
        damage: Damage,
        signals: Signals,
    ) -> None:
        async def look_at_counters() -> None:
            refusals.look()
            damage.look()

        while True:
            await tend(
                (
                    # A cursor's age may have to wait for who reads it, so it is not asked for on the loop.
                    lambda: asyncio.to_thread(room.look, fanout),
                    lambda: fanout.make_room(core.room_wanted),
                    lambda: asyncio.to_thread(core.maintain, self._clock.unix_secs()),
                    signals.maintain,
                    look_at_counters,
                )
            )
            await asyncio.sleep(CORE_MAINTENANCE_SECS)


def _open_journal(config: Config, disk: _core.FaultDisk | None) -> _core.Ingest:
    try:
        return _core.Ingest(_ingest_settings(config), disk)
    except JournalError as error:
        raise JournalError(
            f"journal.dir = {config.journal.dir}: {error}; expected a directory on a local disk, which this user may "
            "write and no other collector uses"
        ) from error


def _free_bytes(directory: os.PathLike[str]) -> int:
    """What the directory's file system has left for users like us."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


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


def _log_recovery(core: _core.Ingest) -> None:
    found = core.recovery
    level = log.warning if found["quarantined"] or found["undecodable"] else log.info
    level("journal_opened", journal_id=core.journal_id, committed=core.committed, **found)
