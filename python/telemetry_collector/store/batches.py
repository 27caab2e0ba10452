"""Which batches a file's rows belong to, read one row group after the other.

The rows of a batch follow each other: they were one record of the journal. So a file is read as runs of rows that have
the same name and moment of receipt, and a name that comes again, even at once, is a second copy of its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from telemetry_collector.store.names import changes

Key = tuple[str, int]
"""An identity and an epoch, unsigned as agents have it."""

RUNS: Final = pa.schema([(name, pa.int64()) for name in ("key", "sequence", "received", "rows")])
"""A batch as a file holds it. `received` has the file's unit of time."""

_NAMING: Final = ["identity", "epoch", "sequence", "received"]


class Keys:
    """Numbers for keys, in the order in which they are met."""

    def __init__(self) -> None:
        self.known: list[Key] = []
        self._numbers: dict[Key, int] = {}

    def number(self, identity: str, epoch: int) -> int:
        """The key's number; of an epoch as it stands in a file, that is signed."""
        key = (identity, epoch % 2**64)
        number = self._numbers.setdefault(key, len(self.known))
        if number == len(self.known):
            self.known.append(key)
        return number


def read_batches(file: pq.ParquetFile, keys: Keys) -> Iterator[pa.Table]:
    """A file's batches, as `RUNS`, in order. Every other column is decoded too, and let go.

    `file` was opened with `identity` as a dictionary. OSError or ArrowException where it cannot be read, ValueError
    where a row does not say of which batch it is.
    """
    last = RUNS.empty_table()
    for group in range(file.num_row_groups):
        for name in file.schema_arrow.names:
            if name not in _NAMING:
                file.read_row_group(group, columns=[name], use_threads=False)
        rows = _rows(file.read_row_group(group, columns=_NAMING, use_threads=False), keys)
        runs = _runs(pa.concat_tables([last, rows]))
        # The last batch may go on in the next group.
        last = runs.slice(max(runs.num_rows - 1, 0))
        yield runs.slice(0, max(runs.num_rows - 1, 0))
    yield last


def _rows(table: pa.Table, keys: Keys) -> pa.Table:
    """A run for each row."""
    if not table.num_rows:
        return RUNS.empty_table()
    for name in _NAMING:
        if table[name].null_count:
            raise ValueError(f"has rows without {name}")
    table = table.unify_dictionaries().combine_chunks()
    identities = table["identity"].chunk(0)
    epochs = table["epoch"].chunk(0).dictionary_encode()
    count = pa.scalar(len(epochs.dictionary), pa.int64())
    pairs = pc.add(pc.multiply(identities.indices.cast(pa.int64()), count), epochs.indices).dictionary_encode()
    names, values = identities.dictionary.to_pylist(), epochs.dictionary.to_pylist()
    numbers = [
        keys.number(names[pair // len(values)], values[pair % len(values)]) for pair in pairs.dictionary.to_pylist()
    ]
    key = pa.array(numbers, pa.int64()).take(pairs.indices)
    received = table["received"].cast(pa.int64())
    return pa.table([key, table["sequence"], received, pa.repeat(pa.scalar(1, pa.int64()), len(key))], schema=RUNS)


def _runs(rows: pa.Table) -> pa.Table:
    """Neighbours of one batch become one."""
    if rows.num_rows < 2:
        return rows
    rows = rows.combine_chunks()
    starts = changes(rows, ("key", "sequence", "received"))
    before = pc.subtract(pc.cumulative_sum(rows["rows"]), rows["rows"]).take(starts)
    total = pa.array([pc.sum(rows["rows"]).as_py()], pa.int64())
    counts = pc.subtract(pa.chunked_array([*before.slice(1).chunks, total]), before)
    return rows.take(starts).set_column(3, RUNS.field("rows"), counts)
