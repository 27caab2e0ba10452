"""docs/dataset.md is what readers of the data go by: its columns are the files', its queries mean what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests.support.blocks import HISTOGRAM, FakeBlocks, Point
from tests.support.dataset import opened, publish
from tests.support.repository import REPOSITORY

from telemetry_collector.store.part import PartName
from telemetry_collector.store.schema import SCHEMA_VERSION, SCHEMA_VERSION_KEY, points_schema

TEXT = (REPOSITORY / "docs/dataset.md").read_text()
MEAN, TAG, BUCKETS, MERGED = re.findall(r"```sql\n(.*?)```", TEXT, flags=re.DOTALL)
ASKED_NS = 1_795_332_600 * 1_000_000_000
"""2026-11-22, 07:30 UTC: within the time that the first query asks for."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset with what the queries look for, and with what they must not find."""
    hour = ASKED_NS // 3_600_000_000_000
    points = [
        Point(value=0.5, timestamp_ns=ASKED_NS),
        Point(value=1.0, timestamp_ns=ASKED_NS),
        Point(value=0.9, timestamp_ns=ASKED_NS, tags={"node_id": "node-2"}),
        Point(value=99.0, timestamp_ns=ASKED_NS - 3_600_000_000_000),
        Point(name="system.disk.used", value=7.0, tags={"mountpoint": "/"}),
        Point(name="system.disk.used", value=8.0, tags={"mountpoint": "/home"}),
        HISTOGRAM,
    ]
    dataset = opened(tmp_path / "own")
    publish(dataset, FakeBlocks(points, hour=hour))
    dataset.close()
    return dataset.root


def answer(query: str, root: Path, other: Path | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query in the text, over real files."""
    with duckdb.connect() as connection:
        # Through Arrow, since times with a zone need a further package as Python's own rows.
        table = connection.sql(query.replace("OUTPUT_DIR", str(root)).replace("OTHER_DIR", str(other))).to_arrow_table()
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_columns_are_those_of_the_files_in_their_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\w\s,-]+?) \|", TEXT.split("## Columns")[1].split("## Reading")[0], flags=re.M)
    fields = {field.name: field for field in points_schema()}
    assert [name for name, _ in rows] == list(fields)
    for name, told in rows:
        assert told.split(",")[0].removesuffix(" or null").strip() == _kind(fields[name].type), name
        assert fields[name].nullable == told.endswith("or null"), name


def _kind(column: pa.DataType) -> str:
    names = {
        pa.types.is_timestamp: "timestamp",
        pa.types.is_dictionary: "text",
        pa.types.is_float64: "double",
        pa.types.is_boolean: "boolean",
        pa.types.is_map: "map of text to text",
        pa.types.is_struct: "struct",
        pa.types.is_int64: "64-bit integer",
    }
    return next(name for fits, name in names.items() if fits(column))


def test_the_schema_version_is_the_one_told() -> None:
    assert f"`{SCHEMA_VERSION_KEY}`, now {SCHEMA_VERSION};" in TEXT


def test_the_name_of_a_file_is_as_shown() -> None:
    shown = re.search(r"OUTPUT_DIR/date=[\d-]+/hour=\d\d/(\S+)", TEXT)
    assert shown is not None
    assert PartName.parse(shown[1].replace("…", "0" * 26)) is not None


def test_the_mean_is_of_the_time_asked_for(root: Path) -> None:
    assert answer(MEAN, root) == [("node-2", 0.9), ("node-1", 0.75)]


def test_a_tag_without_a_column_is_found_in_the_map(root: Path) -> None:
    assert [value for _, value in answer(TAG, root)] == [7.0]


def test_the_buckets_of_a_histogram_come_one_a_row(root: Path) -> None:
    assert [(bound, points) for _, bound, points in answer(BUCKETS, root)] == [(0.5, 3), (1.0, 2), (None, 1)]


def test_two_datasets_merge_without_what_both_have(root: Path, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    publish(other, FakeBlocks([Point(value=0.5)], sequence=1))
    publish(other, FakeBlocks([Point(value=42.0)], sequence=2, start=100, end=200))
    other.close()
    merged = answer(MERGED, root, other.root)
    assert len(merged) == 8, "seven of the first dataset, and the batch that it has not"
    assert sum(42.0 in row for row in merged) == 1


def test_pyarrow_reads_it_as_shown(root: Path) -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(code.replace("OUTPUT_DIR", str(root)), found)
    assert found["table"].column("value").to_pylist() == [0.5, 1.0, 0.9, 99.0]


def test_no_text_has_readers_look_into_the_staging_directory() -> None:
    texts = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    shown = {
        path.name for path in texts for read in re.findall(r"read_parquet\('(.*?)'", path.read_text()) if "**" in read
    }
    assert shown == set()


def test_the_text_on_reliability_merges_in_the_same_way() -> None:
    text = (REPOSITORY / "docs/reliability.md").read_text()
    assert re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL) == [MERGED]
