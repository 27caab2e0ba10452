"""The InfluxDB writer and a real database: what was written is there, and an outage costs nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.blocks import HISTOGRAM, SUMMARY, FakeBlocks, Point
from tests.support.victoria_metrics import VictoriaMetrics
from tests.support.waiting import until
from tests.support.writing import Observed

from telemetry_collector.writers.influxdb import InfluxConfig, InfluxWriter

pytestmark = pytest.mark.slow


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[VictoriaMetrics]:
    async with VictoriaMetrics(tmp_path / "database") as running:
        yield running


def writer(url: str, observed: Observed, **keys: Any) -> InfluxWriter:
    config = InfluxConfig(url=url, org="org", bucket="bucket", token=SecretStr("token"), **keys)
    return InfluxWriter(config, observed.context("influxdb", retry_secs_max=config.retry_secs_max))


@pytest.mark.parametrize("gzip", ["on", "off"])
async def test_points_arrive_with_their_tags_times_and_values(database: VictoriaMetrics, gzip: str) -> None:
    observed = Observed()
    influx = writer(database.url, observed, gzip=gzip)
    await influx.start(0)
    moments = [HISTOGRAM.timestamp_ns + second * 10**9 for second in range(3)]
    points = [
        Point(value=0.25 * place, tags={"node_id": "node-1", "core": "7"}, timestamp_ns=moment)
        for place, moment in enumerate(moments)
    ]
    await influx.write(FakeBlocks([*points, HISTOGRAM, SUMMARY], 0, 100))
    assert await influx.flush() == 100
    found = await database.export('{node_id="node-1"}')
    assert found['system.cpu.usage_value{core="7",node_id="node-1"}'] == [
        (moment // 10**6, 0.25 * place) for place, moment in enumerate(moments)
    ]
    assert found['request.seconds_count{node_id="node-1"}'] == [(moments[0] // 10**6, 6)]
    assert found['queue.seconds_sum{node_id="node-1"}'] == [(moments[0] // 10**6, 3)]
    assert observed.count("points", "influxdb") == 5
    await influx.stop()


async def test_a_restart_of_the_database_loses_nothing(database: VictoriaMetrics) -> None:
    observed = Observed()
    influx = writer(database.url, observed, retry_secs_max=0.5)
    await influx.start(0)
    series = [Point(value=float(value), tags={"n": str(value)}) for value in range(200)]
    await influx.write(FakeBlocks(series[:100], 0, 100))
    assert await influx.flush() == 100
    await database.stop()
    await influx.write(FakeBlocks(series[100:], 100, 200))
    flushing = asyncio.create_task(influx.flush())
    await until(lambda: observed.count("failures", "influxdb", reason="connection") > 0)
    assert not flushing.done()
    await database.start()
    assert await flushing == 200
    found = await database.export('{__name__="system.cpu.usage_value"}')
    assert sorted(value for ((_, value),) in found.values()) == [float(value) for value in range(200)]
    await influx.stop()


async def test_many_small_blocks_become_few_requests(database: VictoriaMetrics) -> None:
    observed = Observed()
    influx = writer(database.url, observed)
    await influx.start(0)
    for start in range(0, 2000, 100):
        points = [
            Point(value=float(value), timestamp_ns=HISTOGRAM.timestamp_ns + value * 10**9)
            for value in range(start, start + 100)
        ]
        await influx.write(FakeBlocks(points, start, start + 100))
    assert await influx.flush() == 2000
    assert observed.count("requests", "influxdb") == 1
    (points_found,) = (await database.export('{__name__="system.cpu.usage_value"}')).values()
    assert [value for _, value in points_found] == [float(value) for value in range(2000)]
    await influx.stop()
