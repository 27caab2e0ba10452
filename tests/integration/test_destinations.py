"""Destinations fail alone: what one of them suffers costs the others nothing, and it gets what it missed afterwards."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document
from tests.support.influx import FakeInflux, Reply
from tests.support.running import collector_of
from tests.support.victoria_metrics import VictoriaMetrics
from tests.support.waiting import until

from telemetry_collector.app import collector as composed
from telemetry_collector.app.collector import Collector
from telemetry_collector.app.refusals import Refusals
from telemetry_collector.config import Address
from telemetry_collector.security.authority import Files
from telemetry_collector.sender import Batch, Sender, TransportSettings

PATIENCE_SECS = 30.0
BATCH_POINTS = 200
TAG_BYTES = 1_000
MIB = 1 << 20


def influxdb(url: str, **keys: Any) -> dict[str, Any]:
    names = {"url": url, "org": "o", "bucket": "b", "token": "t"}
    return {**names, "flush_interval_secs": 0.1, "retry_secs_max": 0.2, **keys}


@asynccontextmanager
async def collector(directory: Path, certificates: Files, transport: str, **sections: Any) -> AsyncIterator[Collector]:
    document = collector_document(
        directory,
        certificates,
        transport,
        **{
            "journal": {"dir": str(directory / "journal"), "segment_bytes": MIB, "max_bytes": 5 * MIB},
            "parquet": {"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.1},
            **sections,
        },
    )
    async with collector_of(document) as running:
        yield running


@asynccontextmanager
async def sending(address: str, certificates: Files) -> AsyncIterator[Sender]:
    transport = TransportSettings(
        endpoints=(Address.parse(address),),
        cert_path=certificates.node_certificate,
        key_path=certificates.node_key,
        ca_path=certificates.ca,
        server_name="localhost",
    )
    sender = Sender(transport)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop(0)


def batch(number: int, tag_bytes: int = 8) -> Batch:
    """Points whose values say which they are; with long tags that no compression makes small."""
    text = random.Random(0)
    tags = [text.randbytes(tag_bytes // 2).hex() for _ in range(BATCH_POINTS)]
    return Batch(
        common_tags=(),
        series=[("test.metric", [("place", tag)], 2, "", False) for tag in tags],
        series_index=array("I", range(BATCH_POINTS)),
        timestamps_unix_ns=array("q", [time.time_ns()]) * BATCH_POINTS,
        values=array("d", (number * BATCH_POINTS + place for place in range(BATCH_POINTS))),
    )


async def drained(sender: Sender) -> None:
    async with asyncio.timeout(PATIENCE_SECS):
        await sender.drained()


def in_parquet(directory: Path) -> tuple[int, int]:
    """Rows, and different values among them."""
    files = f"{directory}/parquet/date=*/hour=*/*.parquet"
    found = duckdb.sql(f"SELECT count(*), count(DISTINCT value) FROM '{files}'")
    assert found is not None, "a query has rows"
    rows: tuple[int, int] = found.fetchall()[0]
    return rows


def values(lines: list[bytes]) -> list[int]:
    return [int(float(line.rpartition(b"value=")[2].split()[0].rstrip(b"iu"))) for line in lines]


def sample(running: Collector, name: str, **labels: str) -> float:
    return running._registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0


class Switch:
    """A database that can be down."""

    def __init__(self) -> None:
        self.down = True
        self.influx = FakeInflux(judge=lambda _: Reply(503, "down") if self.down else Reply())


async def test_at_a_full_journal_a_writer_that_may_drop_loses_its_oldest_counted_and_nobody_else_anything(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setattr(composed, "CORE_MAINTENANCE_SECS", 0.02)
    switch, batches = Switch(), 60
    async with (
        switch.influx,
        collector(
            tmp_path, certificates, transport, influxdb=influxdb(switch.influx.url, when_full="drop_oldest")
        ) as running,
        sending(running.listen_addr, certificates) as sender,
    ):
        for number in range(batches):
            # No faster than a busy machine makes room: one more segment always fits.
            await until(lambda: sample(running, "journal_bytes") <= 4 * MIB)
            await sender.put(batch(number, TAG_BYTES))
            await drained(sender)
        assert sum(running._core.stats()["retries_asked"].values()) == 0, "agents notice nothing"  # type: ignore[union-attr]
        assert sample(running, "writer_breaker_state", writer="influxdb") > 0
        switch.down = False
        await until(lambda: running.summary()["writers"]["influxdb"]["lag_points"] == 0)
        await until(lambda: running.summary()["writers"]["influxdb"]["failing"] is None)
        await until(lambda: sample(running, "writer_breaker_state", writer="influxdb") == 0)
        await until(lambda: values(switch.influx.accepted)[-1] == batches * BATCH_POINTS - 1)
        lost = int(sample(running, "writer_points_dropped_total", writer="influxdb", error="journal_full"))
        assert sample(running, "journal_bytes") <= 5 * MIB
        assert sample(running, "writer_points_dropped_total", writer="parquet", error="journal_full") == 0
    sent = batches * BATCH_POINTS
    assert lost > 0
    assert lost % BATCH_POINTS == 0
    assert values(switch.influx.accepted) == list(range(lost, sent)), "all the others, once, in order"
    assert in_parquet(tmp_path) == (sent, sent)


async def test_at_a_full_journal_a_writer_that_blocks_loses_nothing_and_agents_come_back_later(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    switch, batches = Switch(), 60
    async with (
        switch.influx,
        collector(tmp_path, certificates, transport, influxdb=influxdb(switch.influx.url)) as running,
        sending(running.listen_addr, certificates) as sender,
    ):
        for number in range(batches):
            await sender.put(batch(number, TAG_BYTES))
        await until(lambda: running._core.stats()["retries_asked"]["journal_full"] > 0)  # type: ignore[union-attr]
        assert sender.stats.batches_acknowledged < batches
        switch.down = False
        await drained(sender)
    sent = batches * BATCH_POINTS
    assert sorted(set(values(switch.influx.accepted))) == list(range(sent))
    assert in_parquet(tmp_path) == (sent, sent)


@pytest.mark.slow
async def test_an_outage_of_the_database_delays_no_file_and_everything_arrives(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    """In which order, a database does not tell; the test above does."""
    number = 0
    async with VictoriaMetrics(tmp_path / "database") as database:

        async def stored() -> list[int]:
            found = await database.export('{__name__="test.metric_value"}')
            return sorted(int(value) for points in found.values() for _, value in points)

        journal = {"dir": str(tmp_path / "journal"), "segment_bytes": MIB, "max_bytes": 64 * MIB}
        async with (
            collector(tmp_path, certificates, transport, journal=journal, influxdb=influxdb(database.url)) as running,
            sending(running.listen_addr, certificates) as sender,
        ):

            async def live(secs: float) -> None:
                nonlocal number
                end = time.monotonic() + secs
                while time.monotonic() < end:
                    await sender.put(batch(number))
                    number += 1
                    await asyncio.sleep(0.05)

            await live(0.5)
            await database.stop()
            before = number * BATCH_POINTS
            await live(2.5)
            assert running.summary()["writers"]["influxdb"]["failing"]
            assert sample(running, "writer_breaker_state", writer="influxdb") > 0
            parquet = running.summary()["writers"]["parquet"]
            assert parquet["points_written"] > before, "files went on"
            starting = asyncio.create_task(database.start())
            await live(0.5)
            await starting
            await drained(sender)
            sent = number * BATCH_POINTS
            async with asyncio.timeout(PATIENCE_SECS):
                while await stored() != list(range(sent)):  # noqa: ASYNC110  # a database does not tell when
                    await asyncio.sleep(0.02)
            await until(lambda: running.summary()["writers"]["parquet"]["points_written"] == sent)
            prompt = sample(running, "receive_to_written_seconds_bucket", writer="parquet", le="2.5")
            assert prompt == sample(running, "receive_to_written_seconds_count", writer="parquet") > 0
    assert in_parquet(tmp_path) == (sent, sent)


async def test_a_defect_in_one_round_of_maintenance_does_not_end_all(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    looks = 0
    look = Refusals.look

    def broken_once(refusals: Refusals) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ZeroDivisionError("a defect")
        look(refusals)

    monkeypatch.setattr(composed, "CORE_MAINTENANCE_SECS", 0.05)
    monkeypatch.setattr(Refusals, "look", broken_once)
    async with collector(tmp_path, certificates, transport):
        await until(lambda: looks >= 3)
