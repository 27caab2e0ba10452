"""One Parquet file of spans or log records being written, by pyarrow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.component import ArrowRecordBatch, ArrowSchema
from telemetry_collector.store.durable import sync_file
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import PartError

ROW_GROUP_ROWS: Final = 262_144
ROW_GROUP_BYTES: Final = 64 * 1024 * 1024
"""Of Arrow's memory. A row group is written as soon as it has so many rows or bytes."""

# Columns that readers prune by; bounds of the others exclude nothing.
_STATISTICS: Final = ("received", "start", "timestamp", "name", "node_id", "service", "severity_number", "duration_ns")


class ArrowPartFile:
    """An `OpenPart` that pyarrow encodes."""

    def __init__(self, path: Path, schema: ArrowSchema, compression: Compression) -> None:
        self.path = path
        self.rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        columns = pa.schema(schema)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            columns,
            compression=compression,
            write_statistics=[name for name in _STATISTICS if name in columns.names],
            write_page_checksum=True,
        )

    @property
    def file_bytes(self) -> int:
        """See `OpenPart`."""
        return int(self._sink.tell())

    def add(self, rows: ArrowRecordBatch) -> None:
        """See `OpenPart`."""
        with self._faults():
            batch = pa.record_batch(rows)
            self._waiting.append(batch)
            self._waiting_rows += batch.num_rows
            self._waiting_bytes += batch.nbytes
            self.rows += batch.num_rows
            if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
                self._write_group()

    def finish(self) -> int:
        """See `OpenPart`."""
        with self._faults():
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
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._waiting_rows)
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowException as error:
            raise PartError(f"{self.path.name} cannot be encoded: {error}") from error
