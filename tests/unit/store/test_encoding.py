"""Files that the core's encoder has written, as other people's readers see them: pyarrow and DuckDB."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.dataset import add

from telemetry_collector.errors import CoreError
from telemetry_collector.store.encoding import Compression, PartFile
from telemetry_collector.store.schema import DICTIONARY_COLUMNS, points_schema

SCHEMA = points_schema()
FLOATS = st.floats(allow_nan=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=5)
INSTANTS = st.datetimes(timezones=st.just(UTC))


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ROWS = st.fixed_dictionaries(
    {
        **dict.fromkeys(("timestamp", "received"), INSTANTS),
        **dict.fromkeys(("name", "type", "unit", "identity"), TEXTS),
        **{name: nullable(TEXTS) for name in ("node_id", "region", "zone", "service", "version")},
        **dict.fromkeys(("epoch", "sequence"), INTEGERS),
        "value": nullable(FLOATS),
        "delta": st.booleans(),
        "tags": st.lists(st.tuples(TEXTS, nullable(TEXTS)), max_size=3),
        "histogram": nullable(
            st.fixed_dictionaries(
                {
                    "count": nullable(INTEGERS),
                    **{name: nullable(FLOATS) for name in ("sum", "min", "max")},
                    "bounds": nullable(st.lists(nullable(FLOATS), max_size=3)),
                    "counts": nullable(st.lists(nullable(INTEGERS), max_size=3)),
                }
            )
        ),
        "summary": nullable(
            st.fixed_dictionaries(
                {
                    "count": nullable(INTEGERS),
                    "sum": nullable(FLOATS),
                    **{name: nullable(st.lists(nullable(FLOATS), max_size=3)) for name in ("quantiles", "values")},
                }
            )
        ),
    }
)


def written(
    path: Path, batches: Sequence[pa.RecordBatch], compression: Compression = "snappy", group_rows: int = 1 << 20
) -> pq.ParquetFile:
    file = PartFile(path, batches[0].schema, compression, group_rows)
    for batch in batches:
        file.add(batch)
    assert file.finish() == path.stat().st_size
    assert file.rows == sum(batch.num_rows for batch in batches)
    return pq.ParquetFile(path, page_checksum_verification=True)


def plain(table: pa.Table) -> pa.Table:
    """With texts instead of dictionaries, in one piece."""
    columns = [
        column.cast(pa.utf8()) if name in DICTIONARY_COLUMNS else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names).combine_chunks()


@given(
    batches=st.lists(st.lists(ROWS, min_size=1, max_size=12), min_size=1, max_size=3),
    compression=st.sampled_from(["snappy", "zstd", "none"]),
    group_rows=st.integers(1, 20),
)
def test_whatever_rows_are_they_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[dict[str, Any]]],
    compression: Compression,
    group_rows: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "whatever.parquet"
    made = [pa.RecordBatch.from_pylist(rows, schema=SCHEMA) for rows in batches]
    with written(path, made, compression, group_rows) as file:
        read = file.read()
    assert read.to_pylist() == pa.Table.from_batches(made).to_pylist()
    assert plain(read).schema.equals(plain(pa.Table.from_batches(made)).schema)
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.metadata.num_row_groups)]
    rows = sum(map(len, batches))
    assert sizes == [group_rows] * (rows // group_rows) + [rows % group_rows] * (rows % group_rows > 0)


def rows_of(values: pa.Array, first: int = 0) -> pa.RecordBatch:
    """Rows like a fleet's, with these values and times that go on from row to row."""
    count = len(values)
    places = range(first, first + count)
    start = datetime(2026, 11, 22, 7, tzinfo=UTC)
    row: dict[str, Any] = {
        "received": start,
        "type": "gauge",
        "unit": "1",
        "delta": False,
        "identity": "spiffe://fleet/node",
        "epoch": 7,
        "sequence": 1,
    }
    instants = pa.array([start + timedelta(microseconds=place) for place in places], SCHEMA.field("timestamp").type)
    columns = {
        "timestamp": instants,
        "name": pa.array([f"metric-{place % 20}" for place in places]),
        "node_id": pa.array([f"node-{place // 1_000}" for place in places]),
        "service": pa.array([f"service-{place % 5}" if place % 3 else None for place in places]),
        "tags": pa.array([[("core", str(place % 8))] * (place % 2) for place in places], SCHEMA.field("tags").type),
        "value": values,
    }
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.array([row.get(field.name)] * count, field.type)
        for field in SCHEMA
    ]
    return pa.record_batch(arrays, schema=SCHEMA)


