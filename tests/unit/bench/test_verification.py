"""That a dataset which is not exactly what was acknowledged is found out, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import add, opened
from tests.support.writing import JOURNAL_ID

from telemetry_collector.bench.frames import Lane, Prepared, content_of
from telemetry_collector.bench.load import LaneAnswers
from telemetry_collector.bench.reference import Fleet
from telemetry_collector.bench.verification import Verification, verify_dataset
from telemetry_collector.model import STANDARD_TAGS
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.part import PartName

FLEET = Fleet(2, 5, 10, HOUR * 3_600_000)
READINGS = [FLEET.readings(number) for number in range(4)]
LANES = [
    Lane(node, 0, f"agent-{node}", 77 + node, tuple(Prepared(b"", b"", content_of(READINGS[number]))
                                                    for number in range(node, 4, 2)))
    for node in range(2)
]  # fmt: skip
ALL = [LaneAnswers(5, {}), LaneAnswers(3, {})]
"""The first lane has sent five batches, its two in turn; the other one three."""


def rows(lane: Lane, sequence: int, points: int | None = None) -> pa.Table:
    """A batch as the collector stores it."""
    readings = READINGS[(sequence - 1) % 2 * 2 + lane.connection]
    count = len(readings.values)
    template = pa.Table.from_batches([blocks_of(1, 0).record_batch()]).take([0] * count)
    received = HOUR * 3_600_000_000 + sequence * 10 + lane.connection
    definitions = [readings.definitions[place] for place in readings.places]
    texts = {
        "name": [name for name, *_ in definitions],
        "type": ["gauge"] * count,
        "unit": ["1"] * count,
        **{key: [dict(tags)[key] for _, tags, *_ in definitions] for key in STANDARD_TAGS},
    }
    for name, column in {
        **{name: pa.array(column).dictionary_encode() for name, column in texts.items()},
        "timestamp": pa.array([moment * 1_000 for moment in readings.timestamps_ms], pa.timestamp("us", "UTC")),
        "received": pa.array([received] * count, pa.timestamp("us", "UTC")),
        "value": pa.array(readings.values, pa.float64()),
        "identity": pa.array([lane.identity] * count).dictionary_encode(),
        "epoch": pa.array([lane.epoch] * count, pa.int64()),
        "sequence": pa.array([sequence] * count, pa.int64()),
    }.items():
        template = template.set_column(template.schema.get_field_index(name), template.schema.field(name), column)
    return template.slice(0, points)


def everything() -> list[pa.Table]:
    return [rows(lane, sequence) for lane, told in zip(LANES, ALL, strict=True) for sequence in range(1, told.sent + 1)]


def stored(root: Path, tables: Sequence[pa.Table], answers: Sequence[LaneAnswers] = ALL) -> Verification:
    dataset = opened(root)
    try:
        for place, table in enumerate(tables):
            file = PartFile(dataset.stage(".part"), table.schema, "snappy")
            add(file, table)
            file.finish()
            dataset.publish(file.path, HOUR, PartName(JOURNAL_ID, place * 10, place * 10 + 10))
    finally:
        dataset.close()
    return verify_dataset(root, LANES, answers)


def test_a_dataset_that_holds_exactly_what_was_acknowledged_is_verified(tmp_path: Path) -> None:
    found = stored(tmp_path, everything())
    assert (found.ok, found.findings, found.rows, found.files) == (True, [], 80, 8)
    assert found.file_bytes == sum(path.stat().st_size for path in tmp_path.glob("date=*/hour=*/*"))


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        pytest.param(everything()[:-1], "batch 3 of agent-1: 10 points acknowledged, 0 rows stored", id="lost"),
        pytest.param([*everything()[1:], rows(LANES[0], 1, 9)], "10 points acknowledged, 9 rows stored", id="a row"),
        pytest.param([*everything(), rows(LANES[0], 2)], "stored twice", id="doubled"),
        pytest.param([*everything(), rows(LANES[0], 6)], "batch 6 of agent-0 is stored and was never", id="too many"),
        pytest.param([*everything(), rows(replace(LANES[0], epoch=5), 1)], "which nobody has sent", id="a stranger's"),
    ],
)
def test_what_is_missing_or_too_much_is_found(tmp_path: Path, tables: list[pa.Table], told: str) -> None:
    found = stored(tmp_path, tables)
    assert not found.ok
    assert told in "\n".join(found.findings)


def with_another(table: pa.Table, column: str, values: list[object]) -> pa.Table:
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(values, field.type))


def exchanged(table: pa.Table, column: str) -> pa.Table:
    """The first row has what the second had, and the other way round."""
    values = table[column].to_pylist()
    return with_another(table, column, [values[1], values[0], *values[2:]])


def moved(table: pa.Table, column: str) -> pa.Table:
    """One row has another value, by as little as there is."""
    step = timedelta(microseconds=1) if column == "timestamp" else 2**-44
    values = table[column].to_pylist()
    return with_another(table, column, [*values[:3], values[3] + step, *values[4:]])


def renamed(table: pa.Table, column: str) -> pa.Table:
    """One row has another text."""
    values = table[column].to_pylist()
    return with_another(table, column, [*values[:4], "other", *values[5:]])


@pytest.mark.parametrize(
    ("change", "column"),
    [
        *((moved, column) for column in ("value", "timestamp")),
        *((exchanged, column) for column in ("value", "name")),
        *((renamed, column) for column in ("name", "type", "unit", *STANDARD_TAGS)),
    ],
)
def test_a_batch_that_holds_something_else_is_found(
    tmp_path: Path, change: Callable[[pa.Table, str], pa.Table], column: str
) -> None:
    tables = everything()
    tables[2] = change(tables[2], column)
    found = stored(tmp_path, tables)
    assert found.findings == ["batch 3 of agent-0 holds other points than were sent"]


def test_the_order_of_rows_does_not_count(tmp_path: Path) -> None:
    tables = everything()
    tables[2] = tables[2].take(list(reversed(range(len(tables[2])))))
    assert stored(tmp_path, tables).ok


def test_a_file_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    stored(tmp_path, everything())
    path = sorted(tmp_path.glob("date=*/hour=*/*"))[0]
    path.write_bytes(path.read_bytes()[:-20])
    found = verify_dataset(tmp_path, LANES, ALL)
    assert not found.ok
    assert str(path) in found.findings[0]


def test_a_batch_without_an_answer_may_not_be_there_and_is_not_taken_for_well(tmp_path: Path) -> None:
    found = stored(tmp_path, everything(), [ALL[0], LaneAnswers(4, {}, frozenset({4}))])
    assert found.findings == ["batch 4 of agent-1 was never answered; 0 rows of it are stored"]


def test_of_a_batch_refused_in_part_only_its_rows_are_expected(tmp_path: Path) -> None:
    tables = [*everything()[:-1], rows(LANES[1], 3, 4)]
    assert stored(tmp_path, tables, [ALL[0], LaneAnswers(3, {3: 4})]).ok


def test_beside_others_data_ours_alone_is_counted(tmp_path: Path) -> None:
    stored(tmp_path, [*everything(), rows(replace(LANES[0], epoch=5), 1)])
    found = verify_dataset(tmp_path, LANES, ALL, others_rows=True)
    assert (found.ok, found.rows) == (True, 80)


def test_nothing_stored_is_right_only_if_nothing_was_sent(tmp_path: Path) -> None:
    nowhere = tmp_path / "parquet"
    assert not verify_dataset(nowhere, LANES, ALL).ok
    assert verify_dataset(nowhere, LANES, [LaneAnswers(0, {}), LaneAnswers(0, {})]).ok
