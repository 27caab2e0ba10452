"""How the rows of a published part are read back, for each kind of dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.store.encoding import DISTRIBUTIONS
from telemetry_collector.store.format import Kind
from telemetry_collector.store.schema import DICTIONARY_COLUMNS

# Rows that are read back at a time.
_POINTS: Final = 65_536
_SIGNALS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Reading:
    """How parts of one kind are read."""

    dictionary_columns: tuple[str, ...]
    """Columns that are read back as dictionaries: a file is to be opened so."""
    row_group: Callable[[pq.ParquetFile, int], Iterator[pa.RecordBatch]]
    """A row group's rows, some at a time."""


def _points(file: pq.ParquetFile, index: int) -> Iterator[pa.RecordBatch]:
    """Distributions are read only where there are some: they would be half of the memory."""
    group = file.metadata.row_group(index)
    columns = (group.column(place) for place in range(group.num_columns))
    absent = {
        DISTRIBUTIONS[column.path_in_schema]
        for column in columns
        if column.path_in_schema in DISTRIBUTIONS
        and column.is_stats_set
        and column.statistics.has_null_count
        and column.statistics.null_count == group.num_rows
    }
    schema = file.schema_arrow
    present = [name for name in schema.names if name not in absent]
    for batch in file.iter_batches(_POINTS, row_groups=[index], columns=present, use_threads=False):
        filled = [
            pa.nulls(batch.num_rows, field.type) if field.name in absent else batch.column(field.name)
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(filled, schema=schema)


def _signals(file: pq.ParquetFile, index: int) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(_SIGNALS, row_groups=[index], use_threads=False)


READING: Final[Mapping[Kind, Reading]] = {
    "points": Reading(DICTIONARY_COLUMNS, _points),
    "traces": Reading((), _signals),
    "logs": Reading((), _signals),
}
