"""One Parquet file being written: gathers batches into row groups and bounds what they take in memory.

Row groups are as large as memory allows, because each has its own dictionaries: groups of 25,000 rows take twice the
bytes of groups of 500,000 (docs/decisions/0006-parquet-encoding.md has the measurements). Dictionaries are unified
within a group, or pyarrow falls back to plain strings where a column's second batch begins.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.store.durable import sync_file

Compression = Literal["snappy", "zstd", "none"]

ROW_GROUP_ROWS: Final = 524_288
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of the columns in memory, before encoding. A group is written as soon as it has so many rows or bytes: it exceeds
them by less than one of the tables that were added."""

_ZSTD_LEVEL: Final = 3
# Columns that readers prune by; statistics of the others cost a fifth of the writing and exclude nothing.
_STATISTICS: Final = ["timestamp", "received", "name", "node_id", "service", "epoch", "sequence"]
# By these a reader knows, without a look at them, that a row group has no histograms or no summaries; most have none.
_DISTRIBUTIONS: Final = {"histogram.count": "histogram", "summary.count": "summary"}


class PartFile:
    """A file of one schema, in the making. Not safe to use from two threads at a time."""

    def __init__(self, path: Path, schema: pa.Schema, compression: Compression) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression=compression,
            compression_level=_ZSTD_LEVEL if compression == "zstd" else None,
            write_statistics=[*_STATISTICS, *_DISTRIBUTIONS],
            # Without the Arrow schema in the file every reader sees dictionaries as the strings they are.
            store_schema=False,
            version="2.6",
            # So that a flipped bit is found by whoever reads the file with care, as `dataset verify` does.
            write_page_checksum=True,
        )

    @property
    def file_bytes(self) -> int:
        """Bytes in the file so far; rows that still wait for their group are not in it."""
        return int(self._sink.tell())

    def add(self, table: pa.Table) -> None:
        """Takes rows of the file's schema; writes a row group when enough have gathered."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self._pending_bytes += table.nbytes
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._write_group()
        self.rows += table.num_rows

    def finish(self) -> int:
        """Writes what is left and the footer, and puts all on stable storage. Returns the file's bytes."""
        self._write_group()
        # Without the Arrow schema the writer leaves the schema's own metadata out too.
        self._writer.add_key_value_metadata(self.schema.metadata or {})
        self._writer.close()
        size = self.file_bytes
        self._sink.close()
        sync_file(self.path)
        return size

    def discard(self) -> None:
        """Gives the file up and removes it. Safe after any failure, and after `finish`."""
        self._pending.clear()
        # A footer goes into the file before it is removed; the disk that is full refuses even that.
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError, pa.ArrowException):
            self._sink.close()
        self.path.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if not self._pending_rows:
            return
        table = pa.concat_tables(self._pending).unify_dictionaries()
        self._pending.clear()
        self._pending_rows = self._pending_bytes = 0
        self._writer.write_table(table, row_group_size=table.num_rows)


def read_row_group(file: pq.ParquetFile, index: int) -> pa.Table:
    """A row group's rows. Distributions are read only where there are some: they would be half of the memory."""
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
    read = file.read_row_group(index, [name for name in schema.names if name not in absent], use_threads=False)
    filled = [
        pa.nulls(group.num_rows, field.type) if field.name in absent else read.column(field.name) for field in schema
    ]
    return pa.table(filled, schema=schema)
