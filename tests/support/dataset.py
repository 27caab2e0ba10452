"""Filling a dataset in tests, and reading it as its users do: by DuckDB, over the files that a listing shows."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from tests.support.blocks import FakeBlocks
from tests.support.writing import JOURNAL_ID

from telemetry_collector.clock import Clock
from telemetry_collector.store.dataset import Dataset, Step
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.format import POINTS, OpenPart, PartFormat
from telemetry_collector.store.joining import HourJoiner
from telemetry_collector.store.part import PartName

GLOB = "date=*/hour=*/*.parquet"


def opened(root: Path, step: Step | None = None, clock: Clock | None = None) -> Dataset:
    dataset = Dataset(root, JOURNAL_ID, key="parquet.output_dir", clock=clock, **({"step": step} if step else {}))
    dataset.open()
    return dataset


def joiner(dataset: Dataset, part_format: PartFormat = POINTS) -> HourJoiner:
    """What makes files of a dataset's files, in the caller's own thread, with the dataset's steps."""
    return HourJoiner(part_format, step=lambda name: dataset.step(name))


def add(file: OpenPart, table: pa.Table) -> None:
    """All rows of a table."""
    for batch in table.to_batches():
        file.add(batch)


def publish(dataset: Dataset, blocks: FakeBlocks, journal_id: str = JOURNAL_ID) -> Path:
    """One part with these points."""
    rows = blocks.record_batch()
    file = PartFile(dataset.stage(".part"), rows.schema, "snappy")
    file.add(rows)
    file.finish()
    return dataset.publish(file.path, blocks.hour, PartName(journal_id, blocks.start, blocks.end))


def values(root: Path) -> list[float]:
    """The values of all points that readers see, sorted."""
    query = f"SELECT value FROM read_parquet('{root}/{GLOB}') ORDER BY value"  # a test's own path
    with duckdb.connect() as connection:
        return [value for (value,) in connection.execute(query).fetchall()]


def paths(root: Path) -> list[Path]:
    """All files that readers see, sorted."""
    return sorted(root.glob(GLOB))


def names(root: Path) -> list[str]:
    """Names of all files that readers see, sorted."""
    return sorted(path.name for path in paths(root))


def staged(root: Path) -> list[str]:
    """What is left in the staging directory."""
    return sorted(path.name for path in (root / ".staging").iterdir())
