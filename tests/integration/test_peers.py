"""Nodes that probe each other over real QUIC, through a network that delays and loses, and strangers that try."""

import asyncio
import os
import select
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import cast

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from prometheus_client import CollectorRegistry
from tests.support.quic_collector import QuicCollector
from tests.support.waiting import until

from telemetry_collector.agent import NodeAgent, NodeAgentConfig, peers
from telemetry_collector.agent.peers import NetworkConfig, NetworkMonitor
from telemetry_collector.clock import SystemClock
from telemetry_collector.config import Address, AgentSecurity
from telemetry_collector.errors import CertificateError
from telemetry_collector.probe import Burst, EchoEndpoint, Failure, Material, Measurement, probe
from telemetry_collector.probe.echo import (
    CONNECTIONS_PER_ADDRESS_MAX,
    HANDSHAKE_SECS_MAX,
    PROBES_MAX,
    RETRIES_PER_SEC_MAX,
)
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import Point

QUICK = Burst(probes=5, gap_secs=0.005, timeout_secs=5)
IMPATIENT = Burst(probes=5, gap_secs=0.005, timeout_secs=0.3)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    for node in ("gpu-7", "gpu-8", "gpu-9"):
        authority.issue_node(node)
    authority.revoke("gpu-9")
    other, _ = Authority.create(directory / "other")
    other.issue_node("gpu-7")
    return directory


