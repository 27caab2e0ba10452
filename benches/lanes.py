"""What lanes are worth: the Parquet writer alone, fed from a journal that it is behind with, with one and with several.

Several million points of the hot path's reference data set are journalled first. Then writers with one lane and
as many as processors take turns with all of it, as the fan-out feeds them: read, hand over, flush at
the end. Wall time says what lanes bring, processor time what they cost.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from benches.figures import Figure
from benches.hotpath import NODES, POINTS, Node
from telemetry_collector._core import Cursor, Ingest, IngestSettings
from telemetry_collector.component import WriterContext
from telemetry_collector.observe.writer_events import WriterMetrics
from telemetry_collector.pipeline.consumer import READ_POINTS_MAX
from telemetry_collector.store.lanes import usable_lanes
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

FILLS: Final = 6
TURNS: Final = 5


def measure() -> Iterator[Figure]:
    """Medians of the turns."""
    walls: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    files: dict[int, int] = {}
    points = FILLS * NODES * POINTS
    with tempfile.TemporaryDirectory(dir=".") as directory:
        ingest = Ingest(IngestSettings(journal_dir=f"{directory}/journal", max_cardinality=200_000))
        try:
            start = _filled(ingest)
            cursor = ingest.cursor("bench")
            # The first turn, in which the series' codes are made, does not count.
            for turn in range(TURNS + 1):
                for lanes in sorted({1, usable_lanes()}):
                    cursor.seek(start)
                    root = Path(directory) / f"{turn}-{lanes}"
                    began, cpu_ns = time.monotonic(), time.process_time_ns()
                    asyncio.run(_write(cursor, root, ingest.journal_id, lanes, points))
                    files[lanes] = len(list(root.glob("date=*/hour=*/*.parquet")))
                    if turn:
                        walls.setdefault(lanes, []).append(time.monotonic() - began)
                        costs.setdefault(lanes, []).append((time.process_time_ns() - cpu_ns) / points)
        finally:
            ingest.close()
    for lanes, secs in walls.items():
        named = f"Parquet writer that is behind, lanes: {lanes}"
        spread = f"{TURNS} × {points:,} points, {points / max(secs):,.0f} to {points / min(secs):,.0f}"
        yield Figure(f"{named}", points / statistics.median(secs), "points/s", None, spread=spread)
        spread = f"{min(costs[lanes]):.1f} to {max(costs[lanes]):.1f}, {files[lanes]} files"
        yield Figure(f"{named}", statistics.median(costs[lanes]), "ns of processor time a point", None, spread=spread)


def _filled(ingest: Ingest) -> int:
    nodes = [Node(number, ingest) for number in range(NODES)]
    noise, start = random.Random(1), ingest.committed
    first_unix_ms = time.time_ns() // 1_000_000 - 600_000
    for number in range(FILLS):
        for node in nodes:
            node.stream.receive(node.frame(first_unix_ms + 10_000 * number, noise), time.time_ns())
        if not ingest.drain(60):
            raise RuntimeError("the journal did not commit within a minute")
        for node in nodes:
            node.stream.replies()
    return start


async def _write(cursor: Cursor, root: Path, journal_id: str, lanes: int, points: int) -> None:
    metrics = WriterMetrics(CollectorRegistry())
    context = WriterContext("parquet", journal_id, metrics.writer("parquet"))
    writer = ParquetWriter(ParquetConfig(output_dir=root), context, lanes=lanes)
    await writer.start(0)
    taken = 0
    try:
        while (blocks := await asyncio.to_thread(cursor.read, READ_POINTS_MAX)) is not None:
            taken += blocks.points
            await writer.write(blocks)
        await writer.flush()
    finally:
        await writer.stop()
    if taken != points:
        raise RuntimeError(f"{taken} points were written; expected {points}")
