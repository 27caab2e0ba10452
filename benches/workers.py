"""The workers: handling a heartbeat, asking for one, asking for all of ten thousand, and the API over HTTP.

The manager is measured by the processor time of its thread, alone. The API is in a process of its own, with ten
thousand workers that go on beating; one client over one connection asks it, then several side by side.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry

from benches.figures import Figure
from telemetry_collector.api.endpoint import ApiEndpoint
from telemetry_collector.api.workers import Heartbeat, TelemetryManager
from telemetry_collector.api.workers.worker import RUNNING_TASKS_MAX
from telemetry_collector.observe import logs

WORKERS = 10_000
HEARTBEAT_SECS = 10.0
"""Each beats so often, as agents do."""
HANDLED_MS, ONE_MS, ALL_MS, HTTP_P99_MS = 1.0, 1.0, 10.0, 5.0
ROUNDS = 200
REQUESTS = 3_000
CLIENTS = 8


def heartbeat(number: int, timestamp: int) -> Heartbeat:
    tasks = [(f"{number}-1", "training", "running", timestamp)]
    return Heartbeat(f"worker-{number}", f"worker-{number}", number % 100 / 100, 0.5, 0.75, tasks, timestamp)


def fleet() -> TelemetryManager:
    manager = TelemetryManager(workers_max=WORKERS)
    beat(manager, range(WORKERS))
    return manager


def beat(manager: TelemetryManager, workers: range) -> None:
    timestamp = time.time_ns()
    for number in workers:
        assert manager.process_heartbeat(heartbeat(number, timestamp))


def timed(work: Callable[[int], object]) -> tuple[float, float]:
    """Median and 99th percentile of the thread's milliseconds."""
    took = []
    for turn in range(ROUNDS):
        began = time.thread_time_ns()
        work(turn)
        took.append((time.thread_time_ns() - began) / 1e6)
    return statistics.median(took), sorted(took)[int(ROUNDS * 0.99)]


def measure() -> Iterator[Figure]:
    """The manager, then the API."""
    load = f"load average {os.getloadavg()[0]:.1f}"
    manager = fleet()

    def one(name: str, goal: float, work: Callable[[int], object]) -> Figure:
        median, p99 = timed(work)
        return Figure(f"workers: {name}", p99, "ms, p99", goal, spread=f"median {median:.4f} ms, {load}")

    yield one("a heartbeat", HANDLED_MS, lambda turn: beat(manager, range(turn, turn + 1)))

    def busy(turn: int) -> list[tuple[str, str, str, int]]:
        return [(f"{turn}-{number}", f"training-{number}", "running", number) for number in range(RUNNING_TASKS_MAX)]

    def busy_beat(tasks: list[tuple[str, str, str, int]]) -> None:
        assert manager.process_heartbeat(Heartbeat("worker-0", "worker-0", 0.5, 0.5, 0.5, tasks, time.time_ns()))

    given = [busy(turn) for turn in range(ROUNDS)]
    # The manager's own objects are collected meanwhile, not what stands ready here for it.
    gc.freeze()
    yield one("a heartbeat of 1,000 tasks", HANDLED_MS, lambda _: busy_beat(given[0]))
    yield one("a heartbeat of 1,000 tasks, all new", HANDLED_MS, lambda turn: busy_beat(given[turn]))
    yield one("one worker", ONE_MS, lambda turn: manager.get(f"worker-{turn}"))
    yield one("one worker as JSON", ONE_MS, lambda turn: manager.one_as_json(f"worker-{turn}"))

    def changed(turn: int) -> None:
        beat(manager, range(turn, turn + 1))
        manager.map_as_json()

    yield one(f"all of {WORKERS:,}, as objects", ALL_MS, lambda _: manager.get_all())
    yield one(f"all of {WORKERS:,} as JSON, one of them new", ALL_MS, changed)
    yield one(f"all of {WORKERS:,} as JSON, none new", ALL_MS, lambda _: manager.map_as_json())
    yield from over_http()


def over_http() -> Iterator[Figure]:
    """Requests to a process of its own."""
    with subprocess.Popen([sys.executable, "-m", "benches.workers"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            names = [f"/telemetry/worker-{random.randrange(WORKERS)}" for _ in range(REQUESTS)]
            yield _figure("GET /telemetry/{id}", asked(port, names), HTTP_P99_MS)
            yield _figure("GET /health", asked(port, ["/health"] * REQUESTS), HTTP_P99_MS)
            yield _figure(f"GET /workers, {WORKERS:,} of them", asked(port, ["/workers"] * 300), ALL_MS)
            began = time.monotonic()
            together = asyncio.run(side_by_side(port, names))
            rate = f"{len(together) / (time.monotonic() - began):,.0f} requests/s of {CLIENTS} clients"
            yield _figure(f"GET /telemetry/{{id}}, {CLIENTS} clients", together, HTTP_P99_MS, rate)
        finally:
            server.kill()


def _figure(name: str, took: list[float], goal: float | None, more: str = "") -> Figure:
    spread = f"median {statistics.median(took):.2f} ms, load average {os.getloadavg()[0]:.1f}"
    return Figure(
        f"API: {name}", sorted(took)[int(len(took) * 0.99)], "ms, p99", goal, spread=f"{spread} {more}".strip()
    )


def asked(port: int, paths: list[str]) -> list[float]:
    """Milliseconds of each request, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for path in paths:
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1e3)
        assert answer.status == 200
    connection.close()
    return took


async def side_by_side(port: int, paths: list[str]) -> list[float]:
    """The same by several clients at a time, each with a connection of its own."""

    async def ask(some: list[str]) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        took = []
        for path in some:
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(length)
            took.append((time.perf_counter() - began) * 1e3)
        writer.close()
        return took

    parts = [paths[place::CLIENTS] for place in range(CLIENTS)]
    return [one for part in await asyncio.gather(*map(ask, parts)) for one in part]


async def serve() -> None:
    """An API whose workers go on beating, until it is killed."""
    logs.configure("error", "json")
    manager = fleet()
    await manager.start()
    api = ApiEndpoint("127.0.0.1", 0, manager, CollectorRegistry(), version="bench")
    await api.start()
    sys.stdout.write(f"{api.port}\n")
    sys.stdout.flush()
    step = WORKERS // 100
    for turn in range(1_000_000):
        first = turn * step % WORKERS
        beat(manager, range(first, first + step))
        await asyncio.sleep(HEARTBEAT_SECS / 100)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
