"""Blocks as the core would hand them to a writer, made of plain points: for writers' tests, here and third parties'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from telemetry_collector.model import STANDARD_TAGS
from telemetry_collector.store.schema import points_schema

HOUR = 498_000
"""The hour that tests count from: 2026-10-24, 00:00 UTC."""


@dataclass(frozen=True)
class Point:
    """One point; a histogram or summary stands in place of the value."""

    name: str = "system.cpu.usage"
    value: float | None = 1.0
    tags: Mapping[str, str] = field(default_factory=lambda: {"node_id": "node-1"})
    timestamp_ns: int = HOUR * 3600 * 1_000_000_000
    type: str = "gauge"
    unit: str = "1"
    delta: bool = False
    histogram: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None


HISTOGRAM = Point(
    name="request.seconds",
    value=None,
    type="histogram",
    unit="s",
    histogram={"count": 6, "sum": 2.5, "min": 0.1, "max": 1.5, "bounds": [0.5, 1.0], "counts": [3, 2, 1]},
)
SUMMARY = Point(
    name="queue.seconds",
    value=None,
    type="summary",
    unit="s",
    summary={"count": 4, "sum": 3.0, "quantiles": [0.5, 0.9], "values": [0.4, 1.25]},
)


@dataclass(frozen=True)
class FakeLines:
    """Line protocol, made here."""

    chunks: list[bytes]
    lines: int
    rewritten: int = 0


@dataclass(frozen=True)
class FakeRequests:
    """Requests of a protocol of our own: lines."""

    bodies: list[bytes]
    points: list[int]
    rewritten: int = 0


@dataclass(frozen=True)
class FakeBlocks:
    """The points of the journal's range [start, end), each of the batch named by `sequence`."""

    points_list: Sequence[Point]
    start: int = 0
    end: int = 100
    hour: int = HOUR
    sequence: int = 1
    second: int = 0
    """Of receipt, within the hour."""

    batches: int = 1
    rewritten: int = 0

    @property
    def points(self) -> int:
        return len(self.points_list)

    @property
    def received_first_us(self) -> int:
        return (self.hour * 3600 + self.second) * 1_000_000

    @property
    def received_last_us(self) -> int:
        return self.received_first_us

    def record_batch(self, timestamp_unit: Literal["us", "ns"] = "us") -> pa.RecordBatch:
        divisor = {"us": 1000, "ns": 1}[timestamp_unit]
        rows = [self._row(point, divisor) for point in self.points_list]
        return pa.RecordBatch.from_pylist(rows, schema=points_schema(timestamp_unit))

    def line_protocol(self, bytes_max: int) -> FakeLines:
        chunks: list[bytes] = []
        for line in map(_line, self.points_list):
            if chunks and len(chunks[-1]) + len(line) <= bytes_max:
                chunks[-1] += line
            else:
                chunks.append(line)
        return FakeLines(chunks, self.points, self.rewritten)

    def otlp(self, bytes_max: int) -> FakeRequests:
        chunks = self.line_protocol(bytes_max).chunks
        return FakeRequests(chunks, [chunk.count(b"\n") for chunk in chunks], self.rewritten)

    def remote_write(self, bytes_max: int) -> FakeRequests:
        return self.otlp(bytes_max)

    def _row(self, point: Point, divisor: int) -> dict[str, Any]:
        return {
            "timestamp": point.timestamp_ns // divisor,
            "received": self.received_first_us * 1000 // divisor,
            "name": point.name,
            "type": point.type,
            "unit": point.unit,
            "value": point.value,
            "delta": point.delta,
            **{key: point.tags.get(key) for key in STANDARD_TAGS},
            "tags": [(key, value) for key, value in point.tags.items() if key not in STANDARD_TAGS],
            "histogram": point.histogram,
            "summary": point.summary,
            "identity": "spiffe://example.org/node/node-1",
            "epoch": 7,
            "sequence": self.sequence,
        }


def _line(point: Point) -> bytes:
    tags = "".join(f",{key}={value}" for key, value in sorted(point.tags.items()))
    if point.histogram is not None:
        fields = f"count={point.histogram['count']},sum={point.histogram['sum']}"
    elif point.summary is not None:
        fields = f"count={point.summary['count']},sum={point.summary['sum']}"
    else:
        fields = f"value={point.value}"
    return f"{point.name}{tags} {fields} {point.timestamp_ns}\n".encode()


def blocks_of(count: int, start: int, *, hour: int = HOUR, first: int = 0, second: int = 0) -> FakeBlocks:
    """`count` scalar points whose values are `first`, `first` + 1, …, in the range [start, start + count)."""
    points = [Point(value=float(value), tags={"node_id": f"node-{value % 3}"}) for value in range(first, first + count)]
    return FakeBlocks(points, start, start + count, hour, sequence=start + 1, second=second)
