"""Simulated agents over real QUIC: what they say was acknowledged is what the collector has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.collector import retry_later
from tests.support.quic_collector import QuicCollector
from tests.support.simulated_agents import UNANSWERED, SimulatedAgent, acknowledged, start
from tests.support.waiting import until

from telemetry_collector._core import QuicLoad
from telemetry_collector.model import CloseCode, MetricType
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import Batch, Point, batch_of

AGENTS = 3
POINTS = (10, 7)
"""Of an agent's two batches."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    for place in range(AGENTS):
        authority.issue_node(f"node-{place}")
    return directory


def batch(points: int) -> Batch:
    readings = [
        Point("system.load", float(place), MetricType.GAUGE, "1", (("n", str(place)),)) for place in range(points)
    ]
    return batch_of(readings, common_tags=(), timestamp_unix_ns=1_000)


@asynccontextmanager
async def swarm(certificates: Path, collector: QuicCollector, **settings: float) -> AsyncIterator[QuicLoad]:
    agents = [
        SimulatedAgent(
            cert_path=certificates / f"node-{place}.pem",
            key_path=certificates / f"node-{place}.key",
            ca_path=certificates / "ca.pem",
            batches=[batch(points) for points in POINTS],
            epoch=place + 1,
        )
        for place in range(AGENTS)
    ]
    load = start(
        "127.0.0.1",
        collector.address.port,
        agents,
        server_name="127.0.0.1",
        compression="none",
        batches_per_sec=settings.get("batches_per_sec"),
    )
    try:
        await until(lambda: load.poll()["connected"] + load.poll()["lost"] == AGENTS)
        yield load
    finally:
        await asyncio.to_thread(load.stop, 0.0)


async def test_what_agents_had_acknowledged_is_what_the_collector_has(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector, swarm(certificates, collector) as load:
        assert load.poll()["batches_sent"] == 0
        load.begin()
        await until(lambda: load.poll()["batches_acknowledged"] > 60)
        await asyncio.to_thread(load.stop, 10.0)
        figures = load.poll()
        records = acknowledged(load)
        assert len({str(each.subject) for each in collector.certificates}) == AGENTS
        assert {
            (place + 1, sequence + 1): points
            for place, each in enumerate(records)
            for sequence, points in enumerate(each)
        } == {name: len(points) for name, points in collector.books.stored.items()}
        assert figures["points_acknowledged"] == len(collector.books.points)
        assert figures["batches_sent"] == figures["batches_acknowledged"] == len(collector.books.stored)
        assert (figures["lost"], figures["connected"], load.faults) == (0, 0, [])
        assert 0 < load.latency_secs(0.5) <= load.latency_secs(0.999) < 30


async def test_a_rate_is_kept_and_retries_keep_their_names(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        refusals = iter(range(9))
        collector.books.answer = lambda message: retry_later(message, 20) if next(refusals, None) is not None else None
        async with swarm(certificates, collector, batches_per_sec=50.0) as load:
            load.begin()
            await until(lambda: load.poll()["batches_acknowledged"] >= 30)
            await asyncio.to_thread(load.stop, 10.0)
            assert load.poll()["batches_retried"] == 9
            assert all(UNANSWERED not in each for each in acknowledged(load))
            # As even as the agents' clocks: at one rate, none is far ahead of another.
            counts = [len(each) for each in acknowledged(load)]
            assert max(counts) - min(counts) <= 2


async def test_what_a_lost_agent_had_in_flight_is_unanswered(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector, swarm(certificates, collector) as load:
        collector.silent = True
        load.begin()
        await until(lambda: len(collector.books.seen) == AGENTS * 8)
        collector.close_connections(CloseCode.SHUTTING_DOWN)
        await until(lambda: load.poll()["lost"] == AGENTS)
        assert [list(each) for each in acknowledged(load)] == [[UNANSWERED] * 8] * AGENTS
        assert len(load.faults) == AGENTS


async def test_agents_that_are_not_believed_are_lost_with_the_reason(certificates: Path, tmp_path: Path) -> None:
    Authority.create(tmp_path)[0].issue_server("collector", ["127.0.0.1"], file="server")
    async with QuicCollector(tmp_path) as collector, swarm(certificates, collector) as load:
        assert load.poll()["lost"] == AGENTS
        assert "UnknownIssuer" in load.faults[0]