def material(directory: Path, name: str, *, crl: bool = False) -> Material:
    paths = (directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem")
    return Material(*paths, directory / "ca.crl" if crl else None, SystemClock())


class Told:
    """What an endpoint told of."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.refusals: list[str] = []
        self.failures: list[str] = []

    def dropped(self, reason: str) -> None:
        self.drops[reason] += 1

    def refused(self, peer: str, problem: str) -> None:
        self.refusals.append(f"{peer}: {problem}")

    def material_failed(self, problem: str) -> None:
        self.failures.append(problem)


@asynccontextmanager
async def echoing(own: Material) -> AsyncIterator[tuple[EchoEndpoint, Told]]:
    told = Told()
    endpoint = await EchoEndpoint.open("127.0.0.1", 0, own, told)
    try:
        yield endpoint, told
    finally:
        endpoint.close()
        endpoint.close()


async def ask(port: int, own: Material, burst: Burst = QUICK) -> Measurement:
    return await probe(socket.AF_INET, "127.0.0.1", port, own, burst)


class Network(asyncio.DatagramProtocol):
    """Stands between one prober and an endpoint, and does with their datagrams what a test says."""

    def __init__(self, port: int, *, delay_secs: float = 0.0, loses: Callable[[bytes], bool] = lambda _: False) -> None:
        self.up = self.down = 0
        self._endpoint = ("127.0.0.1", port)
        self._prober: tuple[str, int] | None = None
        self._delay_secs = delay_secs
        self._loses = loses
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr == self._endpoint:
            self.down += len(data)
            if self._prober is not None and not self._loses(data):
                self._loop.call_later(self._delay_secs, self.transport.sendto, data, self._prober)
        else:
            self._prober = addr
            self.up += len(data)
            self._loop.call_later(self._delay_secs, self.transport.sendto, data, self._endpoint)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])


@asynccontextmanager
async def network(
    port: int, *, delay_secs: float = 0.0, loses: Callable[[bytes], bool] = lambda _: False
) -> AsyncIterator[Network]:
    between = Network(port, delay_secs=delay_secs, loses=loses)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: between, local_addr=("127.0.0.1", 0))
    try:
        yield between
    finally:
        between.transport.close()


async def test_a_peer_is_named_by_its_certificate_and_every_probe_comes_back(certificates: Path) -> None:
    async with echoing(material(certificates, "gpu-8")) as (endpoint, told):
        measured = await ask(endpoint.port, material(certificates, "gpu-7"))
        assert measured.reachable, measured
        assert (measured.node, measured.sent, measured.loss) == ("gpu-8", 5, 0.0)
        assert 0 < measured.quantile(0.0) <= measured.mean <= measured.quantile(0.95) < 1
        assert measured.handshake_secs is not None
        await until(lambda: endpoint.connections == 0)
        assert not told.drops + Counter(told.refusals)


async def test_latency_is_that_of_the_way_there_and_back(certificates: Path) -> None:
    async with (
        echoing(material(certificates, "gpu-8")) as (endpoint, _),
        network(endpoint.port, delay_secs=0.05) as between,
    ):
        measured = await ask(between.port, material(certificates, "gpu-7"))
    assert measured.loss == 0
    assert 0.1 <= measured.quantile(0.0) < 2


async def test_what_gets_lost_is_told_and_is_no_reason_to_call_a_peer_unreachable(certificates: Path) -> None:
    random = Random(7)

    def loses(data: bytes) -> bool:
        return not data[0] & 0x80 and random.random() < 0.5

    burst = Burst(probes=20, gap_secs=0.005, timeout_secs=0.5)
    async with (
        echoing(material(certificates, "gpu-8")) as (endpoint, _),
        network(endpoint.port, loses=loses) as between,
    ):
        measured = await ask(between.port, material(certificates, "gpu-7"), burst)
    assert measured.reachable
    assert measured.sent == 20
    assert 0.1 <= measured.loss <= 0.9


async def test_an_answer_that_gets_lost_in_the_handshake_costs_no_second_place(certificates: Path) -> None:
    lost = 0

    def loses(data: bytes) -> bool:
        nonlocal lost
        is_initial = data[0] & 0xF0 == 0xC0
        lost += is_initial
        return is_initial and lost == 1

    async with (
        echoing(material(certificates, "gpu-8")) as (endpoint, told),
        network(endpoint.port, loses=loses) as between,
    ):
        measured = await ask(between.port, material(certificates, "gpu-7"), QUICK)
        await until(lambda: endpoint.connections == 0, HANDSHAKE_SECS_MAX / 2)
        assert not told.drops
    assert (measured.reachable, lost > 1) == (True, True)


async def test_who_is_not_there_does_not_answer_or_loses_everything_is_told_apart(
    certificates: Path, unused_udp_port: int
) -> None:
    own = material(certificates, "gpu-7")
    assert (await ask(unused_udp_port, own)).failure is Failure.UNREACHABLE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        measured = await ask(deaf.getsockname()[1], own, IMPATIENT)
        assert (measured.failure, measured.reachable, measured.loss) == (Failure.TIMEOUT, False, 1.0)
    async with (
        echoing(material(certificates, "gpu-8")) as (endpoint, _),
        network(endpoint.port, loses=lambda data: not data[0] & 0x80) as between,
    ):
        measured = await ask(between.port, own, IMPATIENT)
    assert (measured.failure, measured.node, measured.loss) == (Failure.SILENT, "gpu-8", 1.0)


async def test_only_nodes_of_the_same_authority_measure_each_other(certificates: Path) -> None:
    own, stranger = material(certificates, "gpu-7"), material(certificates / "other", "gpu-7")
    async with echoing(stranger) as (endpoint, _):
        assert (await ask(endpoint.port, own)).failure is Failure.CERTIFICATE
    async with echoing(material(certificates, "server")) as (endpoint, _):
        assert (await ask(endpoint.port, own)).failure is Failure.CERTIFICATE, "a collector's is no node's"
    async with echoing(material(certificates, "gpu-9")) as (endpoint, _):
        assert (await ask(endpoint.port, own)).reachable
        assert (await ask(endpoint.port, material(certificates, "gpu-7", crl=True))).failure is Failure.CERTIFICATE
    async with echoing(material(certificates, "gpu-8", crl=True)) as (endpoint, told):
        for refused in (stranger, material(certificates, "server"), material(certificates, "gpu-9")):
            trusting = Material(refused.cert_path, refused.key_path, own.ca_path, None, SystemClock())
            assert (await ask(endpoint.port, trusting)).failure is Failure.REFUSED
        assert len(told.refusals) == 3
        assert endpoint.connections == 0


async def test_files_that_cannot_be_used_are_named(certificates: Path, tmp_path: Path) -> None:
    broken = Material(tmp_path / "none.pem", tmp_path / "none.key", certificates / "ca.pem", None, SystemClock())
    measured = await ask(9, broken)
    assert (measured.failure, "none.pem" in measured.detail) == (Failure.FAULT, True)
    with pytest.raises(CertificateError, match=r"none\.pem"):
        await EchoEndpoint.open("127.0.0.1", 0, broken, Told())


# ---- strangers


def first_flight() -> bytes:
    quic = QuicConnection(configuration=QuicConfiguration(alpn_protocols=["telemetry-probe/1"]))
    quic.connect(("127.0.0.1", 1), now=0.0)
    return quic.datagrams_to_send(now=0.0)[0][0]


@contextmanager
def stranger(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", port))
        own.setblocking(False)
        yield own


def readable(own: socket.socket) -> bool:
    return bool(select.select([own], [], [], 0)[0])


def answers(own: socket.socket) -> list[bytes]:
    got = []
    while True:
        try:
            got.append(own.recv(65_536))
        except BlockingIOError:
            return got


async def test_a_stranger_gets_less_than_it_sends_and_costs_no_place(certificates: Path) -> None:
    async with echoing(material(certificates, "gpu-8")) as (endpoint, told):
        with stranger(endpoint.port) as own:
            flight = first_flight()
            own.send(flight)
            await until(lambda: readable(own))
            got = answers(own)
            assert len(got) == 1
            assert len(got[0]) < len(flight) / 4
            unknown_version = flight[:1] + b"\x0a\x0a\x0a\x0a" + flight[5:]
            for nonsense in (
                b"",
                b"\x00",
                os.urandom(1_200),
                flight[:1_000],
                unknown_version,
                b"\x40" + os.urandom(40),
            ):
                own.send(nonsense)
            await until(lambda: told.drops["malformed"] >= 4)
            assert answers(own) == []
            assert endpoint.connections == 0


async def test_a_flood_of_newcomers_is_answered_within_a_bound(certificates: Path) -> None:
    async with echoing(material(certificates, "gpu-8")) as (endpoint, told):
        with stranger(endpoint.port) as own:
            flight = first_flight()
            for _ in range(20):
                for _ in range(5 * RETRIES_PER_SEC_MAX // 20):
                    own.send(flight)
                await asyncio.sleep(0.001)  # the endpoint is on the same loop: its socket's buffer holds so many
            await until(lambda: told.drops["retries"] >= RETRIES_PER_SEC_MAX)
            assert len(answers(own)) <= 3 * RETRIES_PER_SEC_MAX
            assert endpoint.connections == 0


async def test_an_endpoint_never_sends_more_than_it_was_sent(certificates: Path) -> None:
    async with echoing(material(certificates, "gpu-8")) as (endpoint, _), network(endpoint.port) as between:
        await ask(between.port, material(certificates, "gpu-7"), Burst(probes=50, gap_secs=0.001, timeout_secs=5))
    assert 0 < between.down <= between.up


async def test_one_address_has_so_many_places_and_a_connection_so_many_probes(certificates: Path) -> None:
    own = material(certificates, "gpu-7")
    slow = Burst(probes=2, gap_secs=1.0, timeout_secs=2)
    async with echoing(material(certificates, "gpu-8")) as (endpoint, told):
        held = [asyncio.ensure_future(ask(endpoint.port, own, slow)) for _ in range(CONNECTIONS_PER_ADDRESS_MAX)]
        await until(lambda: endpoint.connections == CONNECTIONS_PER_ADDRESS_MAX)
        assert (await ask(endpoint.port, own, IMPATIENT)).failure is Failure.TIMEOUT
        assert told.drops["connections"] > 0
        assert all(measured.reachable for measured in await asyncio.gather(*held))
        greedy = await ask(endpoint.port, own, Burst(probes=PROBES_MAX + 20, gap_secs=0.0, timeout_secs=1))
        assert greedy.failure is Failure.REFUSED
        assert len(greedy.round_trips) <= PROBES_MAX


# ---- the monitor and the agent


def security(certificates: Path, node: str) -> AgentSecurity:
    return AgentSecurity(
        tls_cert_path=certificates / f"{node}.pem",
        tls_key_path=certificates / f"{node}.key",
        tls_ca_path=certificates / "ca.pem",
    )


async def test_a_peer_that_goes_and_comes_back_is_counted_and_told_once_each(
    certificates: Path, unused_udp_port: int
) -> None:
    registry = CollectorRegistry()
    monitor = NetworkMonitor(security(certificates, "gpu-7"), registry, SystemClock())
    peer = Address("127.0.0.1", unused_udp_port)
    monitor.start(NetworkConfig(peers=(peer, Address("a..b", 1)), interval_secs=0.3, timeout_secs=3, probes=2))

    def told(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"telemetry_collector_agent_peers_{name}_total", labels)

    def value(name: str, **tags: str) -> float | None:
        tags = {"peer": str(peer), **tags}
        points: list[Point] = [point for point in monitor.read() if point.name == f"network.peer.{name}"]
        return next((point.value for point in points if set(tags.items()) <= set(point.tags)), None)

    try:
        await until(lambda: (value("failures", reason="unreachable") or 0) >= 2)
        assert (value("reachable"), value("loss"), value("rtt", statistic="min")) == (0, 1, None)
        own = material(certificates, "gpu-8")
        endpoint = await EchoEndpoint.open("127.0.0.1", unused_udp_port, own, Told())
        await until(lambda: value("reachable", peer_node="gpu-8") == 1)
        assert value("loss", peer_node="gpu-8") == 0
        endpoint.close()
        # Its node is remembered, so that the edge stays the same.
        await until(lambda: value("reachable", peer_node="gpu-8") == 0)
        await until(lambda: value("failures", peer="a..b:1", reason="name") is not None)
    finally:
        await monitor.stop()
        await monitor.stop()
    assert told("reachable") == 1
    assert told("unreachable", reason="unreachable") == 2
    assert told("unreachable", reason="name") == 1


@pytest.mark.parametrize("listens", [True, False])
async def test_a_peer_is_reached_at_any_address_of_its_name(
    certificates: Path, unused_udp_port: int, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    async def both(*_: object) -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]

    monkeypatch.setattr(peers, "addresses", both)
    monitor = NetworkMonitor(security(certificates, "gpu-7"), CollectorRegistry(), SystemClock())

    def reachable() -> float | None:
        return next((point.value for point in monitor.read() if point.name == "network.peer.reachable"), None)

    async with AsyncExitStack() as stack:
        if listens:
            endpoint = await EchoEndpoint.open("127.0.0.1", unused_udp_port, material(certificates, "gpu-8"), Told())
            stack.callback(endpoint.close)
        monitor.start(NetworkConfig(peers=(Address("gpu-8", unused_udp_port),), timeout_secs=3, probes=1))
        stack.push_async_callback(monitor.stop)
        await until(lambda: reachable() is not None)
        assert reachable() == listens


async def test_agents_measure_the_way_between_their_nodes(certificates: Path, unused_udp_port: int) -> None:
    here = Address("127.0.0.1", unused_udp_port)
    common = {"interval_secs": 0.1, "compression": "none", "spool_dir": None, "sources": ("agent",)}
    async with QuicCollector(certificates) as collector:

        def agent(node: str, **network: object) -> NodeAgent:
            values = {**common, "collectors": (collector.address,), "network": network}
            return NodeAgent(
                NodeAgentConfig.model_validate(values), security(certificates, node), CollectorRegistry(), sources=()
            )

        answering = agent("gpu-8", listen_addr=here)
        asking = agent("gpu-7", peers=(here,), interval_secs=0.3)

        def edge(name: str) -> dict[str, str] | None:
            found = (dict(point.tags) for point in collector.books.points if point.name == f"network.peer.{name}")
            return next((tags for tags in found if "peer_node" in tags), None)

        await answering.start()
        await asking.start()
        try:
            await until(lambda: edge("rtt") and edge("loss") and edge("handshake"))
        finally:
            await asking.stop()
            await answering.stop()
        tags = edge("rtt")
        assert tags is not None
        assert (tags["node_id"], tags["peer_node"], tags["peer"]) == ("gpu-7", "gpu-8", str(here))


async def test_a_port_that_is_taken_stops_nothing_and_is_told(certificates: Path) -> None:
    registry = CollectorRegistry()
    monitor = NetworkMonitor(security(certificates, "gpu-7"), registry, SystemClock())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        monitor.start(NetworkConfig(listen_addr=Address("127.0.0.1", taken.getsockname()[1])))
        await until(lambda: registry.get_sample_value("telemetry_collector_agent_echo_failures_total") == 1)
        await monitor.stop()
