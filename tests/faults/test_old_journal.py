"""A journal that lacks what its dataset has: what is acknowledged from then on is stored all the same."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import duckdb
from tests.faults.test_kill import batch, collector_site
from tests.support.process import command

from telemetry_collector.loopback import free_port
from telemetry_collector.sender import Sender, TransportSettings

BATCHES = 20


async def send(settings: TransportSettings, first: int) -> None:
    """Batches under names of their own, until they are acknowledged."""
    sender = Sender(settings)
    await sender.start()
    for number in range(first, first + BATCHES):
        await sender.put(batch(number))
    await sender.drained()
    await sender.stop()
    assert sender.stats.batches_acknowledged == BATCHES


async def life(document: Path, settings: TransportSettings, first: int, logs: str = "started") -> None:
    async with command("run", document, "--json") as collector:
        await collector.logged(logs)
        await send(settings, first)
        code, _ = await collector.stop()
        assert code == 0


async def test_a_copy_of_the_journal_that_is_put_back_costs_nothing_that_comes_later(
    tmp_path: Path, transport: str
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    document, settings = collector_site(tmp_path, transport, port, port)
    await life(document, settings, 0)
    shutil.copytree(tmp_path / "journal", tmp_path / "copy")
    await life(document, settings, 1_000)
    shutil.rmtree(tmp_path / "journal")
    (tmp_path / "copy").rename(tmp_path / "journal")
    await life(document, settings, 2_000, logs="journal_behind_destination")
    await life(document, settings, 3_000)
    found = duckdb.sql(f"SELECT count(*), count(DISTINCT value) FROM '{tmp_path}/parquet/date=*/hour=*/*.parquet'")
    assert found is not None, "a query has rows"
    points = 4 * BATCHES * 1_000
    assert found.fetchall() == [(points, points)]
