"""The network between nodes: this node probes its peers in turn, and answers theirs, on a thread of its own.

What comes out are the edges of a map: this node's `node_id`, the peer's, and between them how long the way takes, how
much is lost on it, and whether there is one at all.
"""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from prometheus_client import CollectorRegistry
from pydantic import AfterValidator, Field, model_validator

from telemetry_collector.agent.background import ConfiguredBackground, Main
from telemetry_collector.agent.monitors.calls import Calls, addresses
from telemetry_collector.agent.monitors.outcome import CheckFailed
from telemetry_collector.agent.sources import DIGITS, counter, gauge
from telemetry_collector.clock import Clock
from telemetry_collector.config import Address, Seconds, Section, Tls
from telemetry_collector.errors import CertificateError
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.probe import Burst, EchoEndpoint, Failure, Material, Measurement, probe
from telemetry_collector.sender import Point

log = logger(__name__)

PEERS_MAX = 128
AT_ONCE_MAX = 4
"""Peers that are probed at a time, and questions to the resolver: many at once would measure each other."""

ADDRESSES_MAX = 4
"""Addresses of a name that are tried, one after the other, until somebody answers: a node may listen on one of two."""

INTERVAL_SECS_MIN = 0.2
LISTEN_RETRY_SECS = 30.0
"""A port that is taken is tried again."""

UNREACHABLE = Event(
    "agent_peers_unreachable", "Times that a peer became unreachable", labels=("reason",), level="warning"
)
REACHABLE = Event("agent_peers_reachable", "Times that a peer became reachable again")
ECHO_DROPPED = Event(
    "agent_echo_dropped", "Probes and newcomers not answered", labels=("reason",), level="warning", every_secs=60.0
)
ECHO_REFUSED = Event("agent_echo_refused", "Peers whose certificate is not good", level="warning", every_secs=60.0)
ECHO_FAILED = Event(
    "agent_echo_failures", "Times that the answering side could not begin, or not take renewed files", level="error"
)


def _reachable(address: Address) -> Address:
    if address.port == 0:
        raise ValueError("expected a port from 1, such as node-8.example:5003")
    return address


class NetworkConfig(Section):
    """Which nodes this one probes, and where it answers."""

    listen_addr: Address | None = Field(
        None, description="where peers' probes are answered, as host:port, or null for nowhere"
    )
    peers: tuple[Annotated[Address, AfterValidator(_reachable)], ...] = Field(
        (), max_length=PEERS_MAX, description="agents that are probed, as host:port, each with a listen_addr"
    )
    interval_secs: Seconds = Field(30.0, ge=INTERVAL_SECS_MIN, description="how often each peer is probed")
    timeout_secs: float = Field(
        2.0, gt=0, le=10, description="how long a handshake may take, and the last probe's return"
    )
    probes: int = Field(10, ge=1, le=100, description="probes of one burst, 20 ms apart")

    @model_validator(mode="after")
    def _peers_are_told_once(self) -> Self:
        twice = next((peer for peer in self.peers if self.peers.count(peer) > 1), None)
        if twice is not None:
            raise ValueError(f"peers has {twice} twice; expected each once")
        return self


@dataclass(slots=True)
class Edge:
    """What is known of the way to one peer."""

    peer: str
    node: str | None = None
    """As its certificate last said."""
    last: Measurement | None = None
    sent: int = 0
    lost: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def note(self, now: Measurement) -> bool:
        """Takes a measurement; whether the peer became reachable by it or no longer is."""
        was_reachable = self.last is None or self.last.reachable
        self.last = now
        self.node = now.node or self.node
        self.sent += now.sent
        self.lost += now.sent - len(now.round_trips)
        if now.failure is not None:
            self.failures[now.failure] += 1
        return now.reachable != was_reachable

    def points(self) -> Sequence[Point]:
        """All of it; nothing before the first measurement."""
        last = self.last
        if last is None:
            return ()
        tags = {"peer": self.peer} | ({"peer_node": self.node} if self.node else {})
        points = [
            gauge("network.peer.reachable", float(last.reachable), "1", **tags),
            gauge("network.peer.loss", round(last.loss, DIGITS), "1", **tags),
            counter("network.peer.probes", self.sent, "{probe}", **tags),
            counter("network.peer.lost", self.lost, "{probe}", **tags),
        ]
        if last.round_trips:
            of = (("min", last.quantile(0.0)), ("mean", last.mean), ("p95", last.quantile(0.95)))
            points += (gauge("network.peer.rtt", round(secs, DIGITS), "s", **tags, statistic=name) for name, secs in of)
        if last.handshake_secs is not None:
            points.append(gauge("network.peer.handshake", round(last.handshake_secs, DIGITS), "s", **tags))
        for reason, failures in self.failures.items():
            points.append(counter("network.peer.failures", failures, "{burst}", **tags, reason=reason))
        return points


