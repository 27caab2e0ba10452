"""One measurement from start to figures: site, database, collector, load, and the reading of what was stored."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from telemetry_collector import __version__, _core
from telemetry_collector.bench.backlog import Backlog
from telemetry_collector.bench.children import CollectorChild, DatabaseChild, on_processors
from telemetry_collector.bench.destination import Destination
from telemetry_collector.bench.frames import Lane, prepare
from telemetry_collector.bench.load import Counters, Load
from telemetry_collector.bench.plan import STREAMS_MAX, Plan, PlanError, Target
from telemetry_collector.bench.reference import READING_MS, Fleet
from telemetry_collector.bench.result import AckMs, Result
from telemetry_collector.bench.sender_load import SenderLoad, transport_settings
from telemetry_collector.bench.site import Credentials, Site
from telemetry_collector.bench.verification import Verification, verify_dataset
from telemetry_collector.bench.view import BenchView
from telemetry_collector.config import Address
from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError, TelemetryCollectorError
from telemetry_collector.loopback import free_port
from telemetry_collector.security.identity import Identity
from telemetry_collector.sender import TransportSettings

LOOK_SECS: Final = 0.25
LOOK_AGAIN_SECS: Final = 1.0
WRITTEN_SECS_MAX: Final = 60.0
"""So long a collector that is not the bench's may take until what it has acknowledged is in its files."""

AtRest = Callable[[Path], None]


@dataclass(slots=True)
class Taken:
    """What the collector took and kept; None with a target, of which nothing is known."""

    cpu_secs: float | None = None
    loaded_cpu_secs: float | None = None
    """Until the last answer."""
    client_cpu_secs: float = 0.0
    """Of the load, until then."""
    resident_mb: float | None = None
    committed: int | None = None
    """Points that it says it has journalled."""
    written: int | None = None
    """Points that it says the database took."""
    database_rows: int | None = None
    """Points that the database says it took."""


