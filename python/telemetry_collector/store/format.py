"""What differs between datasets: columns, and who encodes them. Names, publishing and compaction are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.component import ArrowRecordBatch
from telemetry_collector.store.encoding import Compression, PartFile, read_row_group
from telemetry_collector.store.schema import DICTIONARY_COLUMNS, points_schema

TimestampUnit = Literal["us", "ns"]


class OpenPart(Protocol):
    """A Parquet file of one schema, in the making. Not safe to use from two threads at a time."""

    path: Path
    rows: int

    @property
    def file_bytes(self) -> int:
        """Bytes in the file so far; rows that still wait for their group are not in it."""

    def add(self, rows: pa.Table | ArrowRecordBatch) -> None:
        """Takes rows of the file's schema; writes a row group when enough have gathered."""

    def finish(self) -> int:
        """Writes what is left and the footer, and puts all on stable storage. Returns the file's bytes."""

    def discard(self) -> None:
        """Gives the file up and removes it. Safe after any failure, and after `finish`."""


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How the parts of a dataset are written and read back."""

    schema: Callable[[TimestampUnit], pa.Schema]
    dictionary_columns: tuple[str, ...]
    """Columns that are read back as dictionaries."""
    create: Callable[[Path, pa.Schema, Compression], OpenPart]
    read_row_group: Callable[[pq.ParquetFile, int], Iterator[pa.Table]]
    """A row group's rows, some at a time."""


POINTS: Final = PartFormat(points_schema, DICTIONARY_COLUMNS, PartFile, read_row_group)
"""Points of metrics, by the core's own encoder."""