class NetworkMonitor(ConfiguredBackground[NetworkConfig]):
    """Probes the peers of a configuration, and answers where it says."""

    name = "peers"

    def __init__(self, security: Tls, registry: CollectorRegistry, clock: Clock) -> None:
        super().__init__("peers", NetworkConfig())
        self._material = Material(
            security.tls_cert_path, security.tls_key_path, security.tls_ca_path, security.tls_crl_path, clock
        )
        self._events = Events(registry, log, clock)
        self._events.declare(UNREACHABLE, REACHABLE, ECHO_DROPPED, ECHO_REFUSED, ECHO_FAILED)
        self._lock = threading.Lock()
        self._edges: dict[str, Edge] = {}

    def read(self) -> Iterator[Point]:
        """The edges, as a source: see Source. Peers that were not probed yet are left out."""
        with self._lock:
            points = [point for edge in self._edges.values() for point in edge.points()]
        yield from points

    def _main(self, config: NetworkConfig) -> Main | None:
        with self._lock:
            peers = [str(peer) for peer in config.peers]
            self._edges = {peer: self._edges.get(peer) or Edge(peer) for peer in peers}
        return (lambda: self._run(config)) if config.peers or config.listen_addr is not None else None

    def finish(self) -> None:
        """Logs what was held back; for a last word when stopping."""
        self._events.finish()

    # ---- in the thread

    async def _run(self, config: NetworkConfig) -> None:
        places, names = asyncio.Semaphore(AT_ONCE_MAX), Calls(AT_ONCE_MAX, "peer-name")
        async with asyncio.TaskGroup() as group:
            if config.listen_addr is not None:
                group.create_task(self._answer(config.listen_addr))
            for place, peer in enumerate(config.peers):
                # Spread over the interval, so that neither the bursts nor their handshakes meet.
                wait = config.interval_secs * place / len(config.peers)
                group.create_task(self._probe_for_ever(peer, wait, config, places, names))

    async def _answer(self, address: Address) -> None:
        while True:
            try:
                endpoint = await EchoEndpoint.open(address.host, address.port, self._material, _Echoes(self._events))
                break
            except (OSError, CertificateError) as error:
                self._events.happened(ECHO_FAILED, listen_addr=str(address), problem=str(error))
            await asyncio.sleep(LISTEN_RETRY_SECS)
        log.info("echo_listening", listen_addr=str(address), port=endpoint.port)
        try:
            await asyncio.Event().wait()
        finally:
            endpoint.close()

    async def _probe_for_ever(
        self, peer: Address, wait: float, config: NetworkConfig, places: asyncio.Semaphore, names: Calls
    ) -> None:
        loop = asyncio.get_running_loop()
        burst = Burst(probes=config.probes, timeout_secs=config.timeout_secs)
        due = loop.time() + wait
        while True:
            await asyncio.sleep(due - loop.time())
            async with places:
                measured = await self._probe(peer, burst, names)
            self._note(str(peer), measured)
            due += max(1, math.ceil((loop.time() - due) / config.interval_secs)) * config.interval_secs

    async def _probe(self, peer: Address, burst: Burst, names: Calls) -> Measurement:
        try:
            async with asyncio.timeout(burst.timeout_secs):
                found = await addresses(names, peer.host, peer.port)
        except TimeoutError:
            return Measurement(failure=Failure.NAME, detail=f"no address within {burst.timeout_secs:g} s")
        except CheckFailed as failed:
            return Measurement(failure=Failure.NAME, detail=failed.detail)
        measured = Measurement(failure=Failure.NAME, detail="no address")
        for family, host in found[:ADDRESSES_MAX]:
            try:
                measured = await probe(family, host, peer.port, self._material, burst)
            except Exception as error:  # noqa: BLE001  # a mistake with one peer is no other's concern
                return Measurement(failure=Failure.FAULT, detail=f"{type(error).__name__}: {error}")
            if measured.failure not in (Failure.UNREACHABLE, Failure.TIMEOUT):
                break
        return measured

    def _note(self, peer: str, now: Measurement) -> None:
        with self._lock:
            edge = self._edges.get(peer)
            if edge is None:
                return  # taken down meanwhile
            changed = edge.note(now)
        if not changed:
            return
        if now.reachable:
            self._events.happened(REACHABLE, peer=peer, peer_node=edge.node)
        else:
            self._events.happened(
                UNREACHABLE, peer=peer, peer_node=edge.node, reason=str(now.failure), problem=now.detail
            )


class _Echoes:
    """What happens to the answering side, counted and told."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def dropped(self, reason: str) -> None:
        """See EchoEvents."""
        self._events.happened(ECHO_DROPPED, reason=reason)

    def refused(self, peer: str, problem: str) -> None:
        """See EchoEvents."""
        self._events.happened(ECHO_REFUSED, peer=peer, problem=problem)

    def material_failed(self, problem: str) -> None:
        """See EchoEvents."""
        self._events.happened(ECHO_FAILED, problem=problem)
