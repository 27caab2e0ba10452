"""The whole system, as `telemetry-collector bench` measures it: a table of the runs that goals are set for."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benches.figures import Figure
from telemetry_collector.config.sections import Server

ROUNDS = 3
"""Of each run; the figures are their medians."""
SECONDS = 10
WAIT_SECS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a run, by its name in the JSON with dots between, and what it is to reach."""

    figure: str
    unit: str
    aioquic: float | None
    quinn: float | None
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One way to load a collector."""

    name: str
    options: tuple[str, ...]
    goals: tuple[Goal, ...]
    transports: tuple[str, ...] = ("aioquic", "quinn")


REFERENCE = ("--agents", "1000", "--connections", "4", "--pin")
"""The reference data set: 1,000 nodes of 100 series, batches of 1,000 points, the collector on one processor."""

RUNS = (
    Run(
        "accepted and journalled",
        (*REFERENCE, "--writers", "none"),
        (Goal("points_per_s", "points/s", 1.8e6, 4e6, at_least=True), Goal("wire_bytes_per_point", "bytes", 3, 3)),
    ),
    Run(
        "and in Parquet",
        (*REFERENCE, "--writers", "parquet"),
        (
            Goal("points_per_s", "points/s", 1.2e6, 3e6, at_least=True),
            Goal("cpu_s_per_million", "s a million points", None, 0.33),
            Goal("stored_bytes_per_point", "bytes", 3, 3),
            Goal("resident_mb", "MB", 250, 250),
        ),
    ),
    Run(
        "and in a database",
        (*REFERENCE, "--writers", "parquet,influxdb"),
        (
            Goal("points_per_s", "points/s", 50_000, 50_000, at_least=True),
            Goal("cpu_s_per_million", "s a million points", None, 0.6),
            Goal("resident_mb", "MB", 250, 250),
        ),
    ),
    Run(
        "50,000 points/s of 100 agents",
        ("--agents", "100", "--rate", "50000"),
        (Goal("ack_ms.p50", "ms", 1.5, 1.5), Goal("ack_ms.p99", "ms", 5, 5), Goal("ack_ms.p999", "ms", 20, 20)),
    ),
    Run(
        "1,000 agents, a batch of 100 points a second each",
        ("--agents", "1000", "--batch-points", "100", "--rate", "100000"),
        (Goal("resident_mb", "MB", 500, 150), Goal("cpu_share", "processors", None, 0.15)),
    ),
    Run(
        "10,000 idle connections",
        ("--agents", "10000", "--rate", "0"),
        (Goal("resident_mb", "MB", None, 1_000), Goal("handshakes_per_s", "a second", None, 1_000, at_least=True)),
        transports=("quinn",),
    ),
)


def measure() -> Iterator[Figure]:
    """Every run over every listener that this collector has."""
    transports = ("aioquic", "quinn") if "transport" in Server.model_fields else ("aioquic",)
    for run in RUNS:
        for transport in (name for name in run.transports if name in transports):
            yield from _figures(run, transport, [told(*run.options, "--transport", transport) for _ in range(ROUNDS)])


def told(*options: str) -> dict[str, Any]:
    """What one run of the command tells. An error when it could not verify what was stored."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        command = [sys.executable, "-m", "telemetry_collector", "bench", "--json", "--seconds", str(SECONDS)]
        ran = subprocess.run(
            [*command, "--data-dir", directory, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECS_MAX,
        )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(options)}: {ran.stdout}{ran.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _figures(run: Run, transport: str, found: list[dict[str, Any]]) -> Iterator[Figure]:
    for goal in run.goals:
        values = sorted(_value(one, goal.figure) for one in found)
        over = f"{ROUNDS} × {SECONDS} s, {values[0]:,.4g} to {values[-1]:,.4g}; {found[0]['acknowledged']:,} points"
        name = f"{transport}, {run.name}: {goal.figure}"
        wanted = goal.quinn if transport == "quinn" else goal.aioquic
        yield Figure(name, statistics.median(values), goal.unit, wanted, at_least=goal.at_least, spread=over)


def _value(found: dict[str, Any], path: str) -> float:
    value: Any = found
    for name in path.split("."):
        value = value[name]
    return float(value)
