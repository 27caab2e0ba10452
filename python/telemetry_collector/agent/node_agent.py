"""One agent: sources, schedule and heartbeat on one side, the sender on the other."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from telemetry_collector import __version__
from telemetry_collector.agent.config import NodeAgentConfig
from telemetry_collector.agent.door import Door, DoorSettings
from telemetry_collector.agent.gathering import Gathering
from telemetry_collector.agent.identity import identity_of
from telemetry_collector.agent.monitors import MonitorThread
from telemetry_collector.agent.peers import NetworkMonitor
from telemetry_collector.agent.revocation import judge_of
from telemetry_collector.agent.sampler import Sampler
from telemetry_collector.agent.schedule import Schedule
from telemetry_collector.agent.self_metrics import AgentCost, door_points, sender_points
from telemetry_collector.agent.shedding import Shedding
from telemetry_collector.agent.sources import Source
from telemetry_collector.agent.sources.cpu import CpuSource, CpuUsage
from telemetry_collector.agent.sources.disk import DiskSource
from telemetry_collector.agent.sources.gpu import GpuSource
from telemetry_collector.agent.sources.host import HostSource
from telemetry_collector.agent.sources.memory import MemorySource, memory_usage
from telemetry_collector.agent.sources.network import NetworkSource
from telemetry_collector.agent.sources.processes import ProcessesSource
from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.config import Tls
from telemetry_collector.errors import EncodeError, JournalError, TelemetryCollectorError
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.sender import (
    DeliverySettings,
    Heartbeat,
    OutboxSettings,
    Point,
    Sender,
    SenderStats,
    SpoolSettings,
    TimedPoints,
    TransportSettings,
    batch_of_readings,
    events,
)
from telemetry_collector.sender.points import Tags
from telemetry_collector.sender.report import SenderReport

log = logger(__name__)

READ_TIMEOUT_SECS_MAX = 5.0

UNENCODABLE = Event(
    "agent_points_unencodable", "Points that were read and cannot be sent", level="error", every_secs=60.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStats:
    """What an agent did so far."""

    node: str
    samples: int
    """Moments at which the sources were read."""
    samples_missed: int
    """Moments that passed unread because the agent was late."""
    source_failures: Mapping[str, int]
    sampling_rates: Mapping[str, float]
    """The share of the points that is kept, by pattern."""
    sender: SenderStats


class NodeAgent:
    """Reads this machine's metrics and sends them. `start` and `stop` are called on one event loop."""

    def __init__(
        self,
        config: NodeAgentConfig,
        security: Tls,
        registry: CollectorRegistry,
        *,
        clock: Clock | None = None,
        sources: Sequence[Source] | None = None,
    ) -> None:
        """`sources` takes the place of those that the configuration names.

        Raises CertificateError when the agent's certificate or revocation list cannot be used, or it names no node.
        """
        self._config = config
        self._clock = clock or SystemClock()
        self.node = config.node_id or identity_of(security.tls_cert_path).node
        self._tags = _tags(config, self.node)
        self._gpu = GpuSource()
        self._sources = _sources(config, self._clock, self._gpu) if sources is None else list(sources)
        self._registry = registry
        self._monitors = MonitorThread(registry, self._clock)
        self._peers = NetworkMonitor(security, registry, self._clock)
        self._shedding = Shedding(config, self.node, registry, self._clock)
        self._report = SenderReport(registry, self._clock)
        self._events = Events(registry, log, self._clock)
        self._events.declare(UNENCODABLE)
        self._sender = Sender(
            _transport(config, security, self._clock),
            delivery=DeliverySettings(
                form=config.form, compression=config.compression, backlog_share=config.backlog_share
            ),
            outbox=OutboxSettings(points_max=config.outbox_points_max, bytes_max=config.outbox_bytes_max),
            spool=_spool(config, security),
            on_event=self._happened,
        )
        self._report.watch(lambda: self._sender.stats)
        self._door = _door(config, self.node, self._sender, registry, self._clock)
        self._sampler: Sampler | None = None
        self._schedule: Schedule | None = None
        self._gathering = _gathering(config)
        self._cost = AgentCost()
        self._samples = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    @property
    def stats(self) -> AgentStats:
        """The counters as they stand now."""
        return AgentStats(
            node=self.node,
            samples=self._samples,
            samples_missed=self._schedule.missed if self._schedule else 0,
            source_failures=dict(self._sampler.failures) if self._sampler else {},
            sampling_rates=self._shedding.rates,
            sender=self._sender.stats,
        )

    async def start(self) -> None:
        """Begins to read and to send; does not wait for a collector.

        TelemetryCollectorError when the spool or the socket cannot be opened.
        """
        sources = [*self._sources, *self._watched(self._config)]
        self._sampler = Sampler(sources, self._registry, self._clock, timeout_secs=_timeout_secs(self._config))
        try:
            await self._sender.start()
        except JournalError as error:
            raise TelemetryCollectorError(
                f"agent.spool_dir = {self._config.spool_dir}: {error}; expected a directory that this user may write "
                "and no other agent uses, or null to keep batches in memory"
            ) from error
        self._monitors.start(self._config.monitors)
        self._peers.start(self._config.network)
        if self._door is not None:
            await self._door.start()
        self._start_reading(self._sampler)
        log.info(
            "agent_started",
            node=self.node,
            collectors=[str(address) for address in self._config.collectors],
            interval_secs=self._config.interval_secs,
        )

    async def reconfigure(self, config: NodeAgentConfig) -> None:
        """Reads what this says, as often and under the tags that it says. How it is sent, and of which node, stays."""
        assert self._sampler is not None, "the agent is started"
        gpu = GpuSource()
        sources = [*_sources(config, self._clock, gpu), *self._watched(config)]
        await self._stop_reading()
        await self._monitors.stop_unless(config.monitors)
        await self._peers.stop_unless(config.network)
        if self._stopped:
            # Stopped meanwhile: nothing is to be begun again.
            return
        self._config, self._tags, self._gpu = config, _tags(config, self.node), gpu
        if self._door is not None:
            self._door.tags = _service_tags(config, self.node)
        self._monitors.start(config.monitors)
        self._peers.start(config.network)
        self._shedding.exchange(config)
        self._sampler.exchange(sources, timeout_secs=_timeout_secs(config))
        self._start_reading(self._sampler)

    async def wait(self) -> None:
        """Returns once the agent is stopped; raises what ended a part of it that should run for ever."""
        sending = asyncio.create_task(self._sender.wait(), name="agent-sender")
        try:
            while not (self._stopped or sending.done()):
                done, _ = await asyncio.wait((*self._tasks, sending), return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    # Reading is cancelled, and begun again, for another configuration.
                    if not task.cancelled():
                        task.result()
        finally:
            sending.cancel()

    async def stop(self) -> None:
        """Reads no more, and waits up to `drain_secs` for acknowledgements. Idempotent, and safe before `start`."""
        if self._stopped:
            return
        self._stopped = True
        if self._door is not None:
            await self._door.stop()
        await self._stop_reading()
        await asyncio.gather(self._monitors.stop(), self._peers.stop())
        try:
            await self._sender.stop(self._config.drain_secs)
        except JournalError as error:
            # Nothing is lost by it: the next start finds the spool as a crash would have left it.
            log.error("spool_not_closed", error=str(error))
        if self._sampler is not None:
            self._sampler.stop()
        self._events.finish()
        self._shedding.finish()
        self._peers.finish()
        self._report.finish()
        log.info("agent_stopped", node=self.node, points_acknowledged=self._sender.stats.points_acknowledged)

    def _happened(self, event: events.SenderEvent) -> None:
        self._report(event)
        if self._door is not None and isinstance(event, events.Dropped):
            self._door.given_up(event.sequence, sent=event.sent)

    def _start_reading(self, sampler: Sampler) -> None:
        missed = self._schedule.missed if self._schedule else 0
        self._gathering = _gathering(self._config)
        self._schedule = Schedule(self._config.interval_secs, self._clock)
        self._schedule.missed = missed
        self._tasks = [
            asyncio.create_task(self._sample_for_ever(sampler, self._schedule), name="agent-samples"),
            asyncio.create_task(self._beat_for_ever(), name="agent-heartbeats"),
        ]

    async def _stop_reading(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # Unlike waiting for each, this ends when the caller itself is cancelled.
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.result()
        if readings := self._gathering.take():
            self._offer(readings)

    async def _sample_for_ever(self, sampler: Sampler, schedule: Schedule) -> None:
        while True:
            await schedule.wait()
            timestamp = self._clock.unix_ns()
            self._shedding.begin(self._sender.stats)
            points = await sampler.sample(self._shedding)
            if "agent" in self._config.sources:
                points += self._shedding.keep("agent", self._own_points(sampler))
            self._samples += 1
            for readings in self._gathering.add(timestamp, points):
                self._offer(readings)

    def _offer(self, readings: list[TimedPoints]) -> None:
        try:
            batch = batch_of_readings(readings, common_tags=self._tags)
        except EncodeError as error:
            points = sum(len(points) for _, points in readings)
            self._events.happened(UNENCODABLE, points, problem=str(error))
        else:
            self._sender.offer(batch)

    def _watched(self, config: NodeAgentConfig) -> list[Source]:
        checks: list[Source] = [self._monitors.source] if config.monitors.checks else []
        return [*checks, self._peers] if config.network.peers else checks

    def _own_points(self, sampler: Sampler) -> list[Point]:
        # Series that are not there from the beginning come last, so that the numbers of all go on in order.
        points = [*sampler.own_points(), *self._cost.points(), *self._shedding.points()]
        points += sender_points(self._sender.stats)
        return points if self._door is None else [*points, *door_points(self._door)]

    async def _beat_for_ever(self) -> None:
        usage = CpuUsage()
        while True:
            self._sender.heartbeat(
                Heartbeat(
                    worker_id=self.node,
                    cpu_usage=usage.read(),
                    memory_usage=memory_usage(),
                    gpu_usage=self._gpu.usage,
                    timestamp_unix_ns=self._clock.unix_ns(),
                )
            )
            await self._clock.sleep(self._config.heartbeat_secs)


def _timeout_secs(config: NodeAgentConfig) -> float:
    return min(config.interval_secs / 2, READ_TIMEOUT_SECS_MAX)


def _gathering(config: NodeAgentConfig) -> Gathering:
    return Gathering(config.readings_per_batch, config.batch_points_max)


def _tags(config: NodeAgentConfig, node: str) -> Tags:
    standard = {
        "node_id": node,
        "region": config.region,
        "zone": config.zone,
        "service": config.service,
        "version": config.version or __version__,
    }
    return (*((key, value) for key, value in standard.items() if value is not None), *config.tags.items())


def _service_tags(config: NodeAgentConfig, node: str) -> Tags:
    """What points of services get: where they were measured, not what the agent is."""
    return tuple((key, value) for key, value in _tags(config, node) if key not in ("service", "version"))


def _door(config: NodeAgentConfig, node: str, sender: Sender, registry: CollectorRegistry, clock: Clock) -> Door | None:
    if config.socket is None:
        return None
    settings = DoorSettings(
        path=config.socket,
        mode=int(config.socket_mode, 8),
        group=config.socket_group,
        clients_max=config.socket_clients_max,
        points_max=config.batch_points_max,
    )
    door = Door(settings, node, sender, registry, clock)
    door.tags = _service_tags(config, node)
    return door


def _sources(config: NodeAgentConfig, clock: Clock, gpu: GpuSource) -> list[Source]:
    made: dict[str, Callable[[], Source]] = {
        "cpu": lambda: CpuSource(per_cpu=config.per_cpu),
        "memory": MemorySource,
        "disk": lambda: DiskSource(exclude=config.disk_exclude),
        "network": lambda: NetworkSource(exclude=config.network_exclude),
        "host": lambda: HostSource(clock),
        "gpu": lambda: gpu,
    }
    sources = [make() for name, make in made.items() if name in config.sources]
    if config.processes_top:
        sources.append(ProcessesSource(config.processes_top, clock))
    return sources


def _spool(config: NodeAgentConfig, security: Tls) -> SpoolSettings | None:
    if config.spool_dir is None:
        return None
    identity = identity_of(security.tls_cert_path)
    return SpoolSettings(
        directory=config.spool_dir,
        bytes_max=config.spool_bytes_max,
        memory_bytes_max=config.outbox_bytes_max,
        identity=identity.name,
        node=identity.node,
    )


def _transport(config: NodeAgentConfig, security: Tls, clock: Clock) -> TransportSettings:
    crl_path = security.tls_crl_path
    return TransportSettings(
        endpoints=config.collectors,
        cert_path=security.tls_cert_path,
        key_path=security.tls_key_path,
        ca_path=security.tls_ca_path,
        judge=judge_of(security.tls_ca_path, crl_path, clock) if crl_path is not None else None,
        server_name=config.server_name,
        transport=config.transport,
        max_datagram_size=config.max_datagram_size,
    )
