"""The audit finds what is lost, doubled, mixed up or unreadable, and nothing in a dataset that is well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.blocks import HOUR
from tests.support.dataset import add, opened
from tests.support.writing import JOURNAL_ID
from tests.unit.store.test_verify import EPOCH, IDENTITY, rows

from telemetry_collector.model import Outcome
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.part import PartName
from telemetry_collector.torture.audit import Audit, compare, read
from telemetry_collector.torture.diary import Account, Name


@dataclass
class Batch:
    sequence: int
    first: int
    points: int = 10

    @property
    def values(self) -> list[float]:
        return [float(self.first + place) for place in range(self.points)]


class Site:
    """A dataset whose files hold these batches, one file after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._end = 0

    def part(self, *batches: Batch) -> Path:
        table = rows([(IDENTITY, EPOCH, each.sequence, each.points) for each in batches], first_us=self._end)
        values = pa.array([value for each in batches for value in each.values], pa.float64())
        table = table.set_column(table.schema.get_field_index("value"), table.schema.field("value"), values)
        dataset = opened(self.root)
        file = PartFile(dataset.stage(".part"), table.schema, "snappy")
        add(file, table)
        file.finish()
        self._end += 10
        path = dataset.publish(file.path, HOUR, PartName(JOURNAL_ID, self._end - 10, self._end))
        dataset.close()
        return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "dataset")


def told(*sequences: int, outcome: Outcome = Outcome.STORED, accepted: int = 10) -> dict[str, Account]:
    answers: dict[Name, tuple[Outcome, int]] = {(EPOCH, each): (outcome, accepted) for each in sequences}
    return {IDENTITY: Account(answers=answers)}


def audit_of(accounts: dict[str, Account], *sites: Site) -> Audit:
    return compare(accounts, [read(site.root) for site in sites])


def test_what_was_acknowledged_and_is_there_once_is_well(site: Site) -> None:
    site.part(Batch(1, 0), Batch(2, 10))
    site.part(Batch(3, 20))
    audit = audit_of(told(1, 2, 3), site)
    assert (audit.acknowledged, audit.rows, audit.files) == (3, 30, 2)
    assert not audit.lost + audit.doubled + audit.mixed + audit.unreadable
    assert audit.holes == 0


def test_a_batch_that_is_nowhere_or_lacks_rows_is_lost(site: Site) -> None:
    site.part(Batch(1, 0), Batch(2, 10, points=9))
    audit = audit_of(told(1, 2, 3), site)
    assert [text.split(": ")[1] for text in audit.lost] == ["stored, 10 points, 9 rows", "stored, 10 points, 0 rows"]


def test_a_duplicate_must_be_there_and_a_refused_batch_need_not(site: Site) -> None:
    site.part(Batch(1, 0))
    assert not audit_of(told(1, outcome=Outcome.DUPLICATE), site).lost
    assert len(audit_of(told(2, outcome=Outcome.DUPLICATE, accepted=0), site).lost) == 1
    refused = audit_of(told(2, outcome=Outcome.REJECTED, accepted=0), site)
    assert (refused.refused, refused.lost) == (1, [])


def test_a_batch_in_two_files_or_twice_in_one_is_doubled(tmp_path: Path) -> None:
    two, one = Site(tmp_path / "two"), Site(tmp_path / "one")
    two.part(Batch(1, 0))
    two.part(Batch(1, 0))
    one.part(Batch(1, 0), Batch(1, 0))
    assert len(audit_of(told(1), two).doubled) == 1
    assert len(audit_of(told(1), one).doubled) == 1


def test_a_batch_in_either_of_two_datasets_is_there(tmp_path: Path) -> None:
    a, b = Site(tmp_path / "a"), Site(tmp_path / "b")
    a.part(Batch(1, 0), Batch(2, 10))
    b.part(Batch(2, 10), Batch(3, 20))
    audit = audit_of(told(1, 2, 3), a, b)
    assert (audit.doubled, audit.lost, audit.holes) == ([], [], 0)


@pytest.mark.parametrize("batches", [(Batch(1, 0, 5), Batch(1, 50, 5)), (Batch(1, 0, 5), Batch(1, 3, 5))])
def test_rows_of_two_batches_under_one_name_are_mixed(site: Site, batches: tuple[Batch, ...]) -> None:
    site.part(*batches)
    assert len(audit_of(told(1), site).mixed) == 1


def test_a_file_without_a_footer_is_unreadable(site: Site) -> None:
    path = site.part(Batch(1, 0))
    path.write_bytes(path.read_bytes()[:-20])
    audit = audit_of(told(1), site)
    assert len(audit.unreadable) == len(audit.lost) == 1


def test_values_that_are_missing_before_later_ones_are_holes(site: Site) -> None:
    site.part(Batch(1, 0), Batch(3, 20))
    assert audit_of(told(1, 3), site).holes == 10
