"""Reads a dataset whole and says whether it keeps its promises: every file readable, every batch there once.

Of traces and logs, whose requests have no names, it says that no range of the journal is there twice.

Takes no lock and changes nothing. A collector may write and compact meanwhile: an hour that is exchanged while it is
read is read again, so that no batch is seen in its part and in the compacted file too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from telemetry_collector.errors import PermanentError, RetryableError
from telemetry_collector.store.batches import Key, Keys, read_batches
from telemetry_collector.store.dataset import STAGING
from telemetry_collector.store.names import RANGES, Ledger, Names
from telemetry_collector.store.part import PartName, hour_of
from telemetry_collector.store.receipts import read_receipts
from telemetry_collector.store.schema import SCHEMA_VERSION, SCHEMA_VERSION_KEY, points_schema
from telemetry_collector.store.signals import DATASET_KEY, SIGNALS, Signal, signal_schema

Progress = Callable[[int, int], object]
"""Called after each file with the files read so far and those known to be there."""

DOUBLES_MAX: Final = 100
"""Doubled batches that are named, with their files."""

# Reading an hour takes less time than compacting it: one that is exchanged over and over is not a collector's work.
_TRIES_MAX: Final = 10
_HOUR_SECS: Final = 3600


@dataclass(frozen=True, slots=True)
class Fault:
    """A file and what is wrong with it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Double:
    """A batch that is stored more than once."""

    identity: str
    epoch: int
    sequence: int
    copies: int
    rows: int
    """Of all copies together."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What one epoch of an identity has stored. Batches of epoch 0 have no names: they are only counted."""

    identity: str
    epoch: int
    batches: int
    points: int
    first: int | None
    last: int | None
    gaps: int | None
    """Sequences between the first and the last that are not stored. Refused and abandoned batches leave some."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. docs/dataset.md explains `as_json`, which has the same under the same names."""

    paths: list[str]
    files: int
    rows: int
    file_bytes: int
    unreadable: list[Fault]
    misplaced: list[Fault]
    """Files with rows that were received in another hour than their directory's."""
    overlapping: list[Fault]
    """Files that claim a range of the journal of which another one claims a part."""
    doubled_batches: int
    doubled_rows: int
    """Rows beyond the largest copy of each batch."""
    doubled: list[Double]
    """The first of them, at most `DOUBLES_MAX`."""
    across_batches: int
    """Batches that are in more than one of the datasets. A fail-over may leave some; a merge drops one by its name."""
    across_rows: int
    """Rows that such a merge drops."""
    identities: list[Sender]
    staged: list[str]
    """What is in the staging directories: in work, or left over where no collector runs."""
    unknown: list[str]
    """Files and directories that no collector has put there."""
    names: dict[Key, Names] = field(repr=False)
    """Every batch that has a name, with its rows; of one that is in several datasets, those of the one with most."""

    @property
    def ok(self) -> bool:
        """Every file can be read and is where it belongs, and nothing is in one dataset twice."""
        return not (self.unreadable or self.misplaced or self.overlapping or self.doubled_batches)

    def rows_of(self, identity: str, epoch: int, sequence: int) -> int:
        """Rows stored of a batch; 0 when it is not stored."""
        names = self.names.get((identity, epoch))
        return 0 if names is None else names.rows_of(sequence)

    def as_json(self) -> dict[str, Any]:
        """Everything but `names`."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "names"}
        lists = {name: value for name, value in values.items() if isinstance(value, list)}
        plain = {name: [item if isinstance(item, str) else asdict(item) for item in lists[name]] for name in lists}
        return {"ok": self.ok, **values, **plain}


def verify(paths: Sequence[str | Path], progress: Progress | None = None) -> Report:
    """Reads every file of these datasets, in the memory of one row group and of the names found.

    PermanentError for a path that is no directory, RetryableError for one that goes on changing.
    """
    roots = [Path(path) for path in paths]
    for root in roots:
        if not root.is_dir():
            raise PermanentError(f"{root} is no directory; expected a dataset's, the collector's parquet.output_dir")
    keys = Keys()
    readings = [_Reading(root, keys, progress or _no_progress) for root in roots]
    for reading in readings:
        reading.read()
    return _report(readings, keys)


def _no_progress(files: int, of: int) -> None:
    del files, of


class _Changed(Exception):
    """A directory was exchanged while it was listed."""


@dataclass
class _Found:
    """What some files hold."""

    files: int = 0
    rows: int = 0
    file_bytes: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    unnamed: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Batches and rows of the keys of epoch 0."""
    unreadable: list[Fault] = field(default_factory=list)
    misplaced: list[Fault] = field(default_factory=list)
    parts: list[tuple[PartName, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, other: _Found) -> None:
        self.files += other.files
        self.rows += other.rows
        self.file_bytes += other.file_bytes
        self.ledger.add(other.ledger.table())
        for key, (batches, rows) in other.unnamed.items():
            had = self.unnamed.get(key, (0, 0))
            self.unnamed[key] = (had[0] + batches, had[1] + rows)
        self.unreadable += other.unreadable
        self.misplaced += other.misplaced
        self.parts += other.parts
        self.unknown += other.unknown


class _Reading:
    """One dataset being read."""

    def __init__(self, root: Path, keys: Keys, progress: Progress) -> None:
        self.root = root
        self.found = _Found()
        self.staged: list[str] = []
        self._keys = keys
        self._progress = progress
        self._files = 0

    def read(self) -> None:
        hours: list[tuple[int, Path]] = []
        for path in sorted(self.root.iterdir()):
            if path.name == STAGING:
                self.staged = [str(left) for left in _entries(path)]
            elif path.name.startswith("date=") and path.is_dir():
                for below in _entries(path):
                    hour = hour_of(below.relative_to(self.root))
                    if hour is None:
                        self.found.unknown.append(str(below))
                    else:
                        hours.append((hour, below))
            elif path.name != ".lock":
                self.found.unknown.append(str(path))
        self._files = sum(len(_entries(directory)) for _, directory in hours)
        for hour, directory in hours:
            self.found.add(self._hour(hour, directory))

    def _hour(self, hour: int, directory: Path) -> _Found:
        """An hour as it was at one instant."""
        for _ in range(_TRIES_MAX):
            try:
                names = _listed(directory)
            except FileNotFoundError:
                return _Found()  # retention or an operator removed it
            except _Changed:
                continue
            try:
                return self._read_files(hour, directory, names)
            except FileNotFoundError:
                continue  # it was compacted: what was read is in another file now
        raise RetryableError(f"{directory} changed {_TRIES_MAX} times while it was read: try again later")

    def _read_files(self, hour: int, directory: Path, names: list[str]) -> _Found:
        found = _Found()
        for name in names:
            path, part = directory / name, PartName.parse(name)
            if part is None:
                found.unknown.append(str(path))
                continue
            try:
                with path.open("rb") as source:
                    found.add(self._file(path, source, hour))
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException, ValueError, LookupError) as error:
                found.unreadable.append(Fault(str(path), str(error)))
            found.files += 1
            found.parts.append((part, str(path)))
            self._progress(self.found.files + found.files, self._files)
        return found

    def _file(self, path: Path, source: BinaryIO, hour: int) -> _Found:
        """What a file holds; it counts only if all of it can be read."""
        found = _Found(file_bytes=os.fstat(source.fileno()).st_size)
        metadata = pq.read_metadata(source)
        signal, unit = _signal_of(metadata), _received_unit(metadata)
        source.seek(0)
        with pq.ParquetFile(source, read_dictionary=["identity"], page_checksum_verification=True) as file:
            receipts = read_receipts(file) if signal else self._batches(file, found)
            for rows, *ends in receipts:
                found.rows += rows
                first, last = (end // (unit * _HOUR_SECS) for end in ends)
                if not found.misplaced and not first == last == hour:
                    other = last if first == hour else first
                    reason = f"has rows received in the hour {other - hour:+d} from its directory's"
                    found.misplaced.append(Fault(str(path), reason))
            if found.rows != file.metadata.num_rows:
                raise ValueError(f"holds {found.rows} rows, and its footer says {file.metadata.num_rows}")
        return found

    def _batches(self, file: pq.ParquetFile, found: _Found) -> Iterator[tuple[int, int, int]]:
        """Counts the batches of points, and tells their rows with the first and the last receipt."""
        for runs in read_batches(file, self._keys):
            if runs.num_rows:
                self._count(found, runs)
                received = pc.min_max(runs["received"])
                yield pc.sum(runs["rows"]).as_py(), received["min"].as_py(), received["max"].as_py()

    def _count(self, found: _Found, runs: pa.Table) -> None:
        nameless = [number for number in pc.unique(runs["key"]).to_pylist() if self._keys.known[number][1] == 0]
        if nameless:
            is_nameless = pc.is_in(runs["key"], value_set=pa.array(nameless, pa.int64()))
            counted = runs.filter(is_nameless).group_by("key").aggregate([("rows", "count"), ("rows", "sum")])
            rows = zip(*(counted[name].to_pylist() for name in ("key", "rows_count", "rows_sum")), strict=True)
            found.add(_Found(unnamed={key: (batches, points) for key, batches, points in rows}))
            runs = runs.filter(pc.invert(is_nameless))
        ones = pa.repeat(pa.scalar(1, pa.int64()), runs.num_rows)
        columns = [runs["key"], runs["sequence"], runs["sequence"], runs["rows"], runs["rows"], ones]
        found.ledger.add(pa.table(columns, schema=RANGES))


def _signal_of(metadata: pq.FileMetaData) -> Signal | None:
    """Whose rows a file has; None for points."""
    said = (metadata.metadata or {}).get(DATASET_KEY.encode(), b"").decode(errors="replace")
    return next((signal for signal in SIGNALS if signal == said), None)


def _received_unit(metadata: pq.FileMetaData) -> int:
    """Units of the file's timestamps in a second. ValueError for a file of a schema that this program does not read."""
    version = (metadata.metadata or {}).get(SCHEMA_VERSION_KEY.encode(), b"none").decode(errors="replace")
    if version != SCHEMA_VERSION:
        raise ValueError(f"has the schema version {version}; this program reads {SCHEMA_VERSION}")
    schema = metadata.schema.to_arrow_schema()
    signal = _signal_of(metadata)
    columns = points_schema() if signal is None else signal_schema(signal)
    absent = [name for name in columns.names if schema.get_field_index(name) < 0]
    if absent:
        raise ValueError(f"lacks the column {absent[0]}")
    units: dict[str, int] = {"us": 1_000_000, "ns": 1_000_000_000}
    return units[schema.field("received").type.unit]


def _entries(directory: Path) -> list[Path]:
    """What is in a directory, sorted; nothing when it is gone meanwhile or is none."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _listed(directory: Path) -> list[str]:
    """The names in an hour's directory. A listing during which it was exchanged may lack some that were removed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = sorted(os.listdir(descriptor))
        if not os.path.samestat(os.fstat(descriptor), directory.stat()):
            raise _Changed
        return names
    finally:
        os.close(descriptor)


def _report(readings: list[_Reading], keys: Keys) -> Report:
    doubled_batches = doubled_rows = 0
    doubled: list[Double] = []
    total, across = _Found(), Ledger()
    for reading in readings:
        batches, rows = reading.found.ledger.doubled()
        doubled_batches += batches
        doubled_rows += rows
        doubled += islice(_doubles(reading.found.ledger, keys), DOUBLES_MAX - len(doubled))
        table = reading.found.ledger.table()
        ones = pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)
        across.add(table.set_column(4, RANGES.field("most"), table["rows"]).set_column(5, RANGES.field("copies"), ones))
        total.add(reading.found)
    across_batches, across_rows = across.doubled()
    names = {keys.known[number]: found for number, found in across.names()}
    return Report(
        paths=[str(reading.root) for reading in readings],
        files=total.files,
        rows=total.rows,
        file_bytes=total.file_bytes,
        unreadable=total.unreadable,
        misplaced=total.misplaced,
        overlapping=[fault for reading in readings for fault in _overlapping(reading.found.parts)],
        doubled_batches=doubled_batches,
        doubled_rows=doubled_rows,
        doubled=doubled,
        across_batches=across_batches,
        across_rows=across_rows,
        identities=sorted([*_named(names), *_unnamed(total, keys)], key=lambda sender: (sender.identity, sender.epoch)),
        staged=[path for reading in readings for path in reading.staged],
        unknown=total.unknown,
        names=names,
    )


