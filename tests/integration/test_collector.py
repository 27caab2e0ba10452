"""The collector as it is composed: agents over QUIC, Parquet behind it, stops and starts in between."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document, server_tls
from tests.support.running import collector_of
from tests.support.waiting import until

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import Address
from telemetry_collector.errors import ConfigError, JournalError
from telemetry_collector.security.authority import Authority, Files, set_up
from telemetry_collector.sender import Batch, Sender, TransportSettings

DRAIN_SECS = 20.0
FLUSH_SECS = 0.1


@asynccontextmanager
async def collector(directory: Path, certificates: Files, transport: str, **sections: Any) -> AsyncIterator[Collector]:
    """One that runs in this process until the end of the block."""
    parquet = {"output_dir": str(directory / "parquet"), "flush_interval_secs": FLUSH_SECS}
    document = collector_document(directory, certificates, transport, **{"parquet": parquet, **sections})
    async with collector_of(document) as running:
        yield running


def sender(running: Collector, certificates: Files, node: str = "node") -> Sender:
    directory = certificates.ca.parent
    transport = TransportSettings(
        endpoints=(Address.parse(running.listen_addr),),
        cert_path=directory / f"{node}.pem",
        key_path=directory / f"{node}.key",
        ca_path=certificates.ca,
        server_name="localhost",
    )
    return Sender(transport)


def batch(points: int, first: float = 0.0, series: int = 10) -> Batch:
    now = time.time_ns()
    return Batch(
        common_tags=[("region", "eu")],
        series=[(f"test.metric.{place}", [("core", str(place))], 2, "1", False) for place in range(series)],
        series_index=array("I", [place % series for place in range(points)]),
        timestamps_unix_ns=array("q", [now + place for place in range(points)]),
        values=array("d", [first + place for place in range(points)]),
    )


async def send(running: Collector, certificates: Files, *batches: Batch, node: str = "node") -> Sender:
    """Sends batches, waits for their acknowledgements and ends the connection."""
    client = sender(running, certificates, node)
    await client.start()
    for some in batches:
        await client.put(some)
    async with asyncio.timeout(DRAIN_SECS):
        await client.drained()
    await client.stop()
    return client


def query(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    files = f"read_parquet('{directory}/parquet/date=*/hour=*/*.parquet', hive_partitioning=true)"
    found = duckdb.sql(sql.replace("FILES", files))
    assert found is not None, "a query has rows"
    return found.fetchall()


async def test_what_agents_sent_is_in_the_files_once_with_its_names(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with collector(tmp_path, certificates, transport) as running:
        clients = await asyncio.gather(
            send(running, certificates, *(batch(500, 1_000.0 * part) for part in range(10))),
            send(running, certificates, *(batch(500, 1_000.0 * part) for part in range(10)), node="node-2"),
        )
        assert [client.stats.points_acknowledged for client in clients] == [5_000, 5_000]
        assert running.summary()["series"] == 20
    assert query(
        tmp_path, "SELECT node_id, count(*), sum(value), count(DISTINCT sequence) FROM FILES GROUP BY 1 ORDER BY 1"
    ) == [
        ("node-1", 5_000, 5_000 * 249.5 + 500 * 45_000.0, 10),
        ("node-2", 5_000, 5_000 * 249.5 + 500 * 45_000.0, 10),
    ]
    rows = query(
        tmp_path,
        "SELECT DISTINCT identity, region, tags['core'], type, unit FROM FILES WHERE name = 'test.metric.3' ORDER BY 1",
    )
    assert rows == [(f"spiffe://telemetry/node/node-{place}", "eu", "3", "gauge", "1") for place in (1, 2)]


async def test_a_restart_loses_nothing_and_repeats_nothing(tmp_path: Path, certificates: Files, transport: str) -> None:
    for life in range(3):
        async with collector(tmp_path, certificates, transport) as running:
            await send(running, certificates, batch(700, 1e6 * life))
            assert running.summary()["series"] == 10, "series are known again after a restart"
    assert query(tmp_path, "SELECT count(*), count(DISTINCT (epoch, sequence, value)) FROM FILES") == [(2_100, 2_100)]


async def test_parts_become_visible_while_it_runs(tmp_path: Path, certificates: Files, transport: str) -> None:
    async with collector(tmp_path, certificates, transport) as running:
        await send(running, certificates, batch(100))
        await until(lambda: running.summary()["writers"]["parquet"]["points_written"] == 100)
        assert query(tmp_path, "SELECT count(*) FROM FILES") == [(100,)]


async def test_a_second_collector_on_the_same_data_fails_and_names_it(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with collector(tmp_path, certificates, transport) as first:
        with pytest.raises(JournalError, match=r"^journal\.dir = .*: journal .* is held by another process"):
            async with collector(tmp_path, certificates, transport):
                pass
        with pytest.raises(ConfigError, match=str(tmp_path / "parquet")):
            async with collector(tmp_path, certificates, transport, journal={"dir": str(tmp_path / "other")}):
                pass
        await send(first, certificates, batch(10))
    assert query(tmp_path, "SELECT count(*) FROM FILES") == [(10,)]


async def test_a_revocation_acts_on_an_open_connection(tmp_path: Path, transport: str) -> None:
    directory = tmp_path / "certs"
    files = set_up(directory, node="node-1")
    Authority.open(directory).issue_node("node-2")
    security = {**server_tls(files), "tls_crl_path": str(files.crl)}
    async with collector(tmp_path, files, transport, security=security) as running:
        clients = [sender(running, files), sender(running, files, "node-2")]
        for client in clients:
            await client.start()
            await client.put(batch(10))
            async with asyncio.timeout(DRAIN_SECS):
                await client.drained()
        Authority.open(directory).revoke("node-2")
        await until(lambda: clients[1].stats.connected_to is None)
        await clients[0].put(batch(10))
        async with asyncio.timeout(DRAIN_SECS):
            await clients[0].drained()
        assert clients[0].stats.reconnects == 0, "others keep their connections"
        for client in clients:
            await client.stop(0)


async def test_over_the_cardinality_limit_known_series_go_on(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with collector(tmp_path, certificates, transport, limits={"max_cardinality": 5}) as running:
        client = await send(running, certificates, batch(100))
        assert client.stats.points_acknowledged == 50
        assert dict(client.stats.refused_by_reason) == {"cardinality_limit": 50}
        assert running.summary()["points_refused"] == 50
    assert query(tmp_path, "SELECT count(*), count(DISTINCT name) FROM FILES") == [(50, 5)]