@final
class Measurement:
    """What runs, and what is found."""

    def __init__(self, plan: Plan, directory: Path, view: BenchView, at_rest: AtRest | None = None) -> None:
        """`at_rest` is called with the dataset once everything is stopped, before it is read."""
        self._plan = plan
        self._directory = directory
        self._view = view
        self._stack = contextlib.AsyncExitStack()
        self._taken = Taken()
        self._at_rest = at_rest
        self._destination: Destination | None = None
        self._load_average = os.getloadavg()[0]

    async def run(self) -> Result:
        """Everything. TelemetryCollectorError when it cannot be done; whatever was started is ended."""
        async with self._stack:
            return await (self._own() if self._plan.target is None else self._remote(self._plan.target))

    # ---- a collector of its own

    async def _own(self) -> Result:
        plan, view = self._plan, self._view
        view.doing("making certificates")
        site = await asyncio.to_thread(Site, self._directory, plan)
        credentials = await asyncio.to_thread(site.credentials)
        lanes = await self._prepared([one.identity for one in credentials])
        processors = _processors(plan)
        database = None
        with on_processors(processors.load):
            if "influxdb" in plan.writers and plan.influxdb_url is None:
                database = DatabaseChild(self._directory)
                self._stack.push_async_callback(database.abort)
                await database.start()
        influxdb_url = database.url if database is not None else plan.influxdb_url
        port, metrics_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        site.configure(port, metrics_port, influxdb_url)
        collector = CollectorChild(site.document, metrics_port, site.collector_log)
        self._stack.push_async_callback(collector.abort)
        view.doing("starting the collector")
        with on_processors(processors.collector):
            await collector.start()
        self._stack.enter_context(on_processors(processors.load))

        address = Address("127.0.0.1", port)
        load = _new_load(plan, lanes, address, lambda number: _transport(address, site, credentials[number]))
        connect_secs = await self._connect(load)
        cpu_before, began = collector.cpu_secs(), time.monotonic()
        await self._under_load(load, began, collector)
        loaded_secs = time.monotonic() - began
        taken = self._taken
        taken.loaded_cpu_secs = collector.cpu_secs() - cpu_before
        taken.resident_mb = collector.memory_mb("VmHWM")
        summary, cpu_secs = await self._finished(collector)
        seconds = time.monotonic() - began
        taken.cpu_secs = cpu_secs - cpu_before
        taken.committed = summary["points_committed"]
        taken.written = summary["writers"].get("influxdb", {}).get("points_written")
        await load.close()
        if database is not None:
            taken.database_rows = await database.rows()
            await database.stop()
        if self._at_rest is not None:
            self._at_rest(site.dataset)
        found = await self._verify(site.dataset, lanes, load) if "parquet" in plan.writers else None
        return self._result(load, found, connect_secs, loaded_secs, seconds)

    # ---- somebody else's

    async def _remote(self, target: Target) -> Result:
        plan = self._plan
        if target.dataset is not None:
            self._destination = await asyncio.to_thread(Destination, target.dataset)
        identity = await asyncio.to_thread(_identity, target.certificate)
        only_node = identity.node if plan.agents == 1 else None
        lanes = await self._prepared([identity.name] * plan.connections_wanted, only_node)
        settings = transport_settings(
            target.address, target.certificate, target.key, target.authority, target.server_name
        )
        load = _new_load(plan, lanes, target.address, lambda _: settings)
        connect_secs = await self._connect(load)
        began = time.monotonic()
        await self._under_load(load, began, None)
        seconds = time.monotonic() - began
        await load.close()
        found = None
        if target.dataset is not None:
            # It goes on running, so nobody says when its writers are through.
            deadline = time.monotonic() + WRITTEN_SECS_MAX
            found = await self._verify(target.dataset, lanes, load)
            while not found.ok and time.monotonic() < deadline:
                await self._look_at_destination(load)
                await asyncio.sleep(LOOK_AGAIN_SECS)
                found = await self._verify(target.dataset, lanes, load)
        return self._result(load, found, connect_secs, seconds, seconds)

    # ---- the parts of both

    async def _prepared(self, identities: Sequence[str], only_node: str | None = None) -> list[Lane]:
        plan = self._plan
        readings = plan.batches_of_agent * plan.batch_points // plan.series + 1
        start_ms = time.time_ns() // 1_000_000 - readings * READING_MS
        fleet = Fleet(plan.agents, plan.series, plan.batch_points, start_ms, only_node)
        return await asyncio.to_thread(
            prepare,
            plan,
            fleet,
            identities,
            lambda done, of: self._view.doing("preparing batches", done, of),
            1 if _has_core_load() else STREAMS_MAX,
        )

    async def _connect(self, load: Load) -> float:
        self._stack.push_async_callback(load.close)
        self._view.doing("connecting")
        connecting = asyncio.create_task(load.connect())
        while not connecting.done():
            await asyncio.wait({connecting}, timeout=LOOK_SECS)
            self._view.doing("connecting", load.counters.connections, self._plan.connections_wanted)
        return await connecting

    async def _under_load(self, load: Load, began: float, collector: CollectorChild | None) -> None:
        # Looking for garbage among the prepared batches would stop the load, and count as latency.
        gc.collect()
        gc.freeze()
        cpu_before = time.process_time()
        running = asyncio.create_task(load.run(self._plan.seconds))
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=LOOK_SECS)
                resident_mb = collector.memory_mb() if collector is not None and collector.running else None
                self._view.progress(time.monotonic() - began, load.counters, resident_mb)
                await self._look_at_destination(load)
            await running
        finally:
            running.cancel()
            self._taken.client_cpu_secs = time.process_time() - cpu_before
            gc.unfreeze()

    async def _look_at_destination(self, load: Load) -> None:
        if self._destination is not None:
            acknowledged = load.counters.points_acknowledged
            await asyncio.to_thread(self._destination.look, acknowledged, time.monotonic())

    async def _finished(self, collector: CollectorChild) -> tuple[dict[str, Any], float]:
        """Stops the collector, telling meanwhile what its writers still have to write."""
        self._view.doing("waiting for the writers")
        finishing = asyncio.create_task(collector.finish())
        watching = asyncio.create_task(self._watch(collector))
        try:
            await asyncio.wait({finishing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not finishing.done():
                await watching
            return await finishing
        finally:
            for task in (finishing, watching):
                task.cancel()

    async def _watch(self, collector: CollectorChild) -> None:
        """TelemetryCollectorError as soon as a writer makes no progress any more."""
        backlog = Backlog(self._plan.writers)
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECS)
            page = await collector.metrics()
            if page is not None:
                backlog.read(page, time.monotonic())
            self._view.waiting(str(backlog))
            if (stalled := backlog.stalled(time.monotonic())) is not None:
                raise TelemetryCollectorError(f"{stalled}; with --keep, collector.log tells why")

    async def _verify(self, dataset: Path, lanes: Sequence[Lane], load: Load) -> Verification:
        self._view.doing("reading what was stored")
        return await asyncio.to_thread(
            verify_dataset,
            dataset,
            lanes,
            load.answers(),
            lambda done, of: self._view.doing("reading what was stored, files", done, of),
            others_rows=self._plan.target is not None,
        )

    def _result(
        self, load: Load, found: Verification | None, connect_secs: float, loaded_secs: float, seconds: float
    ) -> Result:
        plan, taken, counters = self._plan, self._taken, load.counters
        findings = [f"a connection was lost: {reason}" for reason in counters.lost]
        findings += [f"{batches} batches were refused, in whole or in part: {reason}"
                     for reason, batches in counters.refusals.items()]  # fmt: skip
        verified, stored = self._verdict(counters, found, findings)
        million = counters.points_acknowledged / 1e6
        return Result(
            points_per_s=counters.points_acknowledged / seconds,
            cpu_s_per_million=taken.cpu_secs / million if taken.cpu_secs is not None and million else None,
            wire_bytes_per_point=counters.frame_bytes_sent / counters.points_sent if counters.points_sent else None,
            stored_bytes_per_point=found.file_bytes / found.rows if found and found.rows and not plan.target else None,
            ack_ms=AckMs(load.ack_ms(0.5), load.ack_ms(0.99), load.ack_ms(0.999)),
            resident_mb=taken.resident_mb,
            acknowledged=counters.points_acknowledged,
            stored=stored,
            verified=verified,
            transport=plan.transport if plan.target is None else None,
            client=load.name,
            form=plan.form,
            compression=plan.compression,
            agents=plan.agents,
            connections=plan.connections_wanted,
            series=plan.series,
            batch_points=plan.batch_points,
            rate=plan.rate,
            writers=plan.writers if plan.target is None else None,
            seconds=seconds,
            refused=counters.points_refused,
            retried=counters.batches_retried,
            delivered_database=taken.database_rows if taken.database_rows is not None else taken.written,
            cpu_share=taken.loaded_cpu_secs / loaded_secs if taken.loaded_cpu_secs is not None else None,
            accepted_per_s=counters.points_acknowledged / loaded_secs,
            client_cpu_share=taken.client_cpu_secs / loaded_secs,
            load_average=self._load_average,
            handshakes_per_s=plan.connections_wanted / connect_secs,
            pinned=plan.pin,
            version=__version__,
            findings=findings,
            directory=str(self._directory),
        )

    def _verdict(
        self, counters: Counters, found: Verification | None, findings: list[str]
    ) -> tuple[bool | None, int | None]:
        """Whether everything is where it should be, and how much is stored."""
        plan, taken = self._plan, self._taken
        counts: dict[str, int | None] = {}
        if plan.target is None:
            counts["in the journal"] = taken.committed
            if "influxdb" in plan.writers:
                counts["handed to the database"] = taken.written
                counts["in the database"] = taken.database_rows
        told = {where: count for where, count in counts.items() if count is not None}
        for where, count in told.items():
            if count != counters.points_acknowledged:
                findings.append(f"{count:,} points {where}, {counters.points_acknowledged:,} acknowledged")
        right = all(count == counters.points_acknowledged for count in told.values())
        right = right and not counters.lost and (plan.idle or counters.points_acknowledged > 0)
        if found is not None:
            findings += found.findings
            return found.ok and right, found.rows
        if plan.target is not None:
            return None, None
        # The last that is counted is the farthest from the agent.
        return right, list(told.values())[-1]


@dataclass(frozen=True, slots=True)
class _Processors:
    collector: list[int] | None = None
    load: list[int] | None = None


def _processors(plan: Plan) -> _Processors:
    if not plan.pin:
        return _Processors()
    have = sorted(os.sched_getaffinity(0))
    if plan.collector_cpu not in have or len(have) < 2:
        raise PlanError(
            f"--collector-cpu {plan.collector_cpu}: expected one of {', '.join(map(str, have))}, and another one "
            "for the load"
        )
    return _Processors([plan.collector_cpu], [cpu for cpu in have if cpu != plan.collector_cpu])


def _has_core_load() -> bool:
    """Whether the core was built with quinn."""
    return hasattr(_core, "QuicLoad")


def _new_load(
    plan: Plan, lanes: Sequence[Lane], endpoint: Address, transport: Callable[[int], TransportSettings]
) -> Load:
    """The fastest load that there is."""
    if not _has_core_load():
        return SenderLoad(plan, lanes, endpoint, transport)
    from telemetry_collector.bench.core_load import CoreLoad

    return CoreLoad(plan, lanes, endpoint, transport)


def _transport(address: Address, site: Site, own: Credentials) -> TransportSettings:
    return transport_settings(address, own.certificate, own.key, site.authority, "localhost")


def _identity(certificate: Path) -> Identity:
    try:
        identity = Identity.of(read_certificates(certificate)[0])
    except ValueError as error:
        raise CertificateError(str(error)) from error
    if identity is None:
        raise CertificateError(f"{certificate} names no node; expected an agent's certificate")
    return identity
