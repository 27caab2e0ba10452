"""What joining an hour of parts holds in memory, and the processor time that it takes, in a process of its own."""

from __future__ import annotations

import functools
import json
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Final

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benches.figures import Figure
from telemetry_collector.store.compaction import Compacted, Compactor
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.format import POINTS
from telemetry_collector.store.joining import HourJoiner
from telemetry_collector.store.part import PartName
from telemetry_collector.store.schema import points_schema

JOURNAL_ID: Final = "00112233445566778899aabbccddeeff"
HOUR: Final = 490_000
MEMORY_MB: Final = 200.0
CPU_SECS_A_MILLION: Final = 0.3
SAMPLE_SECS: Final = 0.002
_TIME: Final = HOUR * 3_600_000_000
_HISTOGRAM: Final = {
    "count": 160,
    "sum": 80.5,
    "min": 0.1,
    "max": 9.5,
    "bounds": [float(bound) for bound in range(15)],
    "counts": [10] * 16,
}


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of parts."""

    title: str
    parts: int
    rows: int
    """In each part."""
    series: int
    histograms: float = 0.0
    """The share of rows that are histograms of sixteen buckets."""
    tag_values: int = 3
    """Distinct values of a tag that is not a column of its own."""


HOURS: Final = (
    Hour("360 parts of 50,000 rows, 1,000 series", parts=360, rows=50_000, series=1_000),
    Hour("360 parts of 50,000 rows, 100,000 series, each with a tag of its own", 360, 50_000, 100_000, 0.0, 100_000),
    Hour("6 parts of 1,572,864 rows, 10,000 series", parts=6, rows=1_572_864, series=10_000),
    Hour("60 parts of 100,000 rows, a fifth of them histograms", 60, 100_000, 10_000, 0.2),
)


def measure() -> Iterator[Figure]:
    """Each hour is written here and joined by another process."""
    for hour in HOURS:
        with tempfile.TemporaryDirectory(dir=".") as directory:
            write(Path(directory), hour)
            command = [sys.executable, "-m", "benches.compaction", directory]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(printed)
        rows = hour.parts * hour.rows
        over = f"{rows:,} rows into {found['files']}; at rest {found['base_mb']:.0f} MB, peak {found['peak_mb']:.0f} MB"
        name = f"compaction: {hour.title}"
        yield Figure(f"{name}: memory", found["peak_mb"] - found["base_mb"], "MB", MEMORY_MB, spread=over)
        yield Figure(f"{name}: CPU", found["cpu_secs"] / (rows / 1e6), "s a million rows", CPU_SECS_A_MILLION)


def write(root: Path, hour: Hour) -> None:
    """The parts, as the writer would have published them."""
    dataset = Dataset(root, JOURNAL_ID, key="bench")
    dataset.open()
    try:
        for part in range(hour.parts):
            file = PartFile(dataset.stage(".part"), points_schema(), "snappy")
            for first in range(0, hour.rows, 50_000):
                for batch in rows_of(hour, part, first, min(50_000, hour.rows - first)).to_batches():
                    file.add(batch)
            file.finish()
            dataset.publish(file.path, HOUR, PartName(JOURNAL_ID, part * 1_000 + 1, part * 1_000 + 1_001))
    finally:
        dataset.close()


def rows_of(hour: Hour, part: int, first: int, count: int) -> pa.Table:
    """Readings of the hour's series, one after the other."""
    rows = _template(hour, (part * hour.rows + first) % hour.series, count)
    start = _TIME + part * (3_600_000_000 // hour.parts) + first * 50
    received = pc.add(pa.array(range(count), pa.int64()), start)
    columns = {
        "timestamp": pc.subtract(received, 1_000_000),
        "received": received,
        "value": pc.if_else(rows["is_histogram"], None, pc.random(count, initializer=part)),
        "sequence": pa.array([part] * count, pa.int64()),
    }
    schema = points_schema()
    arrays = [columns[field.name] if field.name in columns else rows[field.name] for field in schema]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema)


@functools.lru_cache(maxsize=4)
def _template(hour: Hour, first: int, count: int) -> dict[str, pa.Array]:
    """The columns that come again and again."""
    schema = points_schema()
    series = [place % hour.series for place in range(first, first + count)]
    is_histogram = [place * 2_654_435_761 % 1_000 < hour.histograms * 1_000 for place in range(count)]
    nodes = [number // 100 for number in series]
    texts = {
        "name": [f"system.metric_{number % 100}" for number in series],
        "type": ["histogram" if one else "gauge" for one in is_histogram],
        "unit": [f"unit{number % 7}" for number in series],
        "node_id": [f"node-{node:05}" for node in nodes],
        "region": [f"region-{node % 4}" for node in nodes],
        "zone": [f"zone-{node % 12}" for node in nodes],
        "service": [f"service-{node % 9}" for node in nodes],
        "version": [f"1.{node % 2}" for node in nodes],
        "identity": [f"spiffe://fleet/node-{node:05}" for node in nodes],
    }
    tags = [[("device", f"device-{number % hour.tag_values}"), ("rack", f"rack-{number % 5}")] for number in series]
    histograms = [_HISTOGRAM if one else None for one in is_histogram]
    columns = {name: pa.array(values).dictionary_encode() for name, values in texts.items()}
    return columns | {
        "is_histogram": pa.array(is_histogram),
        "delta": pa.array([False] * count),
        "tags": pa.array(tags, schema.field("tags").type),
        "histogram": pa.array(histograms, schema.field("histogram").type),
        "summary": pa.nulls(count, schema.field("summary").type),
        "epoch": pa.array([7] * count, pa.int64()),
    }


def join(root: Path) -> None:
    """Compacts the hour and prints what that took."""
    process = psutil.Process()
    dataset = Dataset(root, JOURNAL_ID, key="bench")
    dataset.open()
    compactor = Compactor(
        dataset, HourJoiner(POINTS), compression="snappy", file_bytes_max=1 << 30, period_secs=3600, settle_secs=0
    )
    base = peak = process.memory_info().rss
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not finished.wait(SAMPLE_SECS):
            peak = max(peak, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    begun = process_time()
    done = list(compactor.run((HOUR + 2) * 3600.0))
    cpu_secs = process_time() - begun
    finished.set()
    watching.join()
    dataset.close()
    (compacted,) = done
    if not isinstance(compacted, Compacted):
        raise compacted.error
    peak = max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    figures = {"base_mb": base / 1e6, "peak_mb": peak / 1e6, "cpu_secs": cpu_secs, "files": compacted.into}
    print(json.dumps(figures))


if __name__ == "__main__":
    join(Path(sys.argv[1]))
