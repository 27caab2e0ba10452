"""A fleet that comes back at once: how long until all of it is in, and what who is in already notices of it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.figures import Figure
from telemetry_collector._core import QuicLoad
from telemetry_collector.bench.children import CollectorChild, on_processors
from telemetry_collector.bench.frames import Lane, framed, prepare
from telemetry_collector.bench.plan import Plan, Transport
from telemetry_collector.bench.reference import READING_MS, Fleet
from telemetry_collector.bench.site import Credentials, Site
from telemetry_collector.loopback import free_port
from telemetry_collector.sender.over_quinn import credentials

AGENTS = 2_000
EARLY = 5
"""Of these, so many are in before, and send."""
BATCHES_PER_SEC = 20.0
AT_A_TIME = 32
"""Handshakes that one load of the core has under way; so many loads begin at once that all agents do."""
ROUNDS = 3
ALONE_SECS = 5.0
IN_SECS_MAX = 60.0
LOOK_SECS = 0.01


@dataclass(frozen=True, slots=True)
class _Round:
    in_secs: float
    cpu_secs: float
    alone_ms: tuple[float, float]
    meanwhile_ms: tuple[float, float]


def measure() -> Iterator[Figure]:
    """Each listener in turn, and again; medians."""
    gc.collect()
    gc.freeze()
    rounds: dict[Transport, list[_Round]] = {"aioquic": [], "quinn": []}
    for _ in range(ROUNDS):
        for transport in rounds:
            with tempfile.TemporaryDirectory() as directory:
                rounds[transport].append(asyncio.run(_round(transport, Path(directory))))
    for transport, found in rounds.items():
        yield from _figures(transport, found)


async def _round(transport: Transport, directory: Path) -> _Round:
    plan = Plan(transport=transport, agents=AGENTS, batch_points=100, writers=(), rate=1_000.0, seconds=1.0)
    site = Site(directory / "site", plan)
    made = site.credentials()
    start_ms = time.time_ns() // 1_000_000 - 60 * READING_MS
    fleet = Fleet(plan.agents, plan.series, plan.batch_points, start_ms)
    lanes = prepare(plan, fleet, [one.identity for one in made], lambda _done, _of: None, 1)
    port, metrics_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    site.configure(port, metrics_port, None)
    collector = CollectorChild(site.document, metrics_port, site.collector_log)
    cpus = sorted(os.sched_getaffinity(0))
    try:
        with on_processors(cpus[:1]):
            await collector.start()
        with on_processors(cpus[1:] or cpus):
            return await asyncio.to_thread(_arrivals, collector, port, site, made, lanes)
    finally:
        await collector.abort()


def _arrivals(
    collector: CollectorChild, port: int, site: Site, made: Sequence[Credentials], lanes: Sequence[Lane]
) -> _Round:
    def load(part: slice) -> QuicLoad:
        return _load(port, site, made[part], lanes[part])

    alone = load(slice(0, EARLY))
    _until_in([alone], EARLY)
    alone.begin()
    time.sleep(ALONE_SECS)
    alone.stop(5.0)
    early = load(slice(EARLY, 2 * EARLY))
    _until_in([early], EARLY)
    cpu, began = collector.cpu_secs(), time.monotonic()
    early.begin()
    late = [load(slice(first, min(first + AT_A_TIME, AGENTS))) for first in range(2 * EARLY, AGENTS, AT_A_TIME)]
    _until_in(late, AGENTS - 2 * EARLY)
    in_secs, cpu_secs = time.monotonic() - began, collector.cpu_secs() - cpu
    early.stop(5.0)
    found = _Round(in_secs, cpu_secs, _latencies_ms(alone), _latencies_ms(early))
    for one in late:
        one.stop(0.0)
    return found


def _load(port: int, site: Site, made: Sequence[Credentials], lanes: Sequence[Lane]) -> QuicLoad:
    return QuicLoad(
        "127.0.0.1",
        port,
        server_name="127.0.0.1",
        agents=[
            (
                credentials(one.certificate, one.key, site.authority),
                lane.epoch,
                [framed(prepared.first) for prepared in lane.batches],
                [framed(prepared.again) for prepared in lane.batches],
            )
            for one, lane in zip(made, lanes, strict=True)
        ],
        batches_per_sec=BATCHES_PER_SEC,
        connect_timeout_secs=IN_SECS_MAX,
    )


def _until_in(loads: Sequence[QuicLoad], count: int) -> None:
    until = time.monotonic() + IN_SECS_MAX
    while (connected := sum(load.poll()["connected"] for load in loads)) < count:
        faults = [fault for load in loads for fault in load.faults]
        if faults or time.monotonic() > until:
            raise RuntimeError(f"{connected} of {count} agents are in; {faults[:1] or 'the time is over'}")
        time.sleep(LOOK_SECS)


def _latencies_ms(load: QuicLoad) -> tuple[float, float]:
    return load.latency_secs(0.5) * 1e3, load.latency_secs(0.99) * 1e3


def _figures(transport: Transport, found: list[_Round]) -> Iterator[Figure]:
    found.sort(key=lambda one: one.in_secs)
    middle = found[len(found) // 2]
    spread = f"{found[0].in_secs:.2f} to {found[-1].in_secs:.2f} s of {len(found)} rounds"
    yield Figure(f"{AGENTS:,} agents at once, {transport}: all in after", middle.in_secs, "s", None, spread=spread)
    a_handshake = middle.cpu_secs / (AGENTS - 2 * EARLY) * 1e3
    yield Figure("the same, CPU of the collector a handshake", a_handshake, "ms", None)
    for name, place in (("p50", 0), ("p99", 1)):
        latency = middle.meanwhile_ms[place]
        alone = f"alone {middle.alone_ms[place]:.2f} ms"
        yield Figure(f"the same, answer to who is in, {name}", latency, "ms", None, spread=alone)
