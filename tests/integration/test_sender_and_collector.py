"""The sender against the collector itself: every promise that needs both halves of the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from tests.support.gate import Gate
from tests.support.running import collector_of
from tests.support.waiting import until

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import Address
from telemetry_collector.model import MetricType
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import (
    Batch,
    DeliverySettings,
    Point,
    Sender,
    SpoolSettings,
    TransportSettings,
    batch_of,
)
from telemetry_collector.sender.events import Refused, SenderEvent
from telemetry_collector.torture.link import Link
from telemetry_collector.torture.relay import Relay

NODE = "gpu-7"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    authority.issue_node(NODE)
    return directory


@asynccontextmanager
async def collecting(
    certificates: Path, directory: Path, transport: str, port: int = 0, **limits: int
) -> AsyncIterator[Collector]:
    document = {
        "server": {"listen_addr": f"127.0.0.1:{port}", "transport": transport, "shutdown_timeout_secs": 1},
        "security": {
            "tls_cert_path": str(certificates / "server.pem"),
            "tls_key_path": str(certificates / "server.key"),
            "tls_ca_path": str(certificates / "ca.pem"),
        },
        "limits": limits,
        "journal": {"dir": str(directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 26},
        "parquet": {"output_dir": str(directory / "data")},
        "api": {"http_port": 0},
        "observability": {"metrics_port": 0, "metrics_addr": "127.0.0.1"},
    }
    async with collector_of(document) as collector:
        yield collector


@asynccontextmanager
async def sending(
    certificates: Path, collector: Collector | str, spool: SpoolSettings | None = None, **delivery: Any
) -> AsyncIterator[tuple[Sender, list[SenderEvent]]]:
    events: list[SenderEvent] = []
    address = collector if isinstance(collector, str) else collector.listen_addr
    transport = TransportSettings(
        endpoints=(Address.parse(address),),
        cert_path=certificates / f"{NODE}.pem",
        key_path=certificates / f"{NODE}.key",
        ca_path=certificates / "ca.pem",
        backoff_min_secs=0.01,
        backoff_max_secs=0.05,
        unreachable_secs=0.05,
    )
    sender = Sender(transport, delivery=DeliverySettings(**delivery), spool=spool, on_event=events.append)
    await sender.start()
    try:
        async with asyncio.timeout(60):
            yield sender, events
    finally:
        await sender.stop(drain_secs=0)


def batch(points: int, name: str = "system.load", node: str = NODE) -> Batch:
    readings = [Point(name, place / 4, MetricType.GAUGE, "1", (("n", str(place)),)) for place in range(points)]
    return batch_of(readings, common_tags=(("node_id", node),), timestamp_unix_ns=0)


def rows(directory: Path, what: str = "count(*)") -> Any:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {what} FROM read_parquet('{directory}/data/*/*/*.parquet')").fetchone()
        assert found is not None
        return found[0]


@pytest.mark.parametrize("form", ["dense", "columnar", "row"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_acknowledged_points_are_rows(
    certificates: Path, tmp_path: Path, form: str, compression: str, transport: str
) -> None:
    async with collecting(certificates, tmp_path, transport) as collector:
        async with sending(certificates, collector, form=form, compression=compression) as (sender, _):
            for place in range(40):
                sender.offer(batch(100, name=f"system.load.{place}"))
            await sender.drained()
            stats = sender.stats
        assert (stats.points_acknowledged, stats.points_refused) == (4_000, 0)
    assert rows(tmp_path) == 4_000
    assert rows(tmp_path, "count(DISTINCT (name, tags))") == 4_000
    assert rows(tmp_path, "max(value)") == 99 / 4
    assert rows(tmp_path, "min(node_id)") == NODE


async def test_batches_over_the_collectors_size_are_split(certificates: Path, tmp_path: Path, transport: str) -> None:
    async with (
        collecting(certificates, tmp_path, transport, max_batch_size=100) as collector,
        sending(certificates, collector) as (sender, _),
    ):
        sender.offer(batch(1_000))
        await sender.drained()
        assert sender.stats.points_acknowledged == 1_000
        assert sender.stats.batches_split == 15
    assert rows(tmp_path) == 1_000


@pytest.mark.usefixtures("sender_transport")
async def test_frames_over_the_collectors_size_become_smaller(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    async with (
        collecting(certificates, tmp_path, transport, frame_bytes_max=4_096) as collector,
        sending(certificates, collector, compression="none") as (sender, _),
    ):
        for _ in range(5):
            sender.offer(batch(900))
        await sender.drained()
        assert sender.stats.points_acknowledged == 4_500
    assert rows(tmp_path) == 4_500


async def test_points_over_the_cardinality_limit_are_refused_and_told(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    async with (
        collecting(certificates, tmp_path, transport, max_cardinality=30) as collector,
        sending(certificates, collector) as (sender, events),
    ):
        sender.offer(batch(50))
        await sender.drained()
        assert sender.stats.points_acknowledged == 30
        assert sender.stats.refused_by_reason == {"cardinality_limit": 20}
        refused = next(event for event in events if isinstance(event, Refused))
        assert "Cardinality limit exceeded" in refused.example
    assert rows(tmp_path) == 30


async def test_a_batch_for_another_node_is_refused_whole(certificates: Path, tmp_path: Path, transport: str) -> None:
    async with (
        collecting(certificates, tmp_path, transport) as collector,
        sending(certificates, collector) as (sender, _),
    ):
        sender.offer(batch(5, node="gpu-8"))
        sender.offer(batch(5))
        await sender.drained()
        assert sender.stats.refused_by_reason == {"identity_mismatch": 5}
        assert sender.stats.points_acknowledged == 5
    assert rows(tmp_path) == 5


@pytest.mark.usefixtures("sender_transport")
async def test_nothing_is_lost_or_doubled_over_a_restart_of_the_collector(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    async with collecting(certificates, tmp_path, transport) as first:
        port = Address.parse(first.listen_addr).port
        sender_context = sending(certificates, first)
        sender, _ = await sender_context.__aenter__()
        try:
            for _ in range(100):
                sender.offer(batch(50))
            await until(lambda: sender.stats.points_acknowledged)
            await first.stop()
            async with collecting(certificates, tmp_path, transport, port):
                for _ in range(20):
                    sender.offer(batch(50))
                await sender.drained()
                stats = sender.stats
                assert stats.points_acknowledged == 6_000
                assert stats.reconnects >= 1
        finally:
            await sender_context.__aexit__(None, None, None)
    assert rows(tmp_path) == 6_000
    assert rows(tmp_path, "count(DISTINCT sequence)") == 120


@asynccontextmanager
async def relayed(collector: Collector) -> AsyncIterator[Relay]:
    relay = Relay(("127.0.0.1", Address.parse(collector.listen_addr).port), Random(1))
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


@pytest.mark.usefixtures("sender_transport")
@pytest.mark.parametrize("life", ["goes_on", "begins_anew"])
async def test_a_stored_batch_that_is_too_large_by_now_is_not_stored_in_parts(
    certificates: Path, tmp_path: Path, transport: str, life: str
) -> None:
    """The answer was lost, and the collector would no longer take the frame: of that it does not read even the name."""
    spool = SpoolSettings(directory=tmp_path / "spool")
    async with (
        collecting(certificates, tmp_path, transport) as first,
        relayed(first) as relay,
        contextlib.AsyncExitStack() as lives,
    ):
        address = f"127.0.0.1:{relay.port}"
        port = Address.parse(first.listen_addr).port
        new_life = sending(certificates, address, spool if life == "begins_anew" else None, compression="none")
        sender, _ = await lives.enter_async_context(new_life)
        sender.offer(batch(10))
        await sender.drained()
        relay.way_back = Link(loss=1.0)
        sender.offer(batch(150))  # a few datagrams, which need no acknowledgement to leave
        await until(lambda: first._core.stats()["points_accepted"] == 160)  # type: ignore[union-attr]
        await first.stop()
        assert sender.stats.points_acknowledged == 10
        async with collecting(certificates, tmp_path, transport, port, frame_bytes_max=1_024) as second:
            if life == "begins_anew":
                await lives.aclose()
                sender, _ = await lives.enter_async_context(sending(certificates, address, spool, compression="none"))
            relay.way_back = None
            await sender.drained()
            sender.offer(batch(20))
            await sender.drained()
            assert second._core.stats()["points_accepted"] == 20  # type: ignore[union-attr]
            assert (sender.stats.batches_duplicate, sender.stats.points_dropped) == (1, 0)
    assert rows(tmp_path) == 180


@pytest.mark.usefixtures("sender_transport")
async def test_a_batch_that_was_split_is_not_stored_whole_from_a_frame_that_is_read_late(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    """An agent that starts again with smaller frames asks what is stored. Its former connection is still there."""
    spool = SpoolSettings(directory=tmp_path / "spool")
    async with (
        collecting(certificates, tmp_path, transport) as collector,
        Gate(("127.0.0.1", Address.parse(collector.listen_addr).port)) as gate,
    ):
        address = f"127.0.0.1:{gate.port}"
        async with sending(certificates, address, spool, compression="none") as (first, _):
            first.offer(batch(10))
            await first.drained()
            gate.hold()
            sent = first.stats.frame_bytes_sent
            first.offer(batch(150))
            await until(lambda: gate.held_bytes > first.stats.frame_bytes_sent - sent > 0)
            gate.cut()
        async with sending(certificates, address, spool, compression="none", frame_bytes_max=1_024) as (second, _):
            await second.drained()
            assert (second.stats.points_acknowledged, second.stats.batches_duplicate) == (150, 0)
            assert second.stats.batches_split > 0
            core = collector._core
            assert core is not None
            assert core.stats()["points_refused"].get("withdrawn", 0) == 0
            gate.let_go()
            await until(lambda: core.stats()["points_refused"].get("withdrawn") == 150)
    assert rows(tmp_path) == 160


@pytest.mark.usefixtures("sender_transport")
async def test_back_pressure_slows_the_sender_and_loses_nothing(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    async with (
        collecting(certificates, tmp_path, transport, backpressure_threshold=2) as collector,
        sending(certificates, collector) as (sender, _),
    ):
        for _ in range(200):
            sender.offer(batch(20))
        await sender.drained()
        assert sender.stats.points_acknowledged == 4_000
    assert rows(tmp_path) == 4_000


@pytest.mark.usefixtures("sender_transport")
async def test_batches_go_to_the_second_collector_and_back_to_the_first_when_it_recovers(
    certificates: Path, tmp_path: Path, transport: str
) -> None:
    async with (
        collecting(certificates, tmp_path / "first", transport) as first,
        collecting(certificates, tmp_path / "second", transport) as second,
    ):
        endpoints = (Address.parse(first.listen_addr), Address.parse(second.listen_addr))
        settings = TransportSettings(
            endpoints=endpoints,
            cert_path=certificates / f"{NODE}.pem",
            key_path=certificates / f"{NODE}.key",
            ca_path=certificates / "ca.pem",
            backoff_min_secs=0.01,
            backoff_max_secs=0.05,
            unreachable_secs=0.05,
            failback_secs=0.05,
        )
        sender = Sender(settings, spool=SpoolSettings(directory=tmp_path / "spool"))
        await sender.start()
        try:
            async with asyncio.timeout(60):
                sender.offer(batch(10))
                await sender.drained()
                await first.stop()
                sender.offer(batch(20))
                await sender.drained()
                assert sender.stats.connected_to == str(endpoints[1])
                assert sender.stats.collectors[str(endpoints[0])] != "closed"
                async with collecting(certificates, tmp_path / "first", transport, endpoints[0].port):
                    await until(lambda: sender.stats.connected_to == str(endpoints[0]))
                    sender.offer(batch(30))
                    await sender.drained()
        finally:
            await sender.stop()
    assert (rows(tmp_path / "first"), rows(tmp_path / "second")) == (40, 20)
