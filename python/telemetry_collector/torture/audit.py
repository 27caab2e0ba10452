"""What agents were told against what the datasets hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.model import Outcome
from telemetry_collector.store.verify import Report, verify
from telemetry_collector.torture.diary import Account
from telemetry_collector.torture.values import Seen

EXAMPLES_MAX: Final = 10
_STORED: Final = (Outcome.STORED, Outcome.PARTIAL, Outcome.DUPLICATE)
_NAME: Final = ["identity", "epoch", "sequence"]


@dataclass
class Stored:
    """One dataset: which batches are in it, and whether their rows are theirs."""

    report: Report
    """What `dataset verify` says of it."""
    values: Seen = field(default_factory=Seen)
    mixed: list[str] = field(default_factory=list)
    """Batches whose rows are not those of one batch: values that are not neighbours, or that come twice."""


def read(root: Path) -> Stored:
    """Reads a dataset whole."""
    stored = Stored(verify([root]))
    unreadable = {fault.path for fault in stored.report.unreadable}
    for path in sorted(root.glob("date=*/hour=*/*.parquet")):
        if str(path) not in unreadable:
            table = pq.read_table(path, columns=[*_NAME, "value"], use_threads=False, partitioning=None)
            stored.values.update(int(value) for value in table.column("value").to_pylist())
            stored.mixed += _mixed(table)
    return stored


def _mixed(table: pa.Table) -> list[str]:
    measures = [("value", measure) for measure in ("count", "count_distinct", "min", "max")]
    found = []
    for row in table.group_by(_NAME).aggregate(measures).to_pylist():
        rows, first, last = row["value_count"], row["value_min"], row["value_max"]
        if row["value_count_distinct"] != rows or last - first != rows - 1:
            name = f"{row['identity']} {row['epoch'] % (1 << 64)} {row['sequence']}"
            found.append(f"{name}: {rows} rows, values from {first} to {last}")
    return found


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


def compare(told: Mapping[str, Account], datasets: Sequence[Stored], across: int = 0) -> Audit:
    """What agents (by identity) were told, against all datasets; `across` batches are in more than one of them."""
    audit = Audit(doubled_across=across)
    everything = Seen()
    for stored in datasets:
        _take(audit, stored)
        everything.merge(stored.values)
    audit.holes = everything.holes()
    for identity, account in told.items():
        audit.dropped += account.dropped
        for (epoch, sequence), (outcome, accepted) in account.answers.items():
            if outcome not in _STORED:
                audit.refused += 1
                continue
            audit.acknowledged += 1
            rows = max((stored.report.rows_of(identity, epoch, sequence) for stored in datasets), default=0)
            if rows < max(accepted, 1):
                audit.lost.append(f"{identity} {epoch} {sequence}: {outcome.label}, {accepted} points, {rows} rows")
    return audit


def _take(audit: Audit, stored: Stored) -> None:
    report = stored.report
    audit.rows += report.rows
    audit.files += report.files
    audit.mixed += stored.mixed
    audit.doubled += [
        f"{each.identity} {each.epoch} {each.sequence}: {each.copies} copies, {each.rows} rows"
        for each in report.doubled
    ]
    # Those beyond what a report names count as well.
    audit.doubled += ["and another"] * (report.doubled_batches - len(report.doubled))
    wrong = (*report.unreadable, *report.misplaced, *report.overlapping)
    audit.unreadable += [f"{fault.path}: {fault.reason}" for fault in wrong]
