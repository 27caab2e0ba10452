"""What agents were told against what the datasets hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.model import Outcome
from telemetry_collector.torture.diary import Account, Name
from telemetry_collector.torture.values import Seen

EXAMPLES_MAX: Final = 10
_STORED: Final = (Outcome.STORED, Outcome.PARTIAL, Outcome.DUPLICATE)


@dataclass
class Stored:
    """One dataset: how often each batch is in it, with how many rows."""

    files: int = 0
    rows: int = 0
    batches: dict[str, dict[Name, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    """By identity and name: files that have rows of it, and rows."""
    doubled: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    """Batches whose rows are not what one batch was: not neighbours, or not of distinct values."""
    values: Seen = field(default_factory=Seen)


def read(root: Path) -> Stored:
    """Reads a dataset whole."""
    stored = Stored()
    for path in sorted(root.glob("date=*/hour=*/*.parquet")):
        try:
            table = pq.read_table(
                path, columns=["identity", "epoch", "sequence", "value"], use_threads=False, partitioning=None
            )
        except (OSError, pa.ArrowException) as error:
            stored.unreadable.append(f"{path}: {error}")
            continue
        stored.files += 1
        stored.rows += table.num_rows
        stored.values.update(int(value) for value in table.column("value").to_pylist())
        _take(stored, table)
    return stored


def _take(stored: Stored, table: pa.Table) -> None:
    grouped = table.group_by(["identity", "epoch", "sequence"]).aggregate(
        [("value", "count"), ("value", "count_distinct"), ("value", "min"), ("value", "max")]
    )
    for row in grouped.to_pylist():
        name = row["epoch"] % (1 << 64), row["sequence"]
        rows, distinct = row["value_count"], row["value_count_distinct"]
        batches = stored.batches[row["identity"]]
        files, before = batches.get(name, (0, 0))
        batches[name] = files + 1, before + rows
        if files or distinct != rows:
            stored.doubled.append(f"{row['identity']} {name}: {before + rows} rows in {files + 1} files")
        elif row["value_max"] - row["value_min"] != rows - 1:
            stored.mixed.append(f"{row['identity']} {name}: {rows} rows from {row['value_min']} to {row['value_max']}")


@dataclass
class Audit:
    """The comparison."""

    acknowledged: int = 0
    """Batches that some agent was told are stored."""
    refused: int = 0
    rows: int = 0
    files: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    doubled_across: int = 0
    """Batches in more than one dataset: a reply was lost and another collector took over. Their names tell."""
    unreadable: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    """Points that agents gave up, by reason."""
    holes: int = 0
    """Points that are in no dataset although the same life of the agent had later ones stored."""


def compare(told: Mapping[str, Account], datasets: Iterable[Stored]) -> Audit:
    """What agents (by identity) were told, against all datasets."""
    audit, datasets = Audit(), list(datasets)
    everything = Seen()
    for stored in datasets:
        audit.rows += stored.rows
        audit.files += stored.files
        audit.doubled += stored.doubled
        audit.unreadable += stored.unreadable
        audit.mixed += stored.mixed
        everything.merge(stored.values)
    audit.holes = everything.holes()
    for identity, account in told.items():
        audit.dropped += account.dropped
        places: Counter[Name] = Counter()
        for stored in datasets:
            places.update(stored.batches.get(identity, {}).keys())
        audit.doubled_across += sum(count > 1 for count in places.values())
        for name, (outcome, accepted) in account.answers.items():
            if outcome not in _STORED:
                audit.refused += 1
                continue
            audit.acknowledged += 1
            rows = max((stored.batches.get(identity, {}).get(name, (0, 0))[1] for stored in datasets), default=0)
            # A DUPLICATE tells no count: it was stored, and how much of it stood in a reply that was lost.
            if rows < max(accepted, 1):
                audit.lost.append(f"{identity} {name}: {outcome.label}, {accepted} points, {rows} rows")
    return audit
