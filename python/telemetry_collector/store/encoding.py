"""One Parquet file being written: rows go through the core's encoder as they come, and finished bytes to the disk.

Row groups are large, because each has its own dictionaries: groups of 25,000 rows take twice the bytes of groups of
500,000. The encoder holds what is finished of a group, not its rows, so that costs little memory
(docs/decisions/0020-our-own-parquet-encoder.md has the measurements).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, Literal

from telemetry_collector._core import PartEncoder
from telemetry_collector.component import ArrowRecordBatch, ArrowSchema
from telemetry_collector.store.durable import sync_file

Compression = Literal["snappy", "zstd", "none"]

ROW_GROUP_ROWS: Final = 1_048_576
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of what the encoder holds of a group. It is written as soon as it has so many rows or, within a few thousand rows,
bytes."""

# Columns that readers prune by; bounds of the others exclude nothing.
_STATISTICS: Final = ["timestamp", "received", "name", "node_id", "service", "epoch", "sequence"]
DISTRIBUTIONS: Final = {"histogram.count": "histogram", "summary.count": "summary"}
"""By whose nulls a reader knows, without a look at them, that a row group has no histograms or no summaries; most have
none."""


class PartFile:
    """A file of one schema, in the making. Not safe to use from two threads at a time."""

    def __init__(
        self, path: Path, schema: ArrowSchema, compression: Compression, group_rows_max: int = ROW_GROUP_ROWS
    ) -> None:
        self.path = path
        self.rows = 0
        self._encoder = PartEncoder(
            schema,
            compression=compression,
            statistics=[*_STATISTICS, *DISTRIBUTIONS],
            group_rows_max=group_rows_max,
            group_bytes_max=ROW_GROUP_BYTES,
        )
        # Without a buffer: what the encoder gives is large, or nothing.
        self._sink = path.open("wb", buffering=0)
        self._bytes = 0

    @property
    def file_bytes(self) -> int:
        """Bytes in the file so far; rows that still wait for their group are not in it."""
        return self._bytes

    def add(self, rows: ArrowRecordBatch) -> None:
        """Takes rows of the file's schema; writes a row group when enough have gathered."""
        self._write(self._encoder.push(rows))
        self.rows += rows.num_rows

    def finish(self) -> int:
        """Writes what is left and the footer, and puts all on stable storage. Returns the file's bytes."""
        self._write(self._encoder.finish())
        self._sink.close()
        sync_file(self.path)
        return self._bytes

    def discard(self) -> None:
        """Gives the file up and removes it. Safe after any failure, and after `finish`."""
        with contextlib.suppress(OSError):
            self._sink.close()
        self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            # The system may take a part of it: two gigabytes at a time at most, less where a disk becomes full.
            left = left[self._sink.write(left) :]
        self._bytes += len(data)