def _doubles(ledger: Ledger, keys: Keys) -> Iterator[Double]:
    found = ledger.table().filter(pc.field("copies") > 1).slice(0, DOUBLES_MAX)
    for row in found.to_pylist():
        identity, epoch = keys.known[row["key"]]
        for sequence in range(row["first"], row["last"] + 1):
            yield Double(identity, epoch, sequence, row["copies"], row["rows"])


def _overlapping(parts: list[tuple[PartName, str]]) -> Iterator[Fault]:
    furthest: tuple[PartName, str] | None = None
    for part, path in sorted(parts):
        if furthest is None or part.journal_id != furthest[0].journal_id or part.start >= furthest[0].end:
            furthest = (part, path)
            continue
        yield Fault(path, f"claims a range of the journal that {furthest[1]} claims too")
        if part.end > furthest[0].end:
            furthest = (part, path)


def _named(names: dict[Key, Names]) -> Iterator[Sender]:
    for (identity, epoch), found in names.items():
        yield Sender(identity, epoch, found.batches, found.points, found.first[0], found.last[-1], found.gaps)


def _unnamed(found: _Found, keys: Keys) -> Iterator[Sender]:
    for key, (batches, rows) in found.unnamed.items():
        identity, epoch = keys.known[key]
        yield Sender(identity, epoch, batches, rows, None, None, None)
