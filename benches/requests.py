"""What a point costs that comes by another protocol: processor time of the collector, over loopback, durable.

Each request brings 1,000 points (100 series of one of 100 nodes, ten readings, five tags) and is answered after its
commit; eight are under way at a time. Only the collector's own processor time counts, so the client may be slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from benches.collector import Collector, collector
from benches.figures import Figure
from telemetry_collector.listeners.requests import protobuf

NODES = 100
SERIES = 100
READINGS = 10
UNDER_WAY = 8
REQUESTS = 4_000
EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

Send = Callable[[bytes], Awaitable[None]]


def tags_of(node: int, series: int) -> dict[str, str]:
    """A resource's two, and three of the point's own."""
    return {
        "service.name": f"service-{node % 5}",
        "host.name": f"node-{node:04}",
        "gpu": str(series % 8),
        "rack": f"rack-{node % 16}",
        "job": f"training-{series % 13}",
    }


def name_of(series: int) -> str:
    """Of twenty metrics."""
    return f"gpu.metric_{series % 20}.value"


def value_of(series: int, reading: int) -> float:
    """With three decimals."""
    return (series * 7_919 + reading * 104_729) % 100_000 / 1_000


def _double(field: int, value: float) -> bytes:
    return protobuf.varint(field << 3 | 1) + struct.pack("<d", value)


def _fixed64(field: int, value: int) -> bytes:
    return protobuf.varint(field << 3 | 1) + struct.pack("<Q", value)


def otlp_request(node: int, now_ns: int) -> bytes:
    """A gauge a series, ten points each."""

    def attribute(field: int, key: str, value: str) -> bytes:
        return protobuf.message(field, protobuf.message(1, key) + protobuf.message(2, protobuf.message(1, value)))

    metrics = []
    for series in range(SERIES):
        own = list(tags_of(node, series).items())[2:]
        attributes = b"".join(attribute(7, key, value) for key, value in own)
        points = b"".join(
            protobuf.message(
                1, _fixed64(3, now_ns + reading * 1_000_000) + _double(4, value_of(series, reading)) + attributes
            )
            for reading in range(READINGS)
        )
        metrics.append(protobuf.message(2, protobuf.message(1, name_of(series)) + protobuf.message(5, points)))
    resource = b"".join(attribute(1, key, value) for key, value in list(tags_of(node, 0).items())[:2])
    return protobuf.message(1, protobuf.message(1, resource) + protobuf.message(2, b"".join(metrics)))


def lines_request(node: int, now_ns: int) -> bytes:
    """A line a point."""
    lines = []
    for series in range(SERIES):
        tags = ",".join(f"{key}={value}" for key, value in tags_of(node, series).items())
        lines += [
            f"{name_of(series)},{tags} value={value_of(series, reading)} {now_ns + reading * 1_000_000}\n"
            for reading in range(READINGS)
        ]
    return "".join(lines).encode()


def remote_write_request(node: int, now_ns: int) -> bytes:
    """A series with ten samples each, in snappy."""
    request = bytearray()
    for series in range(SERIES):
        labels = {"__name__": name_of(series).replace(".", "_"), **tags_of(node, series)}
        told = b"".join(
            protobuf.message(1, protobuf.message(1, key) + protobuf.message(2, value)) for key, value in labels.items()
        )
        samples = b"".join(
            protobuf.message(
                2, _double(1, value_of(series, reading)) + protobuf.number(2, now_ns // 1_000_000 + reading)
            )
            for reading in range(READINGS)
        )
        request += protobuf.message(1, told + samples)
    packed: bytes = pa.compress(bytes(request), codec="snappy", asbytes=True)
    return packed


@contextlib.asynccontextmanager
async def over_grpc(address: str) -> AsyncIterator[Send]:
    """Calls on one channel."""
    import grpc.aio

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(EXPORT)

        async def send(body: bytes) -> None:
            answer: bytes = await call(body)
            if answer:
                raise RuntimeError(f"not all was taken: {answer!r}")

        yield send


def over_http(path: str, headers: dict[str, str]) -> Callable[[str], contextlib.AbstractAsyncContextManager[Send]]:
    """Posts on kept connections."""

    @contextlib.asynccontextmanager
    async def opened(address: str) -> AsyncIterator[Send]:
        import aiohttp

        async with aiohttp.ClientSession() as session:

            async def send(body: bytes) -> None:
                async with session.post(f"http://{address}{path}", data=body, headers=headers) as answer:
                    if answer.status not in (200, 204):
                        raise RuntimeError(f"{answer.status}: {await answer.text()}")

            yield send

    return opened


CASES: dict[str, tuple[Callable[[int, int], bytes], Any, float | None]] = {
    "otlp_grpc": (otlp_request, over_grpc, 1.5),
    "otlp_http": (otlp_request, over_http("/v1/metrics", {"Content-Type": "application/x-protobuf"}), None),
    "influx": (lines_request, over_http("/write", {}), None),
    "remote_write": (
        remote_write_request,
        over_http("/api/v1/write", {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}),
        None,
    ),
}


async def _load(running: Collector, name: str) -> tuple[float, float]:
    """Points a second of the collector's processor time, in millions, and by the clock."""
    request_of, opened, _ = CASES[name]
    bodies = [request_of(node, time.time_ns()) for node in range(NODES)]
    process = psutil.Process(running.pid)

    def cpu_secs() -> float:
        times = process.cpu_times()
        return times.user + times.system

    async with opened(running.receivers[name]) as send:

        async def lane(first: int, requests: int) -> None:
            for number in range(first, requests, UNDER_WAY):
                await send(bodies[number % NODES])

        async def all_lanes(requests: int) -> None:
            await asyncio.gather(*(lane(first, requests) for first in range(UNDER_WAY)))

        await all_lanes(NODES)  # series are made known first
        before, began = cpu_secs(), time.perf_counter()
        await all_lanes(REQUESTS)
        points = REQUESTS * SERIES * READINGS / 1e6
        return points / (cpu_secs() - before), points / (time.perf_counter() - began)


def measure() -> Iterator[Figure]:
    """Each protocol, into the journal alone and into Parquet as well."""
    for name, (_, _, goal) in CASES.items():
        for parquet in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                receivers = tuple(CASES)
                with collector(Path(directory), "bench", quotas=False, parquet=parquet, receivers=receivers) as running:
                    of_cpu, by_clock = asyncio.run(_load(running, name))
            what = "journal and Parquet" if parquet else "journal"
            yield Figure(
                f"{name}, {what}: points a second of one core",
                of_cpu,
                "M",
                goal if not parquet else None,
                at_least=True,
                spread=f"{REQUESTS:,} requests, {by_clock:.2f} M points/s by the clock",
            )
