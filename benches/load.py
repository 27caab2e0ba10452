"""The whole system: agents' connections here, a collector in another process, files and database behind it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benches.collector import Collector, collector, database, quantile_ms, until
from benches.figures import Figure
from benches.reference import NODE, POINTS, Definition, batch, series
from telemetry_collector.sender import Batch

RATE = 50_000
SECONDS = 20
WARM_UP_SECONDS = 3
DEMO_SECONDS = 10
CONNECTIONS = 1_000
NODE_SERIES = 100
"""As many as a node agent sends."""
CONNECTIONS_AT_A_TIME = 32
WRITTEN_SECS_MAX = 60.0

STABLE = "telemetry_collector_receive_to_stable_seconds"


def measure() -> Iterator[Figure]:
    """Each figure from a collector of its own."""
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory), NODE) as running:
        yield asyncio.run(_like_the_demo(running))
        yield from asyncio.run(_at_rate(running))
    with (
        tempfile.TemporaryDirectory() as directory,
        database(Path(directory)) as url,
        collector(Path(directory), NODE, influxdb_url=url, quotas=False) as running,
    ):
        yield asyncio.run(_flat_out(running))
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory), NODE, quotas=False) as running:
        yield asyncio.run(_many_connections(running))


async def _like_the_demo(running: Collector) -> Figure:
    """Resident memory with one agent that sends a batch a second and Parquet written, as in the demo."""
    sender = running.sender(NODE)
    await sender.start()
    definitions = series()
    for _ in range(DEMO_SECONDS):
        sender.offer(batch(time.time_ns(), definitions))
        await asyncio.sleep(1)
    await sender.drained()
    resident_mb = running.resident_mb()
    acknowledged = sender.stats.points_acknowledged
    await sender.stop()
    await until(lambda: _rows(running.dataset) >= acknowledged, WRITTEN_SECS_MAX)
    over = f"{DEMO_SECONDS} batches in as many seconds"
    return Figure("resident memory, one agent as in the demo", resident_mb, "MB", 150, spread=over)


async def _at_rate(running: Collector) -> list[Figure]:
    """How long batches take to stable storage when so many come a second, Parquet being written beside it."""
    already = _rows(running.dataset)
    sender = running.sender(NODE)
    await sender.start()
    definitions = series()
    await _send(sender.offer, definitions, WARM_UP_SECONDS)
    before = running.metrics()
    await _send(sender.offer, definitions, SECONDS)
    await sender.drained()
    after = running.metrics()
    acknowledged = sender.stats.points_acknowledged
    await sender.stop()
    await until(lambda: _rows(running.dataset) - already >= acknowledged, WRITTEN_SECS_MAX)
    over = f"{SECONDS} s at {RATE:,} points/s; all {acknowledged:,} points found in the files"
    return [
        Figure("receive to stable, p50", quantile_ms(before, after, STABLE, 0.5), "ms", 5, spread=over),
        Figure("receive to stable, p99", quantile_ms(before, after, STABLE, 0.99), "ms", 10, spread=over),
    ]


async def _flat_out(running: Collector) -> Figure:
    """Points a second that are in the files and accepted by the database, sent as fast as they are taken."""
    sender = running.sender(NODE)
    await sender.start()
    definitions = series()
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        await sender.put(batch(time.time_ns(), definitions))
    await sender.drained()
    acknowledged = sender.stats.points_acknowledged
    await sender.stop()
    delivered = 'telemetry_collector_writer_points_total{writer="influxdb"}'
    await until(lambda: running.metrics()[delivered] >= acknowledged, WRITTEN_SECS_MAX)
    await until(lambda: _rows(running.dataset) >= acknowledged, WRITTEN_SECS_MAX)
    took = time.monotonic() - start
    over = f"{acknowledged:,} points in {took:.1f} s, until both had all"
    return Figure("sustained, Parquet and InfluxDB", acknowledged / took, "points/s", RATE, at_least=True, spread=over)


async def _many_connections(running: Collector) -> Figure:
    """Resident memory while so many agents are connected and each sent a batch."""
    definitions = series()[:NODE_SERIES]
    gate = asyncio.Semaphore(CONNECTIONS_AT_A_TIME)
    senders = [running.sender(NODE) for _ in range(CONNECTIONS)]

    async def connect(place: int) -> None:
        async with gate:
            await senders[place].start()
            senders[place].offer(batch(time.time_ns(), definitions))
            await senders[place].drained()

    await asyncio.gather(*(connect(place) for place in range(CONNECTIONS)))
    connected = running.metrics()["telemetry_collector_connections"]
    resident_mb = running.resident_mb()
    for sender in senders:
        await sender.stop()
    over = f"{connected:,.0f} connections, {POINTS:,} points of {NODE_SERIES} series from each"
    return Figure("resident memory, 1,000 connections", resident_mb, "MB", 500, spread=over)


async def _send(offer: Callable[[Batch], object], definitions: list[Definition], seconds: float) -> None:
    """A batch each so often, by the clock: a slow answer does not slow the sending down."""
    interval = POINTS / RATE
    start = time.monotonic()
    for tick in range(int(seconds / interval)):
        await asyncio.sleep(max(start + tick * interval - time.monotonic(), 0))
        offer(batch(time.time_ns(), definitions))


def _rows(dataset: Path) -> int:
    rows = 0
    for path in dataset.glob("date=*/hour=*/*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # compacted meanwhile
            rows += pq.read_metadata(path).num_rows
    return rows
