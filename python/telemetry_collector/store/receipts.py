"""When the rows of a file of spans or log records were received. They have no batches' names: nothing else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RECEIVED: Final = "received"


def read_receipts(file: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """Rows, first and last receipt of each row group, in the file's unit. Other columns are decoded and let go.

    OSError or ArrowException where it cannot be read, ValueError where its columns are not of one length, or a row
    does not say when it was received.
    """
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        for name in file.schema_arrow.names:
            column = file.read_row_group(group, columns=[name], use_threads=False)
            if column.num_rows != rows:
                raise ValueError(f"column {name} has {column.num_rows} rows, and its row group {rows}")
            if name == RECEIVED and column[RECEIVED].null_count:
                raise ValueError(f"has rows without {RECEIVED}")
            if name == RECEIVED and rows:
                ends = pc.min_max(column[RECEIVED].cast(pa.int64()))
                yield rows, ends["min"].as_py(), ends["max"].as_py()
