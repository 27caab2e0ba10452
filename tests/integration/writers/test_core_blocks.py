"""Writers and the core's own blocks: from a batch's bytes to what DuckDB and a time-series database show of it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pydantic import SecretStr
from tests.support.blocks import HISTOGRAM, SUMMARY, Point
from tests.support.dataset import GLOB, names, paths, values
from tests.support.influx import FakeInflux
from tests.support.journal import EPOCH, IDENTITY, journal
from tests.support.victoria_metrics import VictoriaMetrics
from tests.support.writing import Observed

from telemetry_collector.store.schema import points_schema
from telemetry_collector.writers.influxdb import InfluxConfig, InfluxWriter
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

NOW_NS = time.time_ns() // 1_000_000_000 * 1_000_000_000
HOUR_NS = 3_600 * 10**9

POINTS = [
    replace(point, timestamp_ns=NOW_NS + place)
    for place, point in enumerate(
        [
            Point(name="a.counter", type="counter", value=3.5, delta=True, unit="By", tags={"z": "1", "service": "s"}),
            Point(name="b.gauge", value=-0.25, tags={"region": "r", "zone": "z", "version": "v"}),
            Point(name="c.meter", type="meter", value=1e300, tags={"Größe": "groß, größer = am größten"}),
            HISTOGRAM,
            SUMMARY,
        ]
    )
]


def parquet_writer(root: Path, observed: Observed, journal_id: str, **keys: Any) -> ParquetWriter:
    return ParquetWriter(ParquetConfig(output_dir=root, **keys), observed.context("parquet", journal_id))


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_the_cores_record_batches_have_the_documented_schema(tmp_path: Path, unit: str) -> None:
    with journal(tmp_path / "journal") as log:
        log.append(POINTS)
        (blocks,) = log.blocks()
        batch = pa.record_batch(blocks.record_batch(unit))  # type: ignore[arg-type]
        batch.validate(full=True)
        assert batch.schema.equals(points_schema(unit), check_metadata=True)  # type: ignore[arg-type]


async def test_every_type_reaches_the_dataset_as_it_was_sent(tmp_path: Path) -> None:
    with journal(tmp_path / "journal") as log:
        parquet = parquet_writer(tmp_path / "data", Observed(), log.core.journal_id)
        await parquet.start(0)
        log.append(POINTS)
        for blocks in log.blocks(0):
            await parquet.write(blocks)
        assert await parquet.flush() == log.core.committed
        await parquet.stop()
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT name, type, unit, value, delta, node_id, region, zone, service, version, tags, histogram, summary, "
            f"identity, epoch, sequence FROM read_parquet('{tmp_path}/data/{GLOB}') ORDER BY timestamp"
        ).fetchall()
    source = (IDENTITY, EPOCH - 2**64, 1)
    blank = (None,) * 4
    assert rows == [
        ("a.counter", "counter", "By", 3.5, True, "node-1", None, None, "s", None, {"z": "1"}, None, None, *source),
        ("b.gauge", "gauge", "1", -0.25, False, "node-1", "r", "z", None, "v", {}, None, None, *source),
        ("c.meter", "meter", "1", 1e300, False, "node-1", *blank, POINTS[2].tags, None, None, *source),
        ("request.seconds", "histogram", "s", None, False, "node-1", *blank, {}, HISTOGRAM.histogram, None, *source),
        ("queue.seconds", "summary", "s", None, False, "node-1", *blank, {}, None, SUMMARY.summary, *source),
    ]


async def test_a_restart_at_any_flush_doubles_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """The cursor is never stored here: what the file names say is enough."""
    with journal(tmp_path / "journal") as log:
        for round_ in range(4):
            parquet = parquet_writer(tmp_path / "data", Observed(), log.core.journal_id)
            position = await parquet.start(0)
            for batch in range(5):
                log.append([Point(value=float(round_ * 5 + batch), tags={}, timestamp_ns=NOW_NS)])
            for place, blocks in enumerate(log.blocks(position, points_max=1)):
                await parquet.write(blocks)
                if place == 2:
                    await parquet.flush()
            await parquet.stop()  # what came after the flush is lost, and read again
        parquet = parquet_writer(tmp_path / "data", Observed(), log.core.journal_id)
        for blocks in log.blocks(await parquet.start(0)):
            await parquet.write(blocks)
        assert await parquet.flush() == log.core.committed
        await parquet.stop()
    assert values(tmp_path / "data") == [float(value) for value in range(20)]


async def test_hours_of_receipt_are_kept_apart(tmp_path: Path) -> None:
    with journal(tmp_path / "journal") as log:
        parquet = parquet_writer(tmp_path / "data", Observed(), log.core.journal_id)
        await parquet.start(0)
        for hour in range(3):
            received = NOW_NS + hour * HOUR_NS
            log.append([Point(value=float(hour), tags={}, timestamp_ns=received)], received_unix_ns=received)
        for blocks in log.blocks(0):
            await parquet.write(blocks)
        await parquet.flush()
        await parquet.stop()
    assert len({path.parent for path in paths(tmp_path / "data")}) == len(names(tmp_path / "data")) == 3


async def test_a_journal_that_is_new_does_not_take_an_old_ones_files_for_its_own(tmp_path: Path) -> None:
    for life in range(2):
        with journal(tmp_path / f"journal-{life}") as log:
            parquet = parquet_writer(tmp_path / "data", Observed(), log.core.journal_id)
            assert await parquet.start(0) == 0
            log.append([Point(value=float(life), tags={}, timestamp_ns=NOW_NS)])
            for blocks in log.blocks(0):
                await parquet.write(blocks)
            await parquet.flush()
            await parquet.stop()
    assert values(tmp_path / "data") == [0.0, 1.0]


async def test_lines_that_line_protocol_cannot_carry_are_rewritten_and_counted(tmp_path: Path) -> None:
    observed = Observed()
    with journal(tmp_path / "journal") as log:
        async with FakeInflux() as influx:
            config = InfluxConfig(url=influx.url, org="org", bucket="bucket", token=SecretStr("token"))
            writer = InfluxWriter(config, observed.context("influxdb"))
            await writer.start(0)
            log.append([Point(tags={"time": "noon"}, timestamp_ns=NOW_NS), Point(tags={"a": "b"}, timestamp_ns=NOW_NS)])
            for blocks in log.blocks(0):
                await writer.write(blocks)
            assert await writer.flush() == log.core.committed
            await writer.stop()
    assert observed.count("points_rewritten", "influxdb") == 1
    assert len(influx.accepted) == 2
    assert not any(b",time=" in line for line in influx.accepted)


@pytest.mark.slow
async def test_every_type_reaches_a_real_database(tmp_path: Path) -> None:
    observed = Observed()
    with journal(tmp_path / "journal") as log:
        async with VictoriaMetrics(tmp_path / "database") as database:
            config = InfluxConfig(url=database.url, org="org", bucket="bucket", token=SecretStr("token"))
            writer = InfluxWriter(config, observed.context("influxdb"))
            await writer.start(0)
            log.append(POINTS)
            for blocks in log.blocks(0):
                await writer.write(blocks)
            assert await writer.flush() == log.core.committed
            await writer.stop()
            found = await database.export('{node_id="node-1"}')
    moment = NOW_NS // 10**6
    node = 'node_id="node-1"'
    single = {series: value for series, ((when, value),) in found.items() if when == moment}
    assert single[f'a.counter_value{{{node},service="s",z="1"}}'] == 3.5
    assert single[f'b.gauge_value{{{node},region="r",version="v",zone="z"}}'] == -0.25
    assert single[f'c.meter_value{{Größe="groß, größer = am größten",{node}}}'] == pytest.approx(1e300)
    assert {series.removesuffix(f"{{{node}}}"): value for series, value in single.items() if "seconds" in series} == {
        "request.seconds_count": 6,
        "request.seconds_sum": 2.5,
        "request.seconds_min": 0.1,
        "request.seconds_max": 1.5,
        "request.seconds_le_0.5": 3,
        "request.seconds_le_1": 5,
        "request.seconds_le_+Inf": 6,
        "queue.seconds_count": 4,
        "queue.seconds_sum": 3,
        "queue.seconds_q_0.5": 0.4,
        "queue.seconds_q_0.9": 1.25,
    }
    assert observed.count("points", "influxdb") == 5