@pytest.mark.parametrize("kind", ["few", "many", "distinct", "few, then distinct"])
def test_large_groups_read_back_the_same_whatever_becomes_of_their_dictionaries(tmp_path: Path, kind: str) -> None:
    """Over several pages: values stay in a dictionary, never have one, or outgrow it on the way."""
    noise = random.Random(1)
    few = [round(noise.gauss(50, 2), 3) for _ in range(150_000)]
    distinct = [noise.random() for _ in range(400_000)]
    values = {
        "few": few,
        "many": [value for value in distinct[:40_000] for _ in range(4)],
        "distinct": distinct[:150_000],
        "few, then distinct": few[:70_000] + distinct,
    }[kind]
    batches = [rows_of(pa.array(values[at : at + 60_001]), at) for at in range(0, len(values), 60_001)]
    with written(tmp_path / "part.parquet", batches) as file:
        assert plain(file.read()).equals(plain(pa.Table.from_batches(batches)))
        column = file.metadata.row_group(0).column(SCHEMA.get_field_index("value"))
    assert ("RLE_DICTIONARY" in column.encodings) == (kind != "distinct")
    with duckdb.connect() as connection:
        query = f"SELECT count(*), sum(value), count(service), count(DISTINCT name) FROM '{tmp_path}/part.parquet'"
        count, total, services, names = connection.execute(query).fetchall()[0]
    assert (count, services, names) == (len(values), sum(place % 3 > 0 for place in range(len(values))), 20)
    assert total == pytest.approx(sum(values))


def test_values_keep_their_bits(tmp_path: Path) -> None:
    values = [0.0, -0.0, float("inf"), float("nan"), 5e-324] * 20 + [0.0, -0.0] * 40
    with written(tmp_path / "part.parquet", [rows_of(pa.array(values))]) as file:
        read = file.read().column("value").to_pylist()
    assert list(map(repr, read)) == list(map(repr, values))


def test_bounds_are_those_of_the_row_group(tmp_path: Path) -> None:
    batch = rows_of(pa.array([float(value) for value in range(3_000)]))
    with written(tmp_path / "part.parquet", [batch], group_rows=1_000) as file:
        metadata = file.metadata
    for index in range(3):
        slice_ = batch.slice(index * 1_000, 1_000)
        group = metadata.row_group(index)
        told = {group.column(place).path_in_schema: group.column(place).statistics for place in range(27)}
        for name in ("timestamp", "received", "name", "node_id", "service", "epoch", "sequence"):
            column = slice_.column(name)
            column = column.cast(pa.utf8()) if name in DICTIONARY_COLUMNS else column
            bounds = pc.min_max(column).as_py()
            assert (told[name].min, told[name].max, told[name].null_count) == (
                bounds["min"],
                bounds["max"],
                column.null_count,
            )
        assert (told["histogram.count"].has_min_max, told["histogram.count"].null_count) == (False, 1_000)
        assert told["value"] is None


def histograms_of(buckets: Sequence[Sequence[int] | None]) -> pa.RecordBatch:
    """Rows with histograms of these buckets; their sums are those of the buckets. None for a row without one."""
    batch = rows_of(pa.array([None] * len(buckets), pa.float64()))
    place = SCHEMA.get_field_index("histogram")
    histograms = [
        None
        if counts is None
        else {"count": 1, "sum": float(sum(counts)), "min": None, "max": None, "bounds": [], "counts": counts}
        for counts in buckets
    ]
    return batch.set_column(place, SCHEMA.field(place), pa.array(histograms, SCHEMA.field(place).type))


def column_of(group: pq.RowGroupMetaData, path: str) -> pq.ColumnChunkMetaData:
    columns = (group.column(place) for place in range(group.num_columns))
    (column,) = (column for column in columns if column.path_in_schema == path)
    return column


def groups_of(file: pq.ParquetFile) -> list[pq.RowGroupMetaData]:
    return [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]


def test_a_group_that_was_full_leaves_the_next_ones_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dictionaries of six columns fill a group's bytes, with hardly a value that comes twice."""
    monkeypatch.setattr("telemetry_collector.store.encoding.ROW_GROUP_BYTES", 6 * 1024 * 1024)
    noise = random.Random(1)
    values = [noise.random() for _ in range(100_000)]
    place = SCHEMA.get_field_index("histogram")
    histograms = [
        {"count": row, **dict.fromkeys(("sum", "min", "max"), value), "bounds": [], "counts": []}
        for row, value in enumerate(values)
    ]
    batch = rows_of(pa.array(values)).set_column(
        place, SCHEMA.field(place), pa.array(histograms, SCHEMA.field(place).type)
    )
    with written(tmp_path / "part.parquet", [batch]) as file:
        sizes = [group.num_rows for group in groups_of(file)]
        assert plain(file.read()).equals(plain(pa.Table.from_batches([batch])))
    assert len(sizes) > 2
    assert min(sizes[:-1]) > 2 * 8_192, sizes


