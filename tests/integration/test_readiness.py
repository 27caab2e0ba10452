"""While nothing can be accepted the collector asks not to be sent anything, and says why, until that is over."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs
from tests.support.documents import collector_document
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, Address, DiscoveredSections, load
from telemetry_collector.security.authority import Files, set_up
from telemetry_collector.sender import Batch, Sender, TransportSettings

TAKES_BATCHES = "telemetry.v1.TelemetryService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
BATCH_POINTS = 1_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return set_up(tmp_path_factory.mktemp("certs"), node="node-1")


@asynccontextmanager
async def site(
    directory: Path, files: Files, **sections: Any
) -> AsyncIterator[tuple[Collector, _core.FaultDisk, Sender]]:
    """A collector on a disk that fails on command, and an agent connected to it."""
    answering = {"listen_addr": "127.0.0.1:0", "alert_rules_path": str(directory / "rules.json")}
    document = collector_document(directory, files, grpc=answering, **sections)
    (directory / "journal").mkdir()
    disk = _core.FaultDisk(str(directory / "journal"), 1)
    collector = Collector(load(json.dumps(document), DiscoveredSections(WRITERS)), disk)
    await collector.start()
    transport = TransportSettings(
        endpoints=(Address.parse(collector.listen_addr),),
        cert_path=files.ca.parent / "node.pem",
        key_path=files.ca.parent / "node.key",
        ca_path=files.ca,
        server_name="localhost",
    )
    agent = Sender(transport)
    await agent.start()
    try:
        yield collector, disk, agent
    finally:
        await agent.stop()
        await collector.stop()


def noise(seed: int) -> Batch:
    """A batch that does not pack well."""
    now = time.time_ns()
    values = [(seed * BATCH_POINTS + place) * 0.7310585786300049 % 1 for place in range(BATCH_POINTS)]
    return Batch(
        common_tags=[],
        series=[("test.metric", [], 2, "1", False)],
        series_index=array("I", [0] * BATCH_POINTS),
        timestamps_unix_ns=array("q", [now + place for place in range(BATCH_POINTS)]),
        values=array("d", values),
    )


async def answers(collector: Collector) -> tuple[int, int, dict[str, Any], dict[str, int]]:
    """Statuses of /health and /ready, what /ready says, and standard health by service."""
    url = f"http://127.0.0.1:{collector.endpoint.port}"
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/health") as health,
        http.get(f"{url}/ready") as ready,
        grpc.aio.insecure_channel(collector.grpc_addr) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        standard = {
            name: (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("", TAKES_BATCHES, "telemetry.v1.AlertService")
        }
        return health.status, ready.status, await ready.json(), standard


def standard(taking: int) -> dict[str, int]:
    return {"": SERVING, TAKES_BATCHES: taking, "telemetry.v1.AlertService": SERVING}


async def test_a_full_disk_makes_it_unready_until_there_is_room(tmp_path: Path, files: Files) -> None:
    with capture_logs() as said:
        async with site(tmp_path, files) as (collector, disk, agent):
            await agent.put(noise(0))
            await agent.drained()
            assert (await answers(collector))[:2] == (200, 200)
            disk.limit(disk.bytes)

            async def load() -> None:
                for seed in range(1, 1_000):
                    await agent.put(noise(seed))

            loading = asyncio.create_task(load())
            await until(lambda: not collector.ready()["ok"], 20)
            health, ready, report, services = await answers(collector)
            assert (health, ready, services) == (200, 503, standard(NOT_SERVING))
            refused = report["refused"]["metrics"]
            assert refused["reason"] == "the journal is full: no space left on the file system"
            assert str(tmp_path / "journal") in refused["remedy"]
            assert refused["seconds"] >= 0
            # Whoever obeys sends nothing more, and room is noticed all the same.
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            disk.limit(None)
            await until(lambda: collector.ready()["ok"])
            _, ready, report, services = await answers(collector)
            assert (ready, report["refused"], services) == (200, {}, standard(SERVING))
            await agent.drained()
            assert agent.stats.points_acknowledged == agent.stats.points_offered
    told = [line["event"] for line in said if line["event"] in ("everything_refused", "taken_again")]
    assert told == ["everything_refused", "taken_again"], "each is told once"


async def test_commits_that_fail_make_it_unready_until_one_succeeds(tmp_path: Path, files: Files) -> None:
    async with site(tmp_path, files) as (collector, disk, agent):
        await agent.put(noise(0))
        await agent.drained()
        disk.fail("sync_data", prefix="segment-", times=1_000_000, errno=errno.EIO)
        await agent.put(noise(1))
        await until(lambda: not collector.ready()["ok"])
        health, ready, report, services = await answers(collector)
        assert (health, ready, services) == (200, 503, standard(NOT_SERVING))
        assert report["refused"]["metrics"]["reason"].startswith("the journal cannot be written: ")
        disk.heal()
        await agent.drained()
        await until(lambda: collector.ready()["ok"])


async def test_a_client_above_its_quota_says_nothing_about_the_collector(tmp_path: Path, files: Files) -> None:
    async with site(tmp_path, files, quotas={"default": {"points_per_sec": 100}}) as (collector, _, agent):
        for seed in range(4):
            await agent.put(noise(seed))
        put_off = {"cause": "quota_points"}
        name = "telemetry_collector_retries_asked_total"
        await until(lambda: collector.metrics.get_sample_value(name, put_off))
        assert (await answers(collector))[1] == 200
