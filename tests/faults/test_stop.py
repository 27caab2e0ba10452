"""Stopping a collector at any instant: it ends in time, and what was acknowledged is in the files by then."""

from __future__ import annotations

import asyncio
import fcntl
import json
import random
import signal
import socket
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document
from tests.support.journal import journal
from tests.support.load import Agent
from tests.support.process import PATIENCE_SECS, Process, command
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.config import Address
from telemetry_collector.security.authority import set_up

AGENTS = 5
SHUTDOWN_SECS = 5.0
LIVES = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGHUP, signal.SIGTERM, signal.SIGINT),
)
"""The signals that end each life; before a SIGHUP the writer's section is another."""


class Site:
    """A collector's document, and agents that know where it will be."""

    def __init__(self, directory: Path, transport: str) -> None:
        self.directory = directory
        self.files = set_up(directory / "certs", node="node-1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = Address("127.0.0.1", probe.getsockname()[1])
        self.document: dict[str, Any] = collector_document(
            directory,
            self.files,
            transport,
            server={"listen_addr": str(self.address), "shutdown_timeout_secs": SHUTDOWN_SECS},
            journal={"dir": str(directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 28},
            # Parts come into being by stopping alone.
            parquet={"output_dir": str(directory / "parquet"), "flush_interval_secs": 60},
            observability={"metrics_addr": "127.0.0.1", "metrics_port": 0, "log_format": "json"},
        )

    def write(self) -> Path:
        path = self.directory / "collector.yaml"
        path.write_text(json.dumps(self.document))
        return path

    def agent(self) -> Agent:
        return Agent(self.address, self.files.node_certificate, self.files.node_key, self.files.ca)

    def rows(self) -> tuple[int, int]:
        """Points in the files, and different ones."""
        files = f"{self.directory}/parquet/date=*/hour=*/*.parquet"
        found = duckdb.sql(f"SELECT count(*), count(DISTINCT value) FROM '{files}'")
        assert found is not None, "a query has rows"
        ((points, different),) = found.fetchall()
        return points, different


@pytest.fixture
def site(tmp_path: Path, transport: str) -> Site:
    return Site(tmp_path, transport)


async def end(process: Process) -> tuple[int, float]:
    """Waits for the end, which is in order and so says what was done: the exit code and how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE_SECS):
        output, _ = await process.process.communicate()
    assert "points_committed" in json.loads(output)
    assert process.process.returncode is not None, "it has ended"
    return process.process.returncode, time.monotonic() - began


async def test_what_was_acknowledged_is_in_the_files_when_it_has_ended(site: Site) -> None:
    instants = random.Random(11)
    agents = [site.agent() for _ in range(AGENTS)]
    load = [asyncio.create_task(agent.run()) for agent in agents]

    def acknowledged() -> int:
        return sum(agent.sender.stats.points_acknowledged for agent in agents)

    for life, signals in enumerate(LIVES, 1):
        async with command("run", site.write(), "--json") as collector:
            await collector.logged("connections_opened")
            await until(lambda: all(agent.sender.stats.connected_to for agent in agents))
            before = acknowledged()
            await until(lambda before=before: acknowledged() > before)  # type: ignore[misc]
            await asyncio.sleep(instants.uniform(0, 0.3))
            for number in signals:
                if number == signal.SIGHUP:
                    site.document["parquet"]["flush_interval_secs"] += 1
                    site.write()
                collector.process.send_signal(number)
                await asyncio.sleep(instants.uniform(0, 0.02))
            code, secs = await end(collector)
        assert code == 0
        assert secs < SHUTDOWN_SECS
        points, different = site.rows()
        assert points == different
        # A reply that was on its way may still be read after this; so there are at least as many.
        assert points >= acknowledged()
        await until(lambda life=life: all(len(agent.ends) == life for agent in agents))  # type: ignore[misc]
    assert all("SHUTTING_DOWN" in reason.upper() for agent in agents for reason in agent.ends), agents[0].ends
    for task in load:
        task.cancel()
    async with command("run", site.write(), "--json") as collector:
        await collector.logged("started")
        for agent in agents:
            await agent.drained()
            await agent.sender.stop()
        assert (await collector.stop())[0] == 0
    assert site.rows() == (acknowledged(), acknowledged())
    assert sum(agent.sender.stats.points_dropped for agent in agents) == 0


def fill(directory: Path, batches: int, points: int) -> None:
    """A journal that has to be read from its beginning when it is opened."""
    core = _core.Ingest(_core.IngestSettings(journal_dir=str(directory), max_batch_size=points))
    stream, encoder = core.conversation("node-1", "node-1", relay=False), _core.FrameEncoder()
    for number in range(batches):
        some = _core.Batch(
            common_tags=(),
            series=[(f"test.metric.{place}", (), 2, "", False) for place in range(1_000)],
            series_index=array("I", (place % 1_000 for place in range(points))),
            timestamps_unix_ns=array("q", [time.time_ns()]) * points,
            values=array("d", range(number * points, (number + 1) * points)),
        )
        stream.receive(encoder.frame(some, sequence=number + 1, epoch=1), time.time_ns())
        assert core.drain(PATIENCE_SECS)
        stream.replies()
    core.close()
    for checkpoint in directory.glob("checkpoint-*"):
        checkpoint.unlink()


async def test_a_signal_during_recovery_ends_it_and_loses_nothing(site: Site) -> None:
    batches, points = 60, 10_000
    fill(site.directory / "journal", batches, points)
    async with command("run", site.write(), "--json") as collector:
        with (site.directory / "journal" / "lock").open() as lock:

            def recovers() -> bool:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                fcntl.flock(lock, fcntl.LOCK_UN)
                return False

            await until(recovers)
        collector.process.send_signal(signal.SIGTERM)
        code, secs = await end(collector)
    assert (code, secs < SHUTDOWN_SECS) == (0, True)
    assert not list(site.directory.glob("parquet/date=*")), "it was not started"
    async with command("run", site.write(), "--json") as collector:
        assert (await collector.logged("journal_opened"))["records"] == batches
        await collector.logged("started")
        assert (await collector.stop())[0] == 0
    assert site.rows() == (batches * points, batches * points)


async def test_a_destination_that_never_answers_is_left_behind_in_time(site: Site) -> None:
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()
    site.document["influxdb"] = {
        "url": f"http://{host}:{port}",
        "org": "o",
        "bucket": "b",
        "token": "t",
        "timeout_secs": 3_600,
        "flush_interval_secs": 0.1,
    }
    site.document["server"]["shutdown_timeout_secs"] = 1.5
    async with silent, command("run", site.write(), "--json") as collector:
        await collector.logged("started")
        agent = site.agent()
        await agent.once()
        await asked.wait()
        collector.process.send_signal(signal.SIGTERM)
        code, secs = await end(collector)
        await agent.sender.stop(0)
    assert (code, secs < SHUTDOWN_SECS) == (0, True)
    assert site.rows() == (agent.sender.stats.points_acknowledged,) * 2
    with journal(site.directory / "journal") as kept:
        left = kept.core.cursor("influxdb").read(1_000_000)
        assert left is not None
        assert left.points == agent.sender.stats.points_acknowledged, "what it did not take is kept for it"
        assert kept.core.cursor("parquet").lag_bytes == 0


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    code = """
import threading
from telemetry_collector.app.service import cut_short_after
threading.Thread(target=threading.Event().wait).start()
cut_short_after(0.2)
"""
    ended = subprocess.run([sys.executable, "-c", code], timeout=10, capture_output=True, text=True, check=True)
    assert "stopping_cut_short" in ended.stdout + ended.stderr
