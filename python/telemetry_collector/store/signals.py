"""The datasets of traces and logs. Their columns are the core's to say; pyarrow encodes them.

The core's encoder is made for points, whose columns repeat themselves; spans and log records come a hundred times less
often, have maps in lists, and are none the worse for a library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector import _core
from telemetry_collector.component import ArrowRecordBatch
from telemetry_collector.store.durable import sync_file
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import PartFormat, TimestampUnit

Signal = Literal["traces", "logs"]

ROW_GROUP_ROWS: Final = 262_144
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of Arrow's memory. A row group is written as soon as it has so many rows or bytes."""

# Rows that are read back at a time.
_READ_ROWS: Final = 16_384
# Columns that readers prune by; bounds of the others exclude nothing.
_STATISTICS: Final = ("received", "start", "timestamp", "name", "node_id", "service", "severity_number", "duration_ns")


class ArrowPartFile:
    """An `OpenPart` that pyarrow encodes."""

    def __init__(self, path: Path, schema: pa.Schema, compression: Compression) -> None:
        self.path = path
        self.rows = 0
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression=compression,
            write_statistics=[name for name in _STATISTICS if name in schema.names],
            write_page_checksum=True,
        )

    @property
    def file_bytes(self) -> int:
        """See `OpenPart`."""
        return int(self._sink.tell())

    def add(self, rows: pa.Table | ArrowRecordBatch) -> None:
        """See `OpenPart`."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([pa.record_batch(rows)])
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        self.rows += table.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def finish(self) -> int:
        """See `OpenPart`."""
        self._write_group()
        self._writer.close()
        size = self.file_bytes
        self._sink.close()
        sync_file(self.path)
        return size

    def discard(self) -> None:
        """See `OpenPart`."""
        self._waiting.clear()
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._sink.close()
        self.path.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if self._waiting_rows:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._waiting_rows)
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0


def signal_schema(signal: Signal, timestamp_unit: TimestampUnit = "us") -> pa.Schema:
    """The columns of spans or of log records, in order."""
    return pa.record_batch(_core.Signals.no_rows(signal, timestamp_unit)).schema


def _read_row_group(file: pq.ParquetFile, index: int) -> Iterator[pa.Table]:
    for batch in file.iter_batches(_READ_ROWS, row_groups=[index], use_threads=False):
        yield pa.Table.from_batches([batch], file.schema_arrow)


def _format(signal: Signal) -> PartFormat:
    return PartFormat(partial(signal_schema, signal), (), ArrowPartFile, _read_row_group)


SIGNALS: Final[Mapping[Signal, PartFormat]] = {"traces": _format("traces"), "logs": _format("logs")}
"""By their names."""
