"""A whole agent on this machine's real metrics, against the scripted collector over QUIC."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.support.protobuf import Frames, framed, pb
from tests.support.quic_collector import QuicCollector
from tests.support.waiting import until

from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.agent.sources import Source, gauge
from telemetry_collector.config import Address, AgentSecurity
from telemetry_collector.errors import CertificateError, TelemetryCollectorError
from telemetry_collector.model import Outcome
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import Point


class Bad:
    """Yields what no frame can carry, then fails."""

    name = "bad"

    def read(self) -> list[Point]:
        raise OSError("gone")


class Steady:
    name = "steady"

    def read(self) -> list[Point]:
        return [gauge("steady.value", place, "1", place=str(place)) for place in range(25)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    authority.issue_node("gpu-7")
    return directory


def security(certificates: Path) -> AgentSecurity:
    return AgentSecurity(
        tls_cert_path=certificates / "gpu-7.pem",
        tls_key_path=certificates / "gpu-7.key",
        tls_ca_path=certificates / "ca.pem",
    )


def agent(certificates: Path, address: Address, *sources: Source, **changes: object) -> NodeAgent:
    values = {
        "collectors": (address,),
        "interval_secs": 0.05,
        "heartbeat_secs": 0.05,
        "compression": "none",
        "spool_dir": None,
    }
    config = NodeAgentConfig.model_validate({**values, **changes})
    return NodeAgent(config, security(certificates), CollectorRegistry(), sources=sources or None)


@pytest.mark.usefixtures("sender_transport")
async def test_this_machines_metrics_arrive_with_the_node_of_the_certificate(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        running = agent(certificates, collector.address, region="eu", tags={"rack": "r1"}, interval_secs=0.5)
        await running.start()
        try:
            await until(lambda: len(collector.books.stored) >= 2 and len(collector.books.heartbeats) >= 2)
        finally:
            await running.stop()
            await running.stop()
        names = {point.name for point in collector.books.points}
        assert {"system.cpu.usage", "system.memory.used", "system.load.1m", "agent.sample.duration"} <= names
        for point in collector.books.points:
            tags = dict(point.tags)
            assert (tags["node_id"], tags["region"], tags["rack"], tags["service"]) == ("gpu-7", "eu", "r1", "node")
        assert {heartbeat.worker_id for heartbeat in collector.books.heartbeats} == {"gpu-7"}
        assert all(0 <= heartbeat.cpu_usage <= 1 for heartbeat in collector.books.heartbeats)
        stats = running.stats
        assert stats.node == "gpu-7"
        assert stats.sender.points_acknowledged == len(collector.books.points) == stats.sender.points_offered


async def test_batches_keep_their_size_and_a_bad_source_costs_only_itself(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        running = agent(certificates, collector.address, Bad(), Steady(), batch_points_max=10, sources=("cpu",))
        await running.start()
        try:
            await until(lambda: running.stats.samples >= 2)
        finally:
            await running.stop()
        sizes = [len(points) for points in collector.books.stored.values()]
        assert max(sizes) == 10
        assert sizes.count(5) >= 2
        assert {point.name for point in collector.books.points} == {"steady.value"}
        assert running.stats.source_failures["bad"] >= 2


async def test_readings_that_wait_for_their_batch_are_sent_when_the_agent_stops(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        running = agent(certificates, collector.address, Steady(), readings_per_batch=3, sources=("cpu",))
        await running.start()
        try:
            await until(lambda: running.stats.samples >= 4)
        finally:
            await running.stop()
        batches = list(collector.books.stored.values())
        times = [len({point.timestamp_unix_ns for point in points}) for points in batches]
        assert times[0] == 3
        assert sum(times) == running.stats.samples


@pytest.mark.usefixtures("sender_transport")
async def test_an_agent_starts_without_a_collector_and_stops_in_time(certificates: Path) -> None:
    running = agent(certificates, Address("127.0.0.1", 9), Steady(), drain_secs=0.05)
    await running.start()
    await until(lambda: running.stats.samples >= 2)
    await running.stop()
    assert running.stats.sender.points_acknowledged == 0
    assert running.stats.sender.dropped_by_reason["stopped"] == running.stats.sender.points_offered


async def test_a_reload_that_is_cancelled_or_overtaken_by_stop_begins_nothing_again(certificates: Path) -> None:
    for cancelled in (True, False):
        running = agent(certificates, Address("127.0.0.1", 9), Steady())
        await running.start()
        reload = asyncio.create_task(running.reconfigure(NodeAgentConfig()))
        await asyncio.sleep(0)
        if cancelled:
            reload.cancel()
        await running.stop()
        await asyncio.wait([reload])
        assert reload.cancelled() is cancelled
        assert not [task for task in asyncio.all_tasks() if task.get_name() in ("agent-samples", "agent-heartbeats")]


async def test_stop_before_start_is_harmless(certificates: Path) -> None:
    await agent(certificates, Address("127.0.0.1", 9), Steady()).stop()


def test_a_certificate_that_cannot_be_read_is_named(certificates: Path, tmp_path: Path) -> None:
    missing = security(certificates).model_copy(update={"tls_cert_path": tmp_path / "node.pem"})
    with pytest.raises(CertificateError, match=r"node\.pem"):
        NodeAgent(NodeAgentConfig(), missing, CollectorRegistry())


@pytest.mark.usefixtures("sender_transport")
async def test_a_collector_whose_certificate_is_revoked_gets_nothing(tmp_path: Path) -> None:
    authority, _ = Authority.create(tmp_path)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    authority.issue_node("gpu-7")
    listed = security(tmp_path).model_copy(update={"tls_crl_path": tmp_path / "ca.crl"})
    async with QuicCollector(tmp_path) as collector:
        values = {"collectors": (collector.address,), "interval_secs": 0.05, "compression": "none", "drain_secs": 0.05}

        async def run() -> NodeAgent:
            running = NodeAgent(NodeAgentConfig.model_validate(values), listed, CollectorRegistry(), sources=[Steady()])
            await running.start()
            try:
                await until(lambda: running.stats.sender.connects + running.stats.sender.connect_failures > 0)
            finally:
                await running.stop()
            return running

        assert (await run()).stats.sender.connects == 1
        authority.revoke("collector")
        seen = len(collector.books.seen)
        assert (await run()).stats.sender.connects == 0
        assert len(collector.books.seen) == seen


def test_a_revocation_list_that_cannot_be_read_is_named(certificates: Path, tmp_path: Path) -> None:
    listed = security(certificates).model_copy(update={"tls_crl_path": tmp_path / "none.crl"})
    with pytest.raises(CertificateError, match=r"none\.crl"):
        NodeAgent(NodeAgentConfig(), listed, CollectorRegistry())


async def test_a_spool_that_cannot_be_had_is_a_start_that_fails_and_names_the_key(
    certificates: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    running = agent(certificates, Address("127.0.0.1", 9), Steady(), spool_dir=tmp_path / "file" / "spool")
    with pytest.raises(TelemetryCollectorError, match=r"agent\.spool_dir = .*; expected a directory"):
        await running.start()
    await running.stop()


async def test_what_checks_find_is_sent_under_the_services_name_and_other_checks_can_take_their_place(
    certificates: Path,
) -> None:
    def checks(name: str, address: str) -> dict[str, object]:
        return {"tcp": ({"name": name, "service": "shop", "address": Address.parse(address)},)}

    async with (
        QuicCollector(certificates) as collector,
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server,
    ):
        open_port = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        running = agent(certificates, collector.address, Steady(), monitors=checks("door", open_port))

        def up(check: str) -> set[tuple[float, str]]:
            points = (point for point in collector.books.points if point.name == "service.check.up")
            return {(p.value, dict(p.tags)["service"]) for p in points if dict(p.tags)["check"] == check}

        await running.start()
        try:
            await until(lambda: up("door") == {(1.0, "shop")})
            closed = {"monitors": checks("wall", "127.0.0.1:9"), "interval_secs": 0.05}
            await running.reconfigure(NodeAgentConfig.model_validate(closed))
            await until(lambda: up("wall") == {(0.0, "shop")})
        finally:
            await running.stop()


@pytest.mark.usefixtures("sender_transport")
async def test_an_agents_batches_outlive_it(certificates: Path, tmp_path: Path) -> None:
    first = agent(certificates, Address("127.0.0.1", 9), Steady(), spool_dir=tmp_path / "spool")
    await first.start()
    await until(lambda: first.stats.samples >= 2)
    await first.stop()
    left = first.stats.sender.points_pending
    assert left == first.stats.sender.points_offered > 0
    async with QuicCollector(certificates) as collector:
        second = agent(certificates, collector.address, Steady(), spool_dir=tmp_path / "spool")
        await second.start()
        try:
            await until(lambda: second.stats.sender.points_acknowledged > left)
        finally:
            await second.stop()
        names = {point.name for point in collector.books.points}
        assert {"steady.value", "agent.spool.size"} <= names
        assert len({epoch for epoch, _ in collector.books.stored}) == 1


async def test_a_batch_of_a_service_that_the_agent_gave_up_may_come_again(certificates: Path, tmp_path: Path) -> None:
    """The collector is away and memory full: what no collector can have is taken anew, rather than said to be there."""
    path = tmp_path / "agent.sock"
    running = agent(
        certificates,
        Address("127.0.0.1", 9),
        Steady(),
        sources=("cpu",),
        outbox_points_max=30,
        drain_secs=0.1,
        socket=path,
    )
    await running.start()
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
        frames = Frames()

        async def ask() -> tuple[int, int]:
            made = pb.MetricBatch(sequence=1, epoch=9, metrics=[{"name": "orders.placed", "value": 1.0}])
            writer.write(framed(made))
            async with asyncio.timeout(20):
                while not (bodies := frames.feed(await reader.read(4_096))):
                    pass
            (ack,) = (pb.BatchAck.FromString(body) for body in bodies)
            return ack.outcome, ack.accepted_points

        assert await ask() == (Outcome.STORED, 1)
        await until(lambda: running.stats.sender.points_dropped % 25 == 1)
        assert await ask() == (Outcome.STORED, 1)
        writer.close()
    finally:
        await running.stop()
