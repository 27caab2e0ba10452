"""What a point costs behind the network: from a frame's bytes to its row in a file and to its line, in one process.

The reference data set: 1,000 nodes with 100 series each (20 names in 5 services), batches of ten readings of all of a
node's series, five tags, three decimals. Stages run one after the other over the same points, each in the thread that
calls it, so that its processor time is its own; what the journal's threads take meanwhile is told apart.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benches.figures import Figure
from telemetry_collector._core import Batch, Blocks, Conversation, FrameEncoder, Ingest, IngestSettings
from telemetry_collector.model import MetricType
from telemetry_collector.pipeline.consumer import READ_POINTS_MAX
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.schema import points_schema
from telemetry_collector.writers.influxdb import InfluxConfig

NODES: Final = 1_000
NAMES: Final = 20
SERVICES: Final = 5
SERIES: Final = NAMES * SERVICES
READINGS: Final = 10
POINTS: Final = SERIES * READINGS
ROUNDS: Final = 3
EPOCH: Final = 7
REGIONS: Final = 4
ZONES: Final = 3
LINE_BYTES_MAX: Final = int(InfluxConfig.model_fields["batch_bytes"].default)

BUDGET_NS: Final = 333.0
"""Of everything up to the file, for three million points a second on one core."""


class Node:
    """One sender of the reference data set, and its stream into the collector."""

    def __init__(self, number: int, ingest: Ingest) -> None:
        region = f"region-{number % REGIONS}"
        tags = [
            (
                ("node_id", f"node-{number:04}"),
                ("region", region),
                ("zone", f"{region}-{number % ZONES}"),
                ("service", f"service-{service}"),
                ("version", f"1.{service}.0"),
            )
            for service in range(SERVICES)
        ]
        self._series = [
            (f"system.metric_{name:02}", tags[service], int(MetricType.GAUGE), "1", False)
            for name in range(NAMES)
            for service in range(SERVICES)
        ]
        self._bases = [(37 * (SERIES * number + place)) % 97 + 1 for place in range(SERIES)]
        self._encoder = FrameEncoder()
        self._sequence = 0
        self._index = array("I", range(SERIES)) * READINGS
        identity = f"spiffe://telemetry/node/node-{number:04}"
        self.stream: Conversation = ingest.conversation(identity, f"node-{number:04}", relay=False)

    def frame(self, first_unix_ms: int, noise: random.Random) -> bytes:
        """The next batch: ten readings, a second apart."""
        self._sequence += 1
        readings = (first_unix_ms + 1_000 * reading for reading in range(READINGS))
        times = (milliseconds * 1_000_000 for milliseconds in readings for _ in range(SERIES))
        values = (round(base + noise.gauss(0, 0.05 * base), 3) for _ in range(READINGS) for base in self._bases)
        batch = Batch(
            common_tags=(),
            series=self._series,
            series_index=self._index,
            timestamps_unix_ns=array("q", times),
            values=array("d", values),
        )
        return self._encoder.frame(batch, sequence=self._sequence, epoch=EPOCH)


class Costs:
    """Processor time of stages, nanoseconds a point, of each round."""

    def __init__(self) -> None:
        self._rounds: dict[str, list[float]] = {}

    def add(self, stage: str, cpu_ns: float, points: int) -> None:
        """A round of a stage took so much."""
        self._rounds.setdefault(stage, []).append(cpu_ns / points)

    def figures(self) -> Iterator[Figure]:
        """The median of each stage, and of the sums up to the file and up to the line."""
        medians = {stage: statistics.median(rounds) for stage, rounds in self._rounds.items()}
        for stage, rounds in self._rounds.items():
            spread = f"{len(rounds)} × {NODES * POINTS:,} points, {min(rounds):.1f} to {max(rounds):.1f}"
            yield Figure(stage, medians[stage], "ns a point", None, spread=spread)
        to_file = sum(cost for stage, cost in medians.items() if "line" not in stage)
        yield Figure("hot path: frame to Parquet, in all", to_file, "ns a point", BUDGET_NS)


def threads_cpu_ns() -> int:
    """Processor time of all threads of this process, those that ended not counted."""
    spent = 0
    for stat in Path("/proc/self/task").glob("*/schedstat"):
        spent += int(stat.read_text().split()[0])
    return spent


def measure() -> Iterator[Figure]:
    """Medians of a few rounds; the first one, in which all series are new, does not count."""
    costs = Costs()
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=".") as directory:
        settings = IngestSettings(journal_dir=f"{directory}/journal", max_cardinality=200_000, recent_bytes_max=2**28)
        ingest = Ingest(settings)
        try:
            cursor = ingest.cursor("bench")
            nodes = [Node(number, ingest) for number in range(NODES)]
            noise = random.Random(1)
            start_unix_ms = time.time_ns() // 1_000_000 - 60_000
            for number in range(ROUNDS + 1):
                frames = [node.frame(start_unix_ms + 10_000 * number, noise) for node in nodes]
                counted = costs if number else Costs()
                committed = ingest.committed
                _take(ingest, nodes, frames, counted)
                sizes["frames"] = sum(map(len, frames))
                sizes["journal"] = ingest.committed - committed
                blocks = _read(lambda: cursor.read(READ_POINTS_MAX), counted)
                sizes["Parquet"] = _write(blocks, Path(directory) / "part", counted)
                sizes["line protocol"] = _lines(blocks, counted)
                cursor.store(cursor.position)
        finally:
            ingest.close()
    yield from costs.figures()
    for name, size in sizes.items():
        goal = 3.0 if name == "Parquet" else None
        yield Figure(f"hot path: {name}", size / (NODES * POINTS), "bytes a point", goal)


def _take(ingest: Ingest, nodes: list[Node], frames: list[bytes], costs: Costs) -> None:
    points = NODES * POINTS
    now_unix_ns = time.time_ns()
    all_before, own_before = threads_cpu_ns(), time.thread_time_ns()
    replies = [node.stream.receive(frame, now_unix_ns) for node, frame in zip(nodes, frames, strict=True)]
    own_ns = time.thread_time_ns() - own_before
    if not ingest.drain(60):
        raise RuntimeError("the journal did not commit within a minute")
    costs.add("hot path: decode, admit, append", own_ns, points)
    costs.add("hot path: the journal's threads", threads_cpu_ns() - all_before - own_ns, points)
    # Some commits are faster than the return from the call.
    if not all(reply or node.stream.replies() for node, reply in zip(nodes, replies, strict=True)):
        raise RuntimeError("not every batch was answered")


def _read(read: Callable[[], Blocks | None], costs: Costs) -> list[Blocks]:
    before = time.thread_time_ns()
    blocks = []
    while (found := read()) is not None:
        blocks.append(found)
    points = sum(found.points for found in blocks)
    if points != NODES * POINTS:
        raise RuntimeError(f"{points} points were committed; expected {NODES * POINTS}")
    costs.add("hot path: read warm blocks", time.thread_time_ns() - before, points)
    return blocks


def _write(blocks: list[Blocks], path: Path, costs: Costs) -> int:
    arrow_ns = 0
    before = time.process_time_ns()
    file = PartFile(path, points_schema("us"), "snappy")
    for taken in blocks:
        began = time.thread_time_ns()
        rows = taken.record_batch("us")
        arrow_ns += time.thread_time_ns() - began
        file.add(rows)
    size = file.finish()
    costs.add("hot path: Arrow columns", arrow_ns, NODES * POINTS)
    costs.add("hot path: Parquet file", time.process_time_ns() - before - arrow_ns, NODES * POINTS)
    return size


def _lines(blocks: list[Blocks], costs: Costs) -> int:
    before = time.thread_time_ns()
    size = 0
    for taken in blocks:
        size += sum(map(len, taken.line_protocol(LINE_BYTES_MAX).chunks))
    costs.add("hot path: line protocol", time.thread_time_ns() - before, NODES * POINTS)
    return size
