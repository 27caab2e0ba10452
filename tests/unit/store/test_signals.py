"""Parts of traces and logs: written in groups, joined when their hour is over, explained in docs/signals.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.blocks import HOUR
from tests.support.dataset import add, joiner, names, opened, staged
from tests.support.repository import REPOSITORY
from tests.support.writing import JOURNAL_ID
from tests.unit.store.test_verify import without

from telemetry_collector.store import arrow_part
from telemetry_collector.store.arrow_part import ArrowPartFile
from telemetry_collector.store.compaction import Compacted, Compactor
from telemetry_collector.store.part import PartName
from telemetry_collector.store.signals import SIGNALS, Signal, signal_schema
from telemetry_collector.store.verify import verify

TEXT = (REPOSITORY / "docs/signals.md").read_text()
START_US = HOUR * 3_600_000_000
EVENT = {"time": START_US, "name": "exception", "attributes": [("k", "v"), ("none", None)], "attributes_dropped": 0}


def rows(signal: Signal, first: int, count: int) -> pa.Table:
    """Rows with something in every column that may have nothing."""
    schema = signal_schema(signal)
    return pa.Table.from_pylist(
        [{field.name: value(field, number) for field in schema} for number in range(first, first + count)], schema
    )


def value(field: pa.Field, number: int) -> Any:
    if pa.types.is_timestamp(field.type):
        return START_US + number
    if pa.types.is_map(field.type):
        return [("number", str(number))]
    if pa.types.is_list(field.type):
        return [EVENT] if field.name == "events" else []
    return number if pa.types.is_integer(field.type) else f"{field.name} {number}"


@pytest.mark.parametrize("signal", ["traces", "logs"])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_a_past_hour_becomes_one_file_with_the_rows_of_all(tmp_path: Path, signal: Signal, compression: Any) -> None:
    dataset = opened(tmp_path)
    for start in range(0, 30, 10):
        file = ArrowPartFile(dataset.stage(".part"), signal_schema(signal), compression)
        add(file, rows(signal, start, 10))
        assert file.finish() == file.path.stat().st_size
        dataset.publish(file.path, HOUR, PartName(JOURNAL_ID, start, start + 10))
    compactor = Compactor(
        dataset,
        joiner(dataset, SIGNALS[signal]),
        compression=compression,
        file_bytes_max=1 << 30,
        period_secs=3600,
        settle_secs=20.0,
    )
    assert list(compactor.run((HOUR + 1) * 3600 + 100.0)) == [Compacted(HOUR, files=3, into=1, rows=30)]
    assert names(tmp_path) == [str(PartName(JOURNAL_ID, 0, 30))]
    (path,) = tmp_path.glob("date=*/hour=*/*.parquet")
    assert pq.read_table(path, partitioning=None).equals(rows(signal, 0, 30))


def test_row_groups_are_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_part, "ROW_GROUP_ROWS", 10)
    file = ArrowPartFile(tmp_path / "part", signal_schema("logs"), "zstd")
    for first in range(0, 24, 4):
        add(file, rows("logs", first, 4))
    file.finish()
    metadata = pq.read_metadata(tmp_path / "part")
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [12, 12]
    received = metadata.row_group(1).column(0).statistics
    assert received.min_raw == START_US + 12, "readers can leave groups out by their time"


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    file = ArrowPartFile(dataset.stage(".part"), signal_schema("traces"), "zstd")
    add(file, rows("traces", 0, 3))
    file.discard()
    file.discard()
    assert staged(tmp_path) == []


@pytest.mark.parametrize(("signal", "heading"), [("traces", "## Spans"), ("logs", "## Log records")])
def test_the_columns_told_are_those_of_the_files_in_their_order(signal: Signal, heading: str) -> None:
    own, shared = (re.split(r"^## ", TEXT.split(after)[1], flags=re.M)[0] for after in (heading, "## Columns of both"))
    pattern = re.compile(r"^\| `(\w+)` \| ([\w\s,-]+?) \|", flags=re.M)
    told = pattern.findall(own) + pattern.findall(shared)
    fields = {field.name: field for field in signal_schema(signal)}
    assert sorted(name for name, _ in told) == sorted(fields)
    for name, kind in told:
        assert kind.split(",")[0].strip() == _kind(fields[name].type), name
        assert fields[name].nullable == kind.endswith("or null"), name


def _kind(column: pa.DataType) -> str:
    names = {
        pa.types.is_timestamp: "timestamp",
        pa.types.is_string: "text",
        pa.types.is_map: "map of text to text",
        pa.types.is_list: "list of structs",
        pa.types.is_int32: "32-bit integer",
        pa.types.is_int64: "64-bit integer",
    }
    return next(name for fits, name in names.items() if fits(column))


def test_the_queries_told_are_answered(tmp_path: Path) -> None:
    datasets: dict[Signal, str] = {"traces": "spans", "logs": "logs"}
    for signal, dataset in datasets.items():
        opened_there = opened(tmp_path / dataset)
        file = ArrowPartFile(opened_there.stage(".part"), signal_schema(signal), "zstd")
        add(file, rows(signal, 0, 3))
        file.finish()
        opened_there.publish(file.path, HOUR, PartName(JOURNAL_ID, 0, 10))
    queries = re.findall(r"```sql\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(queries) == 3
    for query in queries:
        placed = query.replace("SPANS_DIR", str(tmp_path / "spans")).replace("LOGS_DIR", str(tmp_path / "logs"))
        placed = placed.replace("CHECKOUT", "service 1").replace("TRACE_ID", "trace_id 1")
        with duckdb.connect() as connection:
            assert connection.sql(placed).to_arrow_table().num_rows == 1, query


def stored(directory: Path, signal: Signal, *starts: int, hour: int = HOUR) -> list[Path]:
    """A dataset with parts of ten rows each."""
    dataset = opened(directory)
    parts = []
    for start in starts:
        file = ArrowPartFile(dataset.stage(".part"), signal_schema(signal), "none")
        add(file, rows(signal, start, 10))
        file.finish()
        parts.append(dataset.publish(file.path, hour, PartName(JOURNAL_ID, start, start + 10)))
    dataset.close()
    return parts


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_a_dataset_that_is_whole_is_verified_with_its_rows(tmp_path: Path, signal: Signal) -> None:
    stored(tmp_path, signal, 0, 10, 20)
    report = verify([tmp_path])
    assert (report.ok, report.files, report.rows) == (True, 3, 30)
    assert (report.identities, report.unknown) == ([], [])


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_what_is_wrong_with_a_dataset_of_a_signal_is_found(tmp_path: Path, signal: Signal) -> None:
    cut, flipped, _, _ = stored(tmp_path, signal, 0, 10, 20, 25)
    cut.write_bytes(cut.read_bytes()[:-20])
    body = bytearray(flipped.read_bytes())
    body[body.index(b"identity 11")] ^= 1
    flipped.write_bytes(body)
    (late,) = stored(tmp_path, signal, 40, hour=HOUR + 1)
    report = verify([tmp_path])
    assert not report.ok
    assert [fault.path for fault in report.unreadable] == [str(cut), str(flipped)]
    assert [fault.path for fault in report.misplaced] == [str(late)]
    assert len(report.overlapping) == 1, "rows 25 to 30 are in two files"


def test_a_file_with_a_row_that_does_not_say_when_it_came_is_told(tmp_path: Path) -> None:
    (part,) = stored(tmp_path, "logs", 0)
    without(part, "received")
    report = verify([tmp_path])
    assert [fault.reason for fault in report.unreadable] == ["has rows without received"]
