"""Which batches are stored, by their names (identity, epoch, sequence), with how many rows and in how many copies.

A fleet's batches are many and their sequences dense, so they are kept as ranges of sequences that are alike, in
columns: what a range costs does not depend on how many batches it stands for, and no batch is a Python object. Only
ranges that meet another copy of themselves are taken apart one by one; a healthy dataset has none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

RANGES: Final = pa.schema([(name, pa.int64()) for name in ("key", "first", "last", "rows", "most", "copies")])
"""Ranges of batches of one key that are alike: the rows of each, in all copies together, the rows of its largest copy,
and the number of copies."""

_ONE: Final = pa.scalar(1, pa.uint64())
_ALIKE: Final = ("key", "rows", "most", "copies")
# So many ranges gather before they are sorted in, or as many as there are already, whichever is more.
_PENDING_MAX: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Names:
    """The stored batches of one identity and epoch: ascending ranges of sequences, both ends included."""

    first: memoryview[int]
    last: memoryview[int]
    rows: memoryview[int]
    """Of each batch of the range."""

    def __contains__(self, sequence: int) -> bool:
        return self.rows_of(sequence) > 0

    def rows_of(self, sequence: int) -> int:
        """Rows stored under this sequence; 0 when the batch is not stored."""
        place = bisect_right(self.first, sequence) - 1
        return self.rows[place] if place >= 0 and sequence <= self.last[place] else 0

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """(first, last, rows of each) of batches that follow each other and are alike, ascending."""
        return zip(self.first, self.last, self.rows, strict=True)

    @property
    def batches(self) -> int:
        """Distinct sequences."""
        return sum(last - first + 1 for first, last, _ in self.ranges())

    @property
    def points(self) -> int:
        """Rows of all batches."""
        return sum((last - first + 1) * rows for first, last, rows in self.ranges())

    @property
    def gaps(self) -> int:
        """Sequences between the first and the last that are not stored. Refused and abandoned batches leave some."""
        return self.last[-1] - self.first[0] + 1 - self.batches


class Ledger:
    """Ranges that gather, in any order. A key stands for an identity and epoch; what it means is the caller's."""

    def __init__(self) -> None:
        self._sorted = RANGES.empty_table()
        self._pending: list[pa.Table] = []
        self._pending_ranges = 0

    def add(self, ranges: pa.Table) -> None:
        """Takes ranges of the columns `RANGES`; those that were there before become copies."""
        self._pending.append(ranges)
        self._pending_ranges += ranges.num_rows
        if self._pending_ranges > max(_PENDING_MAX, self._sorted.num_rows):
            self.table()

    def table(self) -> pa.Table:
        """All ranges, sorted by key and sequence, none overlapping another and none touching one like itself."""
        if self._pending:
            gathered = pa.concat_tables([self._sorted, *self._pending])
            self._pending.clear()
            self._pending_ranges = 0
            self._sorted = _joined(_apart(gathered.sort_by([("key", "ascending"), ("first", "ascending")])))
        return self._sorted

    def doubled(self) -> tuple[int, int]:
        """Batches with more than one copy, and their rows beyond the largest copy."""
        found = self.table().filter(pc.field("copies") > 1)
        batches = pc.add(pc.subtract(found["last"], found["first"]), 1)
        extra = pc.multiply(batches, pc.subtract(found["rows"], found["most"]))
        return _total(batches), _total(extra)

    def names(self) -> Iterator[tuple[int, Names]]:
        """Every key and its batches, with the rows of the largest copy of each."""
        table = self.table().combine_chunks()
        if not table.num_rows:
            return
        columns = {name: _numbers(table[name]) for name in RANGES.names}
        keys, place = columns["key"], 0
        while place < len(keys):
            behind = bisect_right(keys, keys[place], place)
            yield keys[place], Names(*(columns[name][place:behind] for name in ("first", "last", "most")))
            place = behind


def changes(table: pa.Table, names: tuple[str, ...]) -> pa.Array:
    """Places of the rows that differ from the one before in one of the columns; 0 is always among them."""
    differs: Any = pa.scalar(False)
    for name in names:
        column = table[name]
        differs = pc.or_(differs, pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)))
    places = pc.add(pc.indices_nonzero(differs), _ONE)
    return pa.concat_arrays([pa.array([0], pa.uint64()), places])


def _joined(ranges: pa.Table) -> pa.Table:
    """Ranges that touch and are alike become one. Sorted, not overlapping."""
    if ranges.num_rows < 2:
        return ranges
    ranges = ranges.combine_chunks()
    # What follows on has the same distance from the sequences of all the ranges before it.
    before = pc.subtract(pc.cumulative_sum(_lengths(ranges)), _lengths(ranges))
    offset = pc.subtract(ranges["first"], before)
    starts = changes(ranges.append_column("offset", offset), (*_ALIKE, "offset"))
    ends = pc.subtract(pa.concat_arrays([starts.slice(1), pa.array([ranges.num_rows], pa.uint64())]), _ONE)
    joined = ranges.take(starts)
    return joined.set_column(2, RANGES.field("last"), ranges["last"].take(ends))


def _apart(ranges: pa.Table) -> pa.Table:
    """Ranges that overlap are cut where others begin and end, and what they share is added up. Sorted."""
    ahead, behind = ranges.slice(1), ranges.slice(0, max(ranges.num_rows - 1, 0))
    overlaps = pc.and_(pc.equal(ahead["key"], behind["key"]), pc.less_equal(ahead["first"], behind["last"]))
    keys = pc.unique(ahead["key"].filter(overlaps))
    if not len(keys):
        return ranges
    meets = pc.is_in(ranges["key"], value_set=keys)
    met = ranges.filter(meets)
    starts = [*changes(met, ("key",)).to_pylist(), met.num_rows]
    cut = [part for start, end in pairwise(starts) for part in _cut(met.slice(start, end - start))]
    doubled = pa.table([pa.array(column, pa.int64()) for column in zip(*cut, strict=True)], schema=RANGES)
    whole = pa.concat_tables([ranges.filter(pc.invert(meets)), doubled])
    return whole.sort_by([("key", "ascending"), ("first", "ascending")])


def _cut(ranges: pa.Table) -> list[tuple[int, ...]]:
    """Of one key."""
    key = ranges["key"][0].as_py()
    found = [tuple(row) for row in zip(*(ranges[name].to_pylist() for name in RANGES.names[1:]), strict=True)]
    cuts = sorted({first for first, *_ in found} | {last + 1 for _, last, *_ in found})
    parts: dict[int, tuple[int, int, int]] = {}
    for first, last, rows, most, copies in found:
        for place in range(bisect_left(cuts, first), bisect_right(cuts, last)):
            had = parts.get(place, (0, 0, 0))
            parts[place] = (had[0] + rows, max(had[1], most), had[2] + copies)
    return [(key, cuts[place], cuts[place + 1] - 1, *parts[place]) for place in sorted(parts)]


def _lengths(ranges: pa.Table) -> pa.ChunkedArray:
    return pc.add(pc.subtract(ranges["last"], ranges["first"]), 1)


def _total(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0


def _numbers(column: pa.ChunkedArray) -> memoryview[int]:
    """A column without nulls, in one chunk, as the numbers in its memory."""
    chunk = column.chunk(0)
    return memoryview(chunk.buffers()[1]).cast("q")[chunk.offset : chunk.offset + len(chunk)]
