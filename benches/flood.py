"""How much one peer that floods slows others down: the latency of agents' answers, alone and beside a flood."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil

from benches.collector import Collector, collector
from benches.figures import Figure
from benches.floods import FLOODS, TimedPeer
from telemetry_collector.security.authority import Authority

AGENTS = 5
BATCHES_PER_SEC = 10.0
POINTS = 100
ROUNDS = 3
PHASE_SECS = 6.0
SETTLE_SECS = 1.0
"""Between phases; nothing is recorded."""
RATIO_MAX = 2.0
FLOOD_NODE = "flood"

ABOUT = {
    "batches": "valid batches of 1,000 points, all windows full, RETRY_LATER ignored",
    "garbage": "frames that are no batch or too large, all windows full",
    "initials": "first datagrams as fast as a processor sends them",
    "reconnects": "connections begun and ended, 8 at a time",
}


def measure() -> Iterator[Figure]:
    """Phases in turn: alone, beside each kind of flood; and again."""
    with (
        tempfile.TemporaryDirectory() as directory,
        collector(Path(directory), "agent-0", flush_interval_secs=10) as running,
    ):
        authority = Authority.open(running.certs)
        for node in (*(f"agent-{number}" for number in range(1, AGENTS)), FLOOD_NODE):
            authority.issue_node(node)
        with _pinned(running):
            yield from asyncio.run(_phases(running))


@contextlib.contextmanager
def _pinned(running: Collector) -> Iterator[None]:
    """The collector on one processor, everything else on the others: load that shares its processor is no load."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        yield
        return
    for thread in psutil.Process(running.pid).threads():
        os.sched_setaffinity(thread.id, cpus[:1])
    os.sched_setaffinity(0, cpus[1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


async def _phases(running: Collector) -> list[Figure]:
    recording = asyncio.Event()
    gc.collect()
    gc.freeze()  # the garbage of this process is not to be measured
    agents = [TimedPeer(f"agent-{number}", POINTS, BATCHES_PER_SEC) for number in range(AGENTS)]
    tasks = [asyncio.create_task(agent.run(running.address.port, running.certs, recording.is_set)) for agent in agents]
    latencies: dict[str, list[float]] = {kind: [] for kind in ("alone", *FLOODS)}

    async def record(kind: str) -> None:
        recording.set()
        await asyncio.sleep(PHASE_SECS)
        recording.clear()
        for agent in agents:
            latencies[kind] += agent.latencies_ms
            agent.latencies_ms.clear()
        for task in tasks:
            if task.done():
                task.result()  # it never ends by itself: what it raised says why

    await asyncio.sleep(SETTLE_SECS)
    for _ in range(ROUNDS):
        for kind in FLOODS:
            await record("alone")
            async with _flood(kind, running):
                await asyncio.sleep(SETTLE_SECS)
                await record(kind)
            await asyncio.sleep(SETTLE_SECS)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return list(_figures(latencies))


@contextlib.asynccontextmanager
async def _flood(kind: str, running: Collector) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "benches.floods", kind, str(running.address.port), str(running.certs), FLOOD_NODE]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def _figures(latencies: dict[str, list[float]]) -> Iterator[Figure]:
    alone = sorted(latencies.pop("alone"))
    over = f"{len(alone):,} answers to batches of {POINTS} points"
    yield Figure("answer to an agent, nobody else, p50", _quantile(alone, 0.5), "ms", None, spread=over)
    yield Figure("the same, p99", _quantile(alone, 0.99), "ms", None, spread=over)
    for kind, found in latencies.items():
        found.sort()
        p99 = _quantile(found, 0.99)
        spread = f"p50 {_quantile(found, 0.5):.2f} ms, p99 {p99:.2f} ms, {len(found):,} answers: {ABOUT[kind]}"
        yield Figure(f"p99 beside a flood of {kind}", p99 / _quantile(alone, 0.99), "times", RATIO_MAX, spread=spread)


def _quantile(ordered: list[float], quantile: float) -> float:
    if not ordered:
        return float("inf")
    return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