def test_lists_of_a_thousand_elements_a_row_keep_the_bounds_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One push of 700,000 buckets, each number twice: neither dictionaries nor groups go far beyond their bounds."""
    batch = histograms_of([[place // 2 for place in range(row * 1_024, row * 1_024 + 1_024)] for row in range(700)])
    with written(tmp_path / "one.parquet", [batch], "none") as file:
        (group,) = groups_of(file)
        assert file.read(["histogram"]).column(0).combine_chunks().equals(batch.column("histogram"))
    counts = column_of(group, "histogram.counts.list.element")
    assert counts.data_page_offset - counts.dictionary_page_offset < (262_144 + 65_536) * 8 + 100
    monkeypatch.setattr("telemetry_collector.store.encoding.ROW_GROUP_BYTES", 4 * 1024 * 1024)
    with written(tmp_path / "many.parquet", [batch], "none") as file:
        assert max(group.total_byte_size for group in groups_of(file)) < 4 * 1024 * 1024
        assert file.read(["histogram"]).column(0).combine_chunks().equals(batch.column("histogram"))


@pytest.mark.parametrize("useful", [True, False])
def test_few_values_in_the_first_page_do_not_judge_the_dictionary(tmp_path: Path, useful: bool) -> None:
    first = histograms_of([None] * 65_535 + [[5]])
    noise = random.Random(1)
    later = histograms_of([[noise.randrange(9 if useful else 2**53)] for _ in range(20_000)])
    with written(tmp_path / "part.parquet", [first, later], "none") as file:
        (group,) = groups_of(file)
        assert plain(file.read()).equals(plain(pa.Table.from_batches([first, later])))
    total = column_of(group, "histogram.sum")
    assert total.data_page_offset - total.dictionary_page_offset < 9 * 8 + 100, "it has what its pages need"
    assert (total.total_uncompressed_size < 20_000) == useful


def test_a_null_among_the_texts_of_a_dictionary_is_a_null(tmp_path: Path) -> None:
    batch = rows_of(pa.array([1.0, 2.0, 3.0]))
    place = SCHEMA.get_field_index("service")
    services = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), pa.array(["a", None]))
    batch = batch.set_column(place, SCHEMA.field(place), services)
    with written(tmp_path / "part.parquet", [batch]) as file:
        assert file.read().column("service").to_pylist() == ["a", None, None]


def test_what_is_no_sound_batch_is_refused_and_the_file_goes_on(tmp_path: Path) -> None:
    batch = rows_of(pa.array([1.0, 2.0]))
    place, service = SCHEMA.get_field_index("epoch"), SCHEMA.get_field_index("service")
    lacking = batch.set_column(place, pa.field("epoch", pa.int64()), pa.array([7, None], pa.int64()))
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int32()), pa.array(["a"]), safe=False)
    astray = batch.set_column(service, SCHEMA.field(service), codes)
    nulls = pa.StructArray.from_arrays(batch.columns, fields=list(SCHEMA), mask=pa.array([True, False]))
    file = PartFile(tmp_path / "part.parquet", SCHEMA, "snappy")
    told = {
        "column epoch is not nullable, and 1 of its values are null": lacking,
        "out of bounds": astray,
        "1 rows are null": nulls,
        "an array of Int64": pa.array([1]),
    }
    for error, rows in told.items():
        with pytest.raises(CoreError, match=error):
            file._encoder.push(rows)
    file.add(batch)
    file.finish()
    assert pq.read_table(tmp_path / "part.parquet").num_rows == 2


def test_rows_of_other_columns_are_refused_and_the_file_goes_on(tmp_path: Path) -> None:
    batch = rows_of(pa.array([1.0, 2.0]))
    file = PartFile(tmp_path / "part.parquet", SCHEMA, "snappy")
    file.add(batch)
    with pytest.raises(CoreError, match="timestamp"):
        add(file, pa.Table.from_batches([batch]).cast(points_schema("ns")))
    with pytest.raises(CoreError, match="17 columns; expected 18"):
        file.add(batch.drop_columns(["sequence"]))
    file.finish()
    assert pq.read_metadata(tmp_path / "part.parquet").num_rows == 2


def test_a_column_of_an_unknown_type_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match="column colour has the type"):
        PartFile(tmp_path / "part.parquet", pa.schema({"colour": pa.decimal128(5)}), "snappy")
