"""What verifying a dataset finds: every batch by its name, whatever files hold it, and whatever is wrong with them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import add, joiner, opened, publish
from tests.support.writing import JOURNAL_ID

from telemetry_collector.errors import PermanentError
from telemetry_collector.store.compaction import Compactor
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.part import PartName, partition
from telemetry_collector.store.verify import Report, verify

IDENTITY = "spiffe://example.org/node/node-1"
OTHER = "spiffe://example.org/node/node-2"
EPOCH = 2**64 - 5
"""As an agent has it; negative in the files."""

Batch = tuple[str, int, int, int]
"""Identity, epoch, sequence and rows."""


def rows(batches: Sequence[Batch], hour: int = HOUR, first_us: int = 0) -> pa.Table:
    """The rows of batches, one after the other, each received a microsecond after the one before."""
    template = pa.Table.from_batches([blocks_of(1, 0).record_batch()])
    parts = []
    for place, (identity, epoch, sequence, count) in enumerate(batches):
        received = pa.array([hour * 3_600_000_000 + first_us + place], pa.timestamp("us", "UTC"))
        signed = epoch - 2**64 if epoch >= 2**63 else epoch
        row = template
        for name, column in {
            "received": received,
            "identity": pa.array([identity]).dictionary_encode(),
            "epoch": pa.array([signed], pa.int64()),
            "sequence": pa.array([sequence], pa.int64()),
        }.items():
            row = row.set_column(row.schema.get_field_index(name), template.schema.field(name), column)
        parts += [row] * count
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def store(dataset: Dataset, start: int, batches: Sequence[Batch], hour: int = HOUR, groups: int = 1) -> Path:
    """Publishes a part of these batches over [start, start + 10), in so many row groups."""
    table = rows(batches, hour, first_us=start)
    file = PartFile(dataset.stage(".part"), table.schema, "snappy", group_rows_max=-(-table.num_rows // groups))
    add(file, table)
    file.finish()
    return dataset.publish(file.path, hour, PartName(JOURNAL_ID, start, start + 10))


def numbered(*sequences: int, rows: int = 3) -> list[Batch]:
    return [(IDENTITY, EPOCH, sequence, rows) for sequence in sequences]


def senders(report: Report) -> list[tuple[str, int, int, int, int | None, int | None, int | None]]:
    return [
        (found.identity, found.epoch, found.batches, found.points, found.first, found.last, found.gaps)
        for found in report.identities
    ]


def test_batches_are_counted_by_identity_and_epoch_however_files_and_row_groups_cut_them(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    mixed = [(IDENTITY, EPOCH, 1, 3), (OTHER, 7, 1, 2), (IDENTITY, EPOCH, 3, 4), (OTHER, 7, 2, 1), (IDENTITY, 8, 1, 1)]
    store(dataset, 0, mixed, groups=4)
    store(dataset, 10, numbered(2, 6), hour=HOUR + 1)
    report = verify([tmp_path])
    assert (report.files, report.rows, report.ok) == (2, 17, True)
    assert senders(report) == [
        (IDENTITY, 8, 1, 1, 1, 1, 0),
        (IDENTITY, EPOCH, 4, 13, 1, 6, 2),
        (OTHER, 7, 2, 3, 1, 2, 0),
    ]


def test_each_stored_batch_is_found_by_its_name_with_its_rows(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    store(dataset, 0, [*numbered(5, 1, 2, rows=3), *numbered(3, rows=4)])
    report = verify([tmp_path])
    assert [report.rows_of(IDENTITY, EPOCH, sequence) for sequence in range(8)] == [0, 3, 3, 4, 0, 3, 0, 0]
    assert report.rows_of(OTHER, EPOCH, 1) == 0
    names = report.names[IDENTITY, EPOCH]
    assert list(names.ranges()) == [(1, 2, 3), (3, 3, 4), (5, 5, 3)]
    assert 4 not in names
    assert 5 in names


@pytest.mark.parametrize(
    ("files", "batches", "extra"),
    [
        ([numbered(1, 2, 3), numbered(3, 4)], 1, 3),  # in two files
        ([numbered(1, 2, 1)], 1, 3),  # twice in one file
        ([numbered(1, 2, 2, 3)], 1, 3),  # twice, one copy behind the other
        ([numbered(*range(1, 9)), numbered(*range(2, 6))], 4, 12),  # in the middle of a range
        ([numbered(1), numbered(1, rows=2), numbered(1, rows=1)], 1, 3),  # parts of it, too
        ([numbered(7, 8), numbered(7, 8), [(OTHER, 7, 1, 1), (OTHER, 7, 1, 1)]], 3, 7),
    ],
)
def test_a_batch_that_is_stored_twice_is_told(
    tmp_path: Path, files: list[list[Batch]], batches: int, extra: int
) -> None:
    dataset = opened(tmp_path)
    for place, held in enumerate(files):
        store(dataset, place * 10, held)
    report = verify([tmp_path])
    assert (report.doubled_batches, report.doubled_rows, report.ok) == (batches, extra, False)
    assert len(report.doubled) == batches
    assert all(double.copies > 1 for double in report.doubled)


def test_what_is_in_two_datasets_is_counted_apart(tmp_path: Path) -> None:
    for name, held in {"one": numbered(1, 2, 3), "other": numbered(3, 4)}.items():
        store(opened(tmp_path / name), 0, held)
    report = verify([tmp_path / "one", tmp_path / "other"])
    assert (report.across_batches, report.across_rows, report.doubled_batches, report.ok) == (1, 3, 0, True)
    assert report.rows_of(IDENTITY, EPOCH, 3) == 3
    assert report.names[IDENTITY, EPOCH].batches == 4


def test_batches_without_a_name_are_never_doubles(tmp_path: Path) -> None:
    store(opened(tmp_path), 0, [(IDENTITY, 0, 0, 2), (IDENTITY, 0, 0, 3), (IDENTITY, 0, 5, 1)])
    report = verify([tmp_path])
    assert report.ok
    assert senders(report) == [(IDENTITY, 0, 3, 6, None, None, None)]
    assert report.names == {}


def test_a_file_that_cannot_be_read_is_told_and_the_others_count(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    cut = store(dataset, 0, numbered(1))
    cut.write_bytes(cut.read_bytes()[:-20])
    flipped = store(dataset, 10, numbered(*range(2, 200)))
    body = bytearray(flipped.read_bytes())
    body[600:700] = bytes(100)
    flipped.write_bytes(body)
    foreign = store(dataset, 20, numbered(300))
    pa.parquet.write_table(pa.table({"x": [1]}), foreign)
    (tmp_path / partition(HOUR) / f"{PartName(JOURNAL_ID, 30, 40)}").mkdir()
    store(dataset, 40, numbered(400))
    report = verify([tmp_path])
    assert [Path(fault.path).name[33:49] for fault in report.unreadable] == [
        f"{start:016x}" for start in (0, 10, 20, 30)
    ]
    assert all(fault.reason for fault in report.unreadable)
    assert (report.files, report.rows, report.ok) == (5, 3, False)


@pytest.mark.parametrize("name", ["identity", "epoch", "sequence", "received"])
def test_a_file_with_a_row_that_does_not_say_whose_it_is_is_told(tmp_path: Path, name: str) -> None:
    """Such as another program may have made of one of ours."""
    dataset = opened(tmp_path)
    without(store(dataset, 0, numbered(1)), name)
    store(dataset, 10, numbered(2))
    report = verify([tmp_path])
    assert [fault.reason for fault in report.unreadable] == [f"has rows without {name}"]
    assert (report.files, report.rows) == (2, 3)


def without(part: Path, name: str) -> None:
    """The first row of a part has no value in a column any longer."""
    table = pa.parquet.read_table(part, partitioning=None)
    field = table.schema.field(name).with_nullable(True)
    column = pa.array([None, *table[name].to_pylist()[1:]], field.type)
    pa.parquet.write_table(table.set_column(table.schema.get_field_index(name), field, column), part)


def test_a_single_flipped_bit_of_a_value_is_found(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    table = rows(numbered(1))
    file = PartFile(dataset.stage(".part"), table.schema, "none")
    add(file, table)
    file.finish()
    body = bytearray(file.path.read_bytes())
    place = body.index(struct.pack("<q", table["timestamp"].cast(pa.int64())[0].as_py()))
    body[place] ^= 1
    file.path.write_bytes(body)
    dataset.publish(file.path, HOUR, PartName(JOURNAL_ID, 0, 10))
    assert len(verify([tmp_path]).unreadable) == 1


def test_a_file_in_the_wrong_hour_is_told(tmp_path: Path) -> None:
    path = store(opened(tmp_path), 0, numbered(1))
    (tmp_path / partition(HOUR + 2)).mkdir()
    moved = path.rename(tmp_path / partition(HOUR + 2) / path.name)
    report = verify([tmp_path])
    assert [(fault.path, fault.reason) for fault in report.misplaced] == [
        (str(moved), "has rows received in the hour -2 from its directory's")
    ]
    assert not report.ok


def test_files_that_claim_the_same_range_of_the_journal_are_told(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    store(dataset, 0, numbered(1))
    store(dataset, 5, numbered(2))
    store(dataset, 15, numbered(3))
    report = verify([tmp_path])
    assert [Path(fault.path).name for fault in report.overlapping] == [str(PartName(JOURNAL_ID, 5, 15))]
    assert not report.ok


def test_what_no_collector_put_there_and_what_is_staged_are_listed(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    hour = store(dataset, 0, numbered(1)).parent
    (tmp_path / "notes").touch()
    (tmp_path / "date=2026-02-31").mkdir()
    (tmp_path / "date=2026-02-31" / "hour=07").mkdir()
    (hour / "notes.parquet").touch()
    dataset.stage(".part").touch()
    report = verify([tmp_path])
    assert report.unknown == [
        str(tmp_path / "date=2026-02-31" / "hour=07"), str(tmp_path / "notes"), str(hour / "notes.parquet"),
    ]  # fmt: skip
    assert [Path(path).suffix for path in report.staged] == [".part"]
    assert report.ok


def test_an_hour_that_is_compacted_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in range(0, 50, 10):
        store(dataset, start, numbered(start + 1))
    compactor = Compactor(
        dataset, joiner(dataset), compression="snappy", file_bytes_max=1 << 30, period_secs=3600, settle_secs=0
    )
    seen: list[tuple[int, int]] = []

    def progress(files: int, of: int) -> None:
        if not seen:
            assert len(list(compactor.run((HOUR + 1) * 3600 + 100.0))) == 1
        seen.append((files, of))

    report = verify([tmp_path], progress)
    assert seen == [(1, 5), (1, 5)]
    assert (report.files, report.rows, report.ok) == (1, 15, True)


def test_an_hour_that_is_removed_while_it_is_read_is_gone(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start in (0, 10):
        path = store(dataset, start, numbered(start + 1))
    report = verify([tmp_path], lambda *_: shutil.rmtree(path.parent))
    assert (report.files, report.rows, report.ok) == (0, 0, True)


def test_parts_of_the_writer_are_as_they_should_be_and_the_report_is_json(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    publish(dataset, blocks_of(10, 0))
    publish(dataset, blocks_of(10, 10))
    found = json.loads(json.dumps(verify([tmp_path]).as_json()))
    assert (found["ok"], found["files"], found["rows"], found["unreadable"], "names" in found) == (
        True,
        2,
        20,
        [],
        False,
    )
    assert found["identities"] == [
        {"identity": IDENTITY, "epoch": 7, "batches": 2, "points": 20, "first": 1, "last": 11, "gaps": 9}
    ]


def test_a_path_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"parquet\.output_dir"):
        verify([tmp_path / "absent"])
