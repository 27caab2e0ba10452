"""kill -9 of the agent under load: what it had on disk is in the files, each point once, under names used once."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from tests.faults.test_kill import collector_site
from tests.support.process import command
from tests.support.spool_process import BATCH_POINTS
from tests.support.waiting import PATIENCE_SECS

from telemetry_collector.loopback import free_port
from telemetry_collector.sender import Sender, SpoolSettings, TransportName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIVES = 5
FIRST_STEP = 1_000_000
"""Batches of one life are numbered from a multiple of this, so that no life repeats another's values."""


@asynccontextmanager
async def agent(site: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.spool_process", json.dumps(site)
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


def lines(path: Path) -> list[str]:
    """The whole lines of a file that a killed process has written."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


async def grown(process: asyncio.subprocess.Process, path: Path, by: int) -> None:
    target = len(lines(path)) + by
    async with asyncio.timeout(6 * PATIENCE_SECS):
        while len(lines(path)) < target:
            assert process.returncode is None, "the agent lives until it is killed"
            await asyncio.sleep(0.005)


async def test_what_an_agent_had_on_disk_is_stored_once_whenever_it_dies(
    tmp_path: Path, transport: str, sender_transport: TransportName
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    path, settings = collector_site(tmp_path, transport, port, port)
    site = {
        "directory": str(tmp_path),
        "port": port,
        "transport": sender_transport,
        "cert": str(settings.cert_path),
        "key": str(settings.key_path),
        "ca": str(settings.ca_path),
    }
    async with command("run", path, "--json") as collector:
        await collector.logged("started")
        for life in range(LIVES):
            async with agent({**site, "first": life * FIRST_STEP}) as process:
                # An odd life is killed while its first batches are on their way, an even one in the middle of its work.
                await grown(process, tmp_path / ("durable" if life % 2 else "answered"), 3 + 9 * life)
        spool = SpoolSettings(directory=tmp_path / "spool", bytes_max=1 << 26)
        rest = Sender(settings, spool=spool)
        await rest.start()
        async with asyncio.timeout(6 * PATIENCE_SECS):
            await rest.drained()
        await rest.stop()
        assert rest.stats.points_dropped == 0
        code, _ = await collector.stop()
    assert code == 0
    check(tmp_path)


def check(directory: Path) -> None:
    rows = f"'{directory}/parquet/date=*/hour=*/*.parquet'"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT value, epoch, sequence FROM {rows}").fetchall()
    stored = [int(value) for value, _, _ in found]
    assert len(stored) == len(set(stored)), "no point is stored twice"
    durable = {int(line) for line in lines(directory / "durable")}
    assert durable <= {value // BATCH_POINTS for value in stored}, "nothing that was on the agent's disk is lost"
    names: dict[tuple[int, int], set[int]] = {}
    for value, epoch, sequence in found:
        names.setdefault((epoch % 2**64, sequence), set()).add(int(value) // BATCH_POINTS)
    assert all(len(batches) == 1 for batches in names.values()), "a name is used for one batch"
    assert len({epoch for epoch, _ in names}) == 1, "the epoch outlives the agent"
    answered = {tuple(map(int, line.split()[:2])) for line in lines(directory / "answered")}
    assert answered <= set(names), "what was answered is stored"
    assert len(durable) > LIVES
