"""What every writer promises to the fan-out, whatever it writes to."""

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.support.blocks import blocks_of
from tests.support.influx import FakeInflux
from tests.support.writing import Observed

from telemetry_collector.component import Writer, WriterContext
from telemetry_collector.config import Section
from telemetry_collector.writers.console import ConsoleConfig, ConsoleWriter
from telemetry_collector.writers.influxdb import InfluxConfig, InfluxWriter
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

Build = Callable[[WriterContext], Writer]


@pytest.fixture(params=["parquet", "influxdb", "console"])
async def build(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Build]:
    async with FakeInflux() as influx:
        token = SecretStr("token")
        builders: dict[str, Build] = {
            "parquet": lambda context: ParquetWriter(ParquetConfig(output_dir=tmp_path), context),
            "influxdb": lambda context: InfluxWriter(
                InfluxConfig(url=influx.url, org="org", bucket="bucket", token=token), context
            ),
            "console": lambda context: ConsoleWriter(ConsoleConfig(), context, io.StringIO()),
        }
        yield builders[request.param]


async def test_stopping_is_idempotent_and_safe_before_starting(build: Build) -> None:
    writer = build(Observed().context("writer"))
    await writer.stop()
    await writer.start(0)
    await writer.stop()
    await writer.stop()


async def test_a_stopped_writer_starts_again_and_goes_on(build: Build) -> None:
    observed = Observed()
    writer = build(observed.context("writer"))
    position = await writer.start(0)
    for start in (0, 10):
        assert position == start
        await writer.write(blocks_of(10, start))
        assert await writer.flush() == start + 10
        await writer.stop()
        position = await writer.start(start + 10)
    assert observed.count("points", "writer") == 20
    await writer.stop()


async def test_starting_twice_is_starting_anew(build: Build) -> None:
    writer = build(Observed().context("writer"))
    await writer.start(0)
    await writer.write(blocks_of(10, 0))
    assert await writer.start(0) == 0
    assert await writer.flush() == 0
    await writer.stop()


async def test_the_flush_answers_with_the_end_of_what_was_taken(build: Build) -> None:
    writer = build(Observed().context("writer"))
    assert await writer.start(40) == 40
    assert await writer.flush() == 40
    await writer.write(blocks_of(10, 40))
    await writer.maintain()
    assert await writer.flush() == 50
    assert await writer.flush() == 50
    await writer.stop()


@pytest.mark.parametrize("writer", [ParquetWriter, InfluxWriter, ConsoleWriter])
def test_each_declares_its_section(writer: type[Writer]) -> None:
    assert issubclass(writer.Config, Section)


async def test_each_says_what_is_worth_a_call(build: Build) -> None:
    writer = build(Observed().context("writer"))
    assert writer.batch_points >= 1
    assert writer.flush_interval_secs > 0
