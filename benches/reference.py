"""The points that every measurement sends: 1,000 series with five tags each, as one node would have them."""

from __future__ import annotations

from array import array

from telemetry_collector._core import Batch
from telemetry_collector.model import MetricType

POINTS = 1_000
NODE = "bench-node"

NAMES = ("system.cpu.usage", "system.memory.used", "system.disk.read", "system.network.received", "gpu.utilization")


Definition = tuple[str, tuple[tuple[str, str], ...], int, str, bool]
"""Name, tags, type, unit and delta, as `Batch` takes them."""


def series() -> list[Definition]:
    """The definitions of all series."""
    return [
        (
            NAMES[place % len(NAMES)],
            (
                ("node_id", NODE),
                ("region", "eu-central"),
                ("zone", f"eu-central-{place % 3}"),
                ("service", "training"),
                ("device", f"device-{place}"),
            ),
            int(MetricType.GAUGE),
            "1",
            False,
        )
        for place in range(POINTS)
    ]


def batch(timestamp_unix_ns: int, definitions: list[Definition], points: int = POINTS) -> Batch:
    """Readings of all series in turn until there are enough points; the values change with the time."""
    step = timestamp_unix_ns // 1_000_000
    return Batch(
        common_tags=(),
        series=definitions,
        series_index=array("I", (place % len(definitions) for place in range(points))),
        timestamps_unix_ns=array("q", [timestamp_unix_ns]) * points,
        values=array("d", ((step * 7 + place * 13) % 1_000 / 10 for place in range(points))),
    )
