"""Joins the parts of one hour: which of them, into what, and the new files. What readers see, it does not change.

Only neighbours are joined: parts of one journal whose ranges touch, of one period and one schema. Files that gain
nothing by it stay as they are, under the same name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.store.compaction import Joined, Stopped, Task
from telemetry_collector.store.dataset import Step, no_step
from telemetry_collector.store.format import PartError, PartFormat
from telemetry_collector.store.part import PartName
from telemetry_collector.store.row_groups import READING, Reading


@dataclass(frozen=True, slots=True)
class Part:
    """A published file, as far as planning needs it."""

    name: PartName
    file_bytes: int
    rows: int
    received_first_us: int
    schema: pa.Schema

    def period(self, period_secs: int) -> int:
        """The period in which its first point was received."""
        return self.received_first_us // 1_000_000 // period_secs


def inspect(path: Path, reading: Reading) -> Part:
    """Reads a part's footer. PartError, naming the file, when it is none."""
    name = PartName.parse(path.name)
    if name is None:
        raise PartError(f"{path} is not named like a part")
    try:
        with pq.ParquetFile(path, read_dictionary=list(reading.dictionary_columns)) as file:
            metadata, schema = file.metadata, file.schema_arrow
            received = schema.get_field_index("received")
            groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
            first = min(group.column(received).statistics.min_raw for group in groups)
            units_per_us = {"us": 1, "ns": 1000}[schema.field(received).type.unit]
    except (pa.ArrowException, AttributeError, LookupError, ValueError) as error:
        raise PartError(f"{path} cannot be read as a part: {error}") from error
    return Part(name, path.stat().st_size, metadata.num_rows, first // units_per_us, schema)


def plan(parts: Sequence[Part], *, file_bytes_max: int, period_secs: int) -> list[list[Part]]:
    """Groups of at least two neighbours, each to become one file of at most about `file_bytes_max`."""
    groups: list[list[Part]] = []
    group_bytes = 0
    for part in sorted(parts, key=lambda part: part.name):
        last = groups[-1][-1] if groups else None
        joins = (
            last is not None
            and group_bytes + part.file_bytes <= file_bytes_max
            and last.name.journal_id == part.name.journal_id
            and last.name.end == part.name.start
            and last.period(period_secs) == part.period(period_secs)
            and last.schema.equals(part.schema, check_metadata=True)
        )
        if joins:
            groups[-1].append(part)
            group_bytes += part.file_bytes
        else:
            groups.append([part])
            group_bytes = part.file_bytes
    return [group for group in groups if len(group) > 1]


def _nothing() -> None:
    pass


@final
class HourJoiner:
    """The `Joiner` that does the work itself, in the calling thread."""

    def __init__(
        self,
        part_format: PartFormat,
        *,
        moved: Callable[[], None] = _nothing,
        step: Step = no_step,
    ) -> None:
        """`moved` is called whenever it got on: with each footer, and with each few thousand rows. `step` is the
        dataset's."""
        self._format = part_format
        self._reading = READING[part_format.kind]
        self._moved = moved
        self._step = step
        self._stop = threading.Event()

    def join(self, task: Task) -> Joined:
        """See `Joiner`."""
        past = []
        for name in sorted(os.listdir(task.directory)):
            if PartName.parse(name) is not None:
                part = inspect(task.directory / name, self._reading)
                if task.due(part.period(task.period_secs)):
                    past.append(part)
                self._between()
        groups = plan(past, file_bytes_max=task.file_bytes_max, period_secs=task.period_secs)
        if groups:
            task.staged.mkdir()
        return Joined(
            into=tuple(self._join(task, group) for group in groups),
            replaced=frozenset(str(part.name) for group in groups for part in group),
            rows=sum(part.rows for group in groups for part in group),
        )

    def rest(self) -> None:
        """See `Joiner`. Nothing is held."""

    def stop(self) -> None:
        """See `Joiner`."""
        self._stop.set()

    def _between(self) -> None:
        if self._stop.is_set():
            raise Stopped
        self._moved()

    def _join(self, task: Task, group: list[Part]) -> str:
        """Streams the parts' row groups, in the journal's order, into one new file, `<name>.part`."""
        name = group[0].name
        for later in group[1:]:
            name = name.joined(later.name)
        self._step("compact: write")
        file = self._format.create(task.staged / f"{name}.part", group[0].schema, task.compression)
        try:
            for part in group:
                with pq.ParquetFile(
                    task.directory / str(part.name), read_dictionary=list(self._reading.dictionary_columns)
                ) as source:
                    for index in range(source.num_row_groups):
                        for rows in self._reading.row_group(source, index):
                            self._between()
                            file.add(rows)
            self._step("compact: finish")
            file.finish()
        except BaseException as error:
            file.discard()
            if isinstance(error, pa.ArrowException):
                raise PartError(f"{name} cannot be made: {error}") from error
            raise
        expected = sum(part.rows for part in group)
        if file.rows != expected:
            raise PartError(f"{name} would hold {file.rows} rows, its parts hold {expected}")
        return str(name)
