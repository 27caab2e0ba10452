"""What differs between datasets: columns, and who encodes them. Names, publishing and compaction are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from telemetry_collector.component import ArrowRecordBatch, ArrowSchema
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.store.encoding import Compression, PartFile

Kind = Literal["points", "traces", "logs"]


class PartError(TelemetryCollectorError):
    """A part cannot be read, encoded or joined with others; the text names it and says why."""


class OpenPart(Protocol):
    """A Parquet file of one schema, in the making. Not safe to use from two threads at a time."""

    path: Path
    rows: int

    @property
    def file_bytes(self) -> int:
        """Bytes in the file so far; rows that still wait for their group are not in it."""

    def add(self, rows: ArrowRecordBatch) -> None:
        """Takes rows of the file's schema; writes a row group when enough have gathered."""

    def finish(self) -> int:
        """Writes what is left and the footer, and puts all on stable storage. Returns the file's bytes."""

    def discard(self) -> None:
        """Gives the file up and removes it. Safe after any failure, and after `finish`."""


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How the parts of a dataset are written. How they are read back, which compaction does, is in `row_groups`."""

    kind: Kind
    create: Callable[[Path, ArrowSchema, Compression], OpenPart]
    """A new part of these columns. What it raises is OSError, CoreError or PartError."""


POINTS: Final = PartFormat("points", PartFile)
"""Points of metrics, by the core's own encoder."""
