"""Turns the many small parts of a past period into few files of bounded size.

A period is `rotation_interval_secs` of receipt time, counted from 1970; one shorter than an hour divides its hour, a
longer one ends for all its hours at once. A period is compacted when it is over, its last parts had time to be
published, and the writer is not just catching up on it: it would be rewritten again and again. Only neighbours are
joined: parts of one journal whose ranges touch, of one period and one schema. Files that gain nothing by it stay as
they are, under the same name.

An hour is compacted aside, in the staging directory, and put in the place of the old one in a single step; parts that
are published into it meanwhile are carried along (see `Dataset.replace`). The old one is removed some time later.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.errors import CoreError
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import POINTS, PartFormat
from telemetry_collector.store.part import PartName, partition

_HOUR_SECS: Final = 3600
# An hour that failed, for want of room or for a damaged file, is left alone for so long.
_RETRY_SECS: Final = 300


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


@dataclass(frozen=True, slots=True)
class Compacted:
    """An hour in which so many files became fewer."""

    hour: int
    files: int
    into: int
    rows: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An hour that could not be compacted, and is as it was."""

    hour: int
    error: Exception


class Stopped(Exception):
    """Compaction was asked to end; the hour is as it was."""


def inspect(path: Path, part_format: PartFormat = POINTS) -> Part:
    """Reads a part's footer. ArrowInvalid, naming the file, when it is none."""
    name = PartName.parse(path.name)
    if name is None:
        raise pa.ArrowInvalid(f"{path} is not named like a part")
    try:
        with pq.ParquetFile(path, read_dictionary=list(part_format.dictionary_columns)) as file:
            metadata, schema = file.metadata, file.schema_arrow
            received = schema.get_field_index("received")
            groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
            first = min(group.column(received).statistics.min_raw for group in groups)
            units_per_us = {"us": 1, "ns": 1000}[schema.field(received).type.unit]
    except (pa.ArrowException, AttributeError, LookupError, ValueError) as error:
        raise pa.ArrowInvalid(f"{path} cannot be read as a part: {error}") from error
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


class Compactor:
    """Compacts one hour after the other, in the calling thread."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        compression: Compression,
        file_bytes_max: int,
        period_secs: int,
        settle_secs: float,
        part_format: PartFormat = POINTS,
    ) -> None:
        """`settle_secs`: how long after a period's end its last parts may still be published."""
        self._dataset = dataset
        self._format = part_format
        self._compression = compression
        self._file_bytes_max = file_bytes_max
        self._period_secs = period_secs
        self._settle_secs = settle_secs
        self._stop = threading.Event()
        # The state of a directory, by its hour, in which there was nothing left to do. Bounded by the dataset's hours.
        self._settled: dict[int, int] = {}
        # When an hour that failed may be tried again, by the hour.
        self._failed: dict[int, float] = {}

    def stop(self) -> None:
        """Makes `run`, now or later, end within a row group. Safe to call from any thread."""
        self._stop.set()

    def run(self, now_unix_secs: float, busy_us: int | None = None) -> Iterator[Compacted | Failed]:
        """Compacts all that is due, the oldest hour first; an hour that fails is reported and left as it was.

        The period of `busy_us`, microseconds since 1970, is left out: parts of it are still coming.
        """
        busy = None if busy_us is None else busy_us // 1_000_000 // self._period_secs
        self._dataset.remove_replaced()
        hours = self._dataset.hours()
        for memory in (self._settled, self._failed):
            for gone in memory.keys() - set(hours):
                del memory[gone]
        for hour in hours:
            if now_unix_secs < self._failed.get(hour, 0):
                continue
            try:
                done = self._compact(hour, now_unix_secs - self._settle_secs, busy)
            except Stopped:
                return
            except FileNotFoundError:
                continue  # retention or an operator removed the hour meanwhile
            except (OSError, pa.ArrowException, CoreError) as error:
                self._failed[hour] = now_unix_secs + _RETRY_SECS
                yield Failed(hour, error)
            else:
                if done is not None:
                    yield done
                    # After an outage there are many hours, and the old ones of all would need room for them twice.
                    self._dataset.remove_replaced()

    def _compact(self, hour: int, settled_unix_secs: float, busy: int | None) -> Compacted | None:
        directory = self._dataset.root / partition(hour)
        state = directory.stat().st_mtime_ns
        if self._settled.get(hour) == state or hour * _HOUR_SECS > settled_unix_secs:
            return None
        paths = self._dataset.files(hour)
        open_period = int(settled_unix_secs) // self._period_secs
        groups: list[list[Part]] = []
        if len(paths) > 1:
            periods = (
                (part, part.period(self._period_secs)) for part in (inspect(path, self._format) for path in paths)
            )
            past = [part for part, period in periods if period < open_period and period != busy]
            groups = plan(past, file_bytes_max=self._file_bytes_max, period_secs=self._period_secs)
        if not groups:
            first, last = hour * _HOUR_SECS // self._period_secs, ((hour + 1) * _HOUR_SECS - 1) // self._period_secs
            if last < open_period and (busy is None or not first <= busy <= last):
                self._settled[hour] = state
            return None
        return self._replace(hour, directory, groups)

    def _replace(self, hour: int, directory: Path, groups: list[list[Part]]) -> Compacted:
        staged = self._dataset.stage(".hour")
        staged.mkdir()
        try:
            joined = [self._join(directory, group, staged) for group in groups]
            # Only now, for an instant, do staged files look like parts: some readers search hidden directories too.
            for path in joined:
                path.rename(path.with_suffix(""))
            replaced = {str(part.name) for group in groups for part in group}
            self._dataset.replace(hour, staged, replaced)
        except BaseException:
            # Before the exchange this is the copy, after it the old directory: garbage either way.
            with contextlib.suppress(OSError):
                shutil.rmtree(staged)
            raise
        rows = sum(part.rows for group in groups for part in group)
        return Compacted(hour, files=len(replaced), into=len(groups), rows=rows)

    def _join(self, directory: Path, group: list[Part], staged: Path) -> Path:
        """Streams the parts' row groups, in the journal's order, into one new file, `<name>.part`."""
        name = group[0].name
        for later in group[1:]:
            name = name.joined(later.name)
        self._dataset.step("compact: write")
        file = self._format.create(staged / f"{name}.part", group[0].schema, self._compression)
        try:
            for part in group:
                dictionaries = list(self._format.dictionary_columns)
                with pq.ParquetFile(directory / str(part.name), read_dictionary=dictionaries) as source:
                    for index in range(source.num_row_groups):
                        for rows in self._format.read_row_group(source, index):
                            if self._stop.is_set():
                                raise Stopped
                            file.add(rows)
            self._dataset.step("compact: finish")
            file.finish()
        except BaseException:
            file.discard()
            raise
        expected = sum(part.rows for part in group)
        if file.rows != expected:
            raise pa.ArrowInvalid(f"{name} would hold {file.rows} rows, its parts hold {expected}")
        return file.path
