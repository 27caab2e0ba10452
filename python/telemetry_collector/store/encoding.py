"""One Parquet file being written: rows go through the core's encoder as they come, and finished bytes to the disk.

Row groups are large, because each has its own dictionaries: groups of 25,000 rows take twice the bytes of groups of
500,000. The encoder holds what is finished of a group, not its rows, so that costs little memory
(docs/decisions/0020-our-own-parquet-encoder.md has the measurements).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector._core import PartEncoder
from telemetry_collector.component import ArrowRecordBatch
from telemetry_collector.store.durable import sync_file

Compression = Literal["snappy", "zstd", "none"]

ROW_GROUP_ROWS: Final = 1_048_576
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of what the encoder holds of a group. It is written as soon as it has so many rows or, within a few thousand rows,
bytes."""

# Rows that are read back at a time.
_READ_ROWS: Final = 65_536
# Columns that readers prune by; bounds of the others exclude nothing.
_STATISTICS: Final = ["timestamp", "received", "name", "node_id", "service", "epoch", "sequence"]
# By these a reader knows, without a look at them, that a row group has no histograms or no summaries; most have none.
_DISTRIBUTIONS: Final = {"histogram.count": "histogram", "summary.count": "summary"}


class PartFile:
    """A file of one schema, in the making. Not safe to use from two threads at a time."""

    def __init__(
        self, path: Path, schema: pa.Schema, compression: Compression, group_rows_max: int = ROW_GROUP_ROWS
    ) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0
        self._encoder = PartEncoder(
            schema,
            compression=compression,
            statistics=[*_STATISTICS, *_DISTRIBUTIONS],
            group_rows_max=group_rows_max,
            group_bytes_max=ROW_GROUP_BYTES,
        )
        self._sink = pa.OSFile(str(path), "wb")

    @property
    def file_bytes(self) -> int:
        """Bytes in the file so far; rows that still wait for their group are not in it."""
        return int(self._sink.tell())

    def add(self, rows: pa.Table | ArrowRecordBatch) -> None:
        """Takes rows of the file's schema; writes a row group when enough have gathered."""
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else (rows,):
            self._sink.write(self._encoder.push(batch))
        self.rows += rows.num_rows

    def finish(self) -> int:
        """Writes what is left and the footer, and puts all on stable storage. Returns the file's bytes."""
        self._sink.write(self._encoder.finish())
        size = self.file_bytes
        self._sink.close()
        sync_file(self.path)
        return size

    def discard(self) -> None:
        """Gives the file up and removes it. Safe after any failure, and after `finish`."""
        with contextlib.suppress(OSError):
            self._sink.close()
        self.path.unlink(missing_ok=True)


def read_row_group(file: pq.ParquetFile, index: int) -> Iterator[pa.Table]:
    """A row group's rows, some at a time, with text columns as dictionaries where the file was opened so.

    Distributions are read only where there are some: they would be half of the memory.
    """
    group = file.metadata.row_group(index)
    columns = (group.column(place) for place in range(group.num_columns))
    absent = {
        _DISTRIBUTIONS[column.path_in_schema]
        for column in columns
        if column.path_in_schema in _DISTRIBUTIONS
        and column.is_stats_set
        and column.statistics.has_null_count
        and column.statistics.null_count == group.num_rows
    }
    schema = file.schema_arrow
    present = [name for name in schema.names if name not in absent]
    for batch in file.iter_batches(_READ_ROWS, row_groups=[index], columns=present, use_threads=False):
        filled = [
            pa.nulls(batch.num_rows, field.type) if field.name in absent else batch.column(field.name)
            for field in schema
        ]
        yield pa.table(filled, schema=schema)
