"""The audit finds what is lost, doubled, mixed up or unreadable, and nothing in a dataset that is well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.model import Outcome
from telemetry_collector.torture.audit import Audit, compare, read
from telemetry_collector.torture.diary import Account, Name

NODE = "spiffe://telemetry/node/torture-0"
EPOCH = (1 << 63) + 5
"""Negative in the files."""


@dataclass
class Rows:
    sequence: int
    first: int
    points: int


def part(root: Path, number: int, *batches: Rows) -> Path:
    """A file of a dataset with these batches."""
    values = [batch.first + place for batch in batches for place in range(batch.points)]
    sequences = [batch.sequence for batch in batches for _ in range(batch.points)]
    table = pa.table(
        {
            "identity": [NODE] * len(values),
            "epoch": pa.array([EPOCH - (1 << 64)] * len(values), pa.int64()),
            "sequence": pa.array(sequences, pa.int64()),
            "value": pa.array(values, pa.float64()),
        }
    )
    path = root / "date=2026-11-25" / "hour=07" / f"{number}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def told(*sequences: int, outcome: Outcome = Outcome.STORED, accepted: int = 10) -> dict[str, Account]:
    answers: dict[Name, tuple[Outcome, int]] = {(EPOCH, each): (outcome, accepted) for each in sequences}
    return {NODE: Account(answers=answers)}


def audit_of(accounts: dict[str, Account], *roots: Path) -> Audit:
    return compare(accounts, [read(root) for root in roots])


def test_what_was_acknowledged_and_is_there_once_is_well(tmp_path: Path) -> None:
    part(tmp_path, 1, Rows(1, 0, 10), Rows(2, 10, 10))
    part(tmp_path, 2, Rows(3, 20, 10))
    audit = audit_of(told(1, 2, 3), tmp_path)
    assert (audit.acknowledged, audit.rows, audit.files) == (3, 30, 2)
    assert not audit.lost + audit.doubled + audit.mixed + audit.unreadable
    assert audit.holes == audit.doubled_across == 0


def test_a_batch_that_is_nowhere_or_lacks_rows_is_lost(tmp_path: Path) -> None:
    part(tmp_path, 1, Rows(1, 0, 10), Rows(2, 10, 9))
    audit = audit_of(told(1, 2, 3), tmp_path)
    assert len(audit.lost) == 2
    assert any("2)" in text and "9 rows" in text for text in audit.lost)
    assert any("3)" in text and "0 rows" in text for text in audit.lost)


def test_a_duplicate_must_be_there_and_a_refused_batch_need_not(tmp_path: Path) -> None:
    part(tmp_path, 1, Rows(1, 0, 10))
    assert not audit_of(told(1, outcome=Outcome.DUPLICATE, accepted=0), tmp_path).lost
    assert len(audit_of(told(2, outcome=Outcome.DUPLICATE, accepted=0), tmp_path).lost) == 1
    refused = audit_of(told(2, outcome=Outcome.REJECTED, accepted=0), tmp_path)
    assert (refused.refused, refused.lost) == (1, [])


def test_a_batch_in_two_files_or_twice_in_one_is_doubled(tmp_path: Path) -> None:
    part(tmp_path / "two", 1, Rows(1, 0, 10))
    part(tmp_path / "two", 2, Rows(1, 0, 10))
    part(tmp_path / "one", 1, Rows(1, 0, 10), Rows(1, 0, 10))
    assert len(audit_of(told(1), tmp_path / "two").doubled) == 1
    assert len(audit_of(told(1), tmp_path / "one").doubled) == 1


def test_a_batch_in_two_datasets_is_counted_apart(tmp_path: Path) -> None:
    part(tmp_path / "a", 1, Rows(1, 0, 10))
    part(tmp_path / "b", 1, Rows(1, 0, 10))
    audit = audit_of(told(1), tmp_path / "a", tmp_path / "b")
    assert (audit.doubled, audit.doubled_across, audit.lost) == ([], 1, [])


def test_rows_of_two_batches_under_one_name_are_mixed(tmp_path: Path) -> None:
    part(tmp_path, 1, Rows(1, 0, 5), Rows(1, 50, 5))
    assert len(audit_of(told(1), tmp_path).mixed) == 1


def test_a_file_without_a_footer_is_unreadable(tmp_path: Path) -> None:
    path = part(tmp_path, 1, Rows(1, 0, 10))
    path.write_bytes(path.read_bytes()[:-20])
    audit = audit_of(told(1), tmp_path)
    assert len(audit.unreadable) == len(audit.lost) == 1


def test_values_that_are_missing_before_later_ones_are_holes(tmp_path: Path) -> None:
    part(tmp_path, 1, Rows(1, 0, 10), Rows(3, 20, 10))
    assert audit_of(told(1, 3), tmp_path).holes == 10
