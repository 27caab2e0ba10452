"""The reference data set: made by a formula, so that every collector can be given the same and asked what it has.

Batch b is of node n = b mod agents. Each node reads its series once a second, and a batch is the next `batch_points` of
its readings, the oldest first and those of one moment together: with 100 series, 1,000 points are 10 readings.

    series     number s = series × n + j: 20 names, and as many services within a name as it takes (5 of 100 series)
    value      base + normal × 0.05 × base, rounded to 3 decimals, with base = (37 s mod 97) + 1
    tags       node_id, region (4, by n mod 4), zone (3 in each, by n mod 3), service, version (one a service)
    timestamp  whole milliseconds
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from telemetry_collector.sender import Batch, MetricType

NAMES: Final = (
    "system.cpu.usage",
    "system.cpu.load",
    "system.memory.used",
    "system.memory.cached",
    "system.swap.used",
    "system.disk.read",
    "system.disk.written",
    "system.disk.busy",
    "system.network.received",
    "system.network.sent",
    "system.network.errors",
    "process.threads",
    "process.open_files",
    "gpu.utilization",
    "gpu.memory.used",
    "gpu.temperature",
    "gpu.power",
    "request.rate",
    "request.duration",
    "queue.length",
)

READING_MS: Final = 1_000
"""Between two readings of a node."""
DECIMALS: Final = 3
_SPREAD: Final = 0.05


def node_name(number: int) -> str:
    """What a node is called."""
    return f"node-{number:05}"


Definition = tuple[str, tuple[tuple[str, str], ...], int, str, bool]
"""Name, tags, type, unit and delta, as `Batch` takes them."""


@dataclass(frozen=True, slots=True)
class Readings:
    """A batch before it is encoded."""

    definitions: list[Definition]
    places: array[int]
    """Of each point's series in `definitions`."""
    timestamps_ms: array[int]
    values: array[float]

    def batch(self) -> Batch:
        """The same for the encoder."""
        return Batch(
            common_tags=(),
            series=self.definitions,
            series_index=self.places,
            timestamps_unix_ns=array("q", (moment * 1_000_000 for moment in self.timestamps_ms)),
            values=self.values,
        )


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many nodes with so many series each, whose first reading was then."""

    agents: int
    series: int
    batch_points: int
    start_ms: int
    only_node: str | None = None
    """The name of a fleet's single node, where a certificate has it already."""

    def node(self, number: int) -> str:
        """A node's name, as in its certificate."""
        return self.only_node or node_name(number)

    def definition(self, node: int, place: int) -> Definition:
        """A series of a node."""
        services = -(-self.series // len(NAMES))
        service = place % services
        region = node % 4
        tags = (
            ("node_id", self.node(node)),
            ("region", f"region-{region}"),
            ("zone", f"region-{region}-{'abc'[node % 3]}"),
            ("service", f"service-{service}"),
            ("version", f"1.{service}.0"),
        )
        return NAMES[place // services], tags, int(MetricType.GAUGE), "1", False

    def readings(self, number: int) -> Readings:
        """Batch `number` of the data set, counted from 0; the same each time it is asked for."""
        node, of_node = number % self.agents, number // self.agents
        first, count = of_node * self.batch_points, self.batch_points
        distinct = [(first + step) % self.series for step in range(min(count, self.series))]
        places = array("I", (point % len(distinct) for point in range(count)))
        bases = [(37 * (self.series * node + place) % 97) + 1 for place in distinct]
        return Readings(
            definitions=[self.definition(node, place) for place in distinct],
            places=places,
            timestamps_ms=array(
                "q", (self.start_ms + READING_MS * (point // self.series) for point in range(first, first + count))
            ),
            values=_values([bases[place] for place in places], seed=number),
        )


def _values(bases: list[int], *, seed: int) -> array[float]:
    """Normally distributed about each base, by Box and Muller's transformation of a seeded uniform distribution."""
    uniform = pc.random(2 * len(bases), initializer=seed)
    radius = pc.sqrt(pc.multiply(-2.0, pc.ln(pc.subtract(1.0, uniform.slice(0, len(bases))))))
    normal = pc.multiply(radius, pc.cos(pc.multiply(2.0 * math.pi, uniform.slice(len(bases)))))
    base = pa.array(bases, pa.float64())
    values = pc.round(pc.add(base, pc.multiply(pc.multiply(normal, _SPREAD), base)), ndigits=DECIMALS)
    return array("d", values.to_pylist())
