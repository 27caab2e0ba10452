"""kill -9 of the collector under load: what agents were told is stored is in the files, each point once."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from array import array
from itertools import count
from pathlib import Path

import duckdb
import pytest
from tests.support.documents import collector_document
from tests.support.process import command

from telemetry_collector.config import Address
from telemetry_collector.loopback import free_port
from telemetry_collector.security.authority import set_up
from telemetry_collector.sender import Batch, Sender, TransportSettings

BATCH_POINTS = 1_000
BATCHES_BEFORE_A_KILL = (20, 45, 7)
"""Acknowledged since the start before each kill; what is on its way then is cut off somewhere."""

PATIENCE_SECS = 60.0


def batch(number: int) -> Batch:
    """Points whose values no other batch has."""
    return Batch(
        common_tags=(),
        series=[(f"test.metric.{place}", (), 2, "", False) for place in range(10)],
        series_index=array("I", (place % 10 for place in range(BATCH_POINTS))),
        timestamps_unix_ns=array("q", [time.time_ns()]) * BATCH_POINTS,
        values=array("d", (number * BATCH_POINTS + place for place in range(BATCH_POINTS))),
    )


def collector_site(tmp_path: Path, transport: str, port: int, reached_at: int) -> tuple[Path, TransportSettings]:
    """The document of a collector on a port, and how to reach it at that port or another."""
    files = set_up(tmp_path / "certs", node="node-1")
    document = collector_document(
        tmp_path,
        files,
        transport,
        server={"listen_addr": f"127.0.0.1:{port}"},
        journal={"dir": str(tmp_path / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 28},
        parquet={"output_dir": str(tmp_path / "parquet"), "flush_interval_secs": 0.3},
        observability={"metrics_addr": "127.0.0.1", "metrics_port": 0, "log_format": "json"},
    )
    path = tmp_path / "collector.yaml"
    path.write_text(json.dumps(document))
    settings = TransportSettings(
        endpoints=(Address("127.0.0.1", reached_at),),
        cert_path=files.node_certificate,
        key_path=files.node_key,
        ca_path=files.ca,
        server_name="localhost",
        backoff_max_secs=0.5,
    )
    return path, settings


@pytest.fixture
def site(tmp_path: Path, transport: str) -> tuple[Path, Sender]:
    """A collector's document, and a sender to it."""
    port = free_port(socket.SOCK_DGRAM)
    document, settings = collector_site(tmp_path, transport, port, port)
    return document, Sender(settings)


async def send_for_ever(sender: Sender) -> None:
    for number in count():
        await sender.put(batch(number))
        await asyncio.sleep(0.01)


async def test_what_was_acknowledged_is_stored_once_whenever_the_collector_dies(site: tuple[Path, Sender]) -> None:
    document, sender = site
    await sender.start()
    load = asyncio.create_task(send_for_ever(sender))
    for batches in BATCHES_BEFORE_A_KILL:
        async with command("run", document, "--json") as collector:
            before = sender.stats.batches_acknowledged
            async with asyncio.timeout(PATIENCE_SECS):
                while sender.stats.batches_acknowledged < before + batches:  # noqa: ASYNC110 (another task counts)
                    await asyncio.sleep(0.005)
            collector.process.kill()
            await collector.process.wait()
    async with command("run", document, "--json") as collector:
        await collector.logged("connections_opened")
        load.cancel()
        async with asyncio.timeout(PATIENCE_SECS):
            await sender.drained()
        await sender.stop()
        code, _ = await collector.stop()
    assert code == 0
    acknowledged = sender.stats.points_acknowledged
    found = duckdb.sql(
        f"SELECT count(*), count(DISTINCT value) FROM '{document.parent}/parquet/date=*/hour=*/*.parquet'"
    )
    assert found is not None, "a query has rows"
    assert found.fetchall() == [(acknowledged, acknowledged)]
    assert acknowledged >= BATCH_POINTS * sum(BATCHES_BEFORE_A_KILL)
    assert sender.stats.points_dropped == 0
