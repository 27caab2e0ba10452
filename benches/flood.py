"""How much one peer that floods slows others down: answers' latency of well-behaved agents, alone and beside a flood."""

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
from benches.peers import KINDS, TimedPeer
from telemetry_collector.security.authority import Authority

AGENTS = 5
BATCHES_PER_SEC = 10.0
POINTS = 100
ROUNDS = int(os.environ.get("ROUNDS", "3"))
PHASE_SECS = float(os.environ.get("PHASE_SECS", "8"))
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
    with tempfile.TemporaryDirectory() as directory, collector(Path(directory), "agent-0") as running:
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
    if "RT" in os.environ:
        for thread in psutil.Process(running.pid).threads():
            os.sched_setscheduler(thread.id, os.SCHED_RR, os.sched_param(10))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)


async def _phases(running: Collector) -> list[Figure]:
    gc.collect()
    gc.freeze()  # the garbage of this process is not to be measured
    agents = [TimedPeer(f"agent-{number}", POINTS, BATCHES_PER_SEC) for number in range(AGENTS)]
    now: dict[str, bool] = {"recording": False}
    tasks = [
        asyncio.create_task(agent.run(running.address.port, running.certs, lambda: now["recording"]))
        for agent in agents
    ]
    latencies: dict[str, list[float]] = {kind: [] for kind in ("alone", *KINDS)}

    async def record(kind: str) -> None:
        now["recording"] = True
        await asyncio.sleep(PHASE_SECS)
        now["recording"] = False
        for agent in agents:
            latencies[kind] += agent.latencies_ms
            agent.latencies_ms.clear()
        for task in tasks:
            if task.done():
                task.result()

    await asyncio.sleep(SETTLE_SECS)
    for _ in range(ROUNDS):
        for kind in os.environ.get("KINDS", ",".join(KINDS)).split(","):
            await record("alone")
            async with _flood(kind, running):
                await asyncio.sleep(SETTLE_SECS)
                m0 = running.metrics()
                before = psutil.Process(running.pid).cpu_times()
                await record(kind)
                after = psutil.Process(running.pid).cpu_times()
                if "VERBOSE" in os.environ:
                    used = (after.user + after.system - before.user - before.system) / PHASE_SECS
                    m1 = running.metrics()
                    from benches.collector import quantile_ms

                    st = "telemetry_collector_receive_to_stable_seconds"
                    print(
                        "stable p50 %.2f p99 %.2f" % (quantile_ms(m0, m1, st, 0.5), quantile_ms(m0, m1, st, 0.99)),
                        file=sys.stderr,
                    )
                    xs = sorted(latencies[kind])
                    al = sorted(latencies["alone"])
                    print(
                        kind,
                        f"cpu {used:.2f}",
                        "p50 %.2f p99 %.2f max %.1f | alone p50 %.2f p99 %.2f max %.1f"
                        % (
                            _quantile(xs, 0.5),
                            _quantile(xs, 0.99),
                            xs[-1],
                            _quantile(al, 0.5),
                            _quantile(al, 0.99),
                            al[-1],
                        ),
                        len(xs),
                        file=sys.stderr,
                    )
            await asyncio.sleep(SETTLE_SECS)
    if "VERBOSE" in os.environ:
        print(
            {
                k: v
                for k, v in running.metrics().items()
                if v
                and any(
                    w in k
                    for w in (
                        "refused_total",
                        "dropped_total",
                        "retr",
                        "quota",
                        "closed_total",
                        "failed_total",
                        "batches_answered",
                    )
                )
            },
            file=sys.stderr,
        )
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return list(_figures(latencies))


@contextlib.asynccontextmanager
async def _flood(kind: str, running: Collector) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "benches.peers", kind, str(running.address.port), str(running.certs), FLOOD_NODE]
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
