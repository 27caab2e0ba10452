"""The dataset as DuckDB's users meet it: plain types, partitions to prune by, and readable at every instant."""

import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from tests.support.blocks import HISTOGRAM, HOUR, SUMMARY, FakeBlocks, Point, blocks_of
from tests.support.dataset import GLOB, names
from tests.support.writing import Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

HIVE_TYPES = "hive_types = {'date': DATE, 'hour': BIGINT}"
"""Without it DuckDB reads an hour as text, for its leading zero."""


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


async def written(root: Path, *blocks: FakeBlocks, clock: ManualClock | None = None) -> ParquetWriter:
    parquet = ParquetWriter(ParquetConfig(output_dir=root), Observed().context("parquet"), clock)
    await parquet.start(0)
    for some in blocks:
        await parquet.write(some)
        await parquet.flush()
    return parquet


async def test_columns_have_the_types_that_the_documentation_names(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    parquet = await written(tmp_path, FakeBlocks([Point(), HISTOGRAM, SUMMARY], 0, 10))
    await parquet.stop()
    query = f"DESCRIBE SELECT * FROM read_parquet('{tmp_path}/{GLOB}', {HIVE_TYPES})"
    described = database.execute(query).fetchall()
    assert {name: kind for name, kind, *_ in described} == {
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "received": "TIMESTAMP WITH TIME ZONE",
        **dict.fromkeys(["name", "type", "unit", "node_id", "region", "zone", "service", "version"], "VARCHAR"),
        "value": "DOUBLE",
        "delta": "BOOLEAN",
        "tags": "MAP(VARCHAR, VARCHAR)",
        "histogram": "STRUCT(count BIGINT, sum DOUBLE, min DOUBLE, max DOUBLE, bounds DOUBLE[], counts BIGINT[])",
        "summary": 'STRUCT(count BIGINT, sum DOUBLE, quantiles DOUBLE[], "values" DOUBLE[])',
        "identity": "VARCHAR",
        "epoch": "BIGINT",
        "sequence": "BIGINT",
        "date": "DATE",
        "hour": "BIGINT",
    }


async def test_all_five_types_read_back_as_they_were(tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    points = [
        Point(name="a.counter", type="counter", value=3.5, delta=True, unit="By", tags={"node_id": "n", "z": "1"}),
        Point(name="b.gauge", value=-0.0, tags={"region": "r", "zone": "z", "service": "s", "version": "v"}),
        Point(name="c.meter", type="meter", value=1e308),
        HISTOGRAM,
        SUMMARY,
    ]
    parquet = await written(tmp_path, FakeBlocks(points, 0, 10))
    await parquet.stop()
    rows = database.execute(
        "SELECT name, type, unit, value, delta, node_id, region, zone, service, version, tags, histogram, summary "
        f"FROM read_parquet('{tmp_path}/{GLOB}') ORDER BY sequence, name"
    ).fetchall()
    blank = (None,) * 4
    assert rows == [
        ("a.counter", "counter", "By", 3.5, True, "n", *blank, {"z": "1"}, None, None),
        ("b.gauge", "gauge", "1", -0.0, False, None, "r", "z", "s", "v", {}, None, None),
        ("c.meter", "meter", "1", 1e308, False, "node-1", *blank, {}, None, None),
        ("queue.seconds", "summary", "s", None, False, "node-1", *blank, {}, None, SUMMARY.summary),
        ("request.seconds", "histogram", "s", None, False, "node-1", *blank, {}, HISTOGRAM.histogram, None),
    ]


async def test_partitions_prune_and_unfinished_files_are_not_found(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    parquet = await written(tmp_path, *(blocks_of(10, start, hour=HOUR + start // 10) for start in range(0, 50, 10)))
    await parquet.write(blocks_of(10, 50, hour=HOUR + 5))
    files = f"read_parquet('{tmp_path}/{GLOB}', {HIVE_TYPES})"
    counted = f"SELECT count(*) FROM {files} WHERE date = '2026-10-24' AND hour = 3"
    assert database.execute(counted).fetchone() == (10,)
    (plan,) = [text for _, text in database.execute(f"EXPLAIN ANALYZE {counted}").fetchall()]
    assert "Scanning Files: 1/5" in plan
    await parquet.stop()


@pytest.mark.slow
async def test_every_read_during_writing_and_compacting_is_a_prefix_of_the_journal(tmp_path: Path) -> None:
    """Each listing shows all points up to some flush: whole files, none twice, none missing in between."""
    clock = ManualClock((HOUR + 1) * 3600 + 100.0)
    parquet = await written(tmp_path, blocks_of(10, 0), clock=clock)
    faults: list[str] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        with duckdb.connect() as connection:
            while not done.is_set():
                listed = [str(path) for path in tmp_path.glob(GLOB)]
                try:
                    rows = connection.execute("SELECT value FROM read_parquet($files)", {"files": listed}).fetchall()
                except duckdb.IOException as error:
                    # A file of this listing was replaced before it was opened: list again. Nothing else is allowed.
                    if all(Path(path).exists() for path in listed):
                        faults.append(str(error))
                    continue
                found = sorted(value for (value,) in rows)
                if found != [float(value) for value in range(len(found))]:
                    faults.append(f"{len(found)} points, {len(set(found))} of them distinct, in {len(listed)} files")
                reads += 1

    reader = threading.Thread(target=read)
    reader.start()
    position = 10
    try:
        while reads < 50 and not faults and reader.is_alive():
            await parquet.write(blocks_of(10, position, first=position))
            await parquet.flush()
            position += 10
            clock.advance(30)
            await parquet.maintain()
    finally:
        done.set()
        reader.join()
    await parquet.settled()
    await parquet.stop()
    assert faults == []
    assert len(names(tmp_path)) < position / 10, "compaction took part"
