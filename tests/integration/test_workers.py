"""Workers from end to end: real agents beat over QUIC, and what they say is told over HTTP and by commands, outlives a
restart and a crash, and is in the files as metrics.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document
from tests.support.process import PATIENCE_SECS, Process, command
from tests.support.waiting import until

from telemetry_collector.api import client
from telemetry_collector.api.workers.worker import IDENTITY
from telemetry_collector.config import Address
from telemetry_collector.security.authority import Authority, Files, set_up

OBSERVABILITY = {"metrics_addr": "127.0.0.1", "metrics_port": 0, "log_format": "json"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("certs")
    files = set_up(directory, node="worker-1")
    Authority.open(directory).issue_node("worker-2")
    return files


def collector_file(directory: Path, certificates: Files, transport: str = "quinn", **sections: Any) -> Path:
    parquet = {"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.2}
    document = collector_document(
        directory, certificates, transport, parquet=parquet, observability=OBSERVABILITY, **sections
    )
    path = directory / "collector.yaml"
    path.write_text(json.dumps(document))
    return path


def agent_file(directory: Path, certificates: Files, collector: str, worker: str = "worker-1") -> Path:
    of = certificates.ca.parent
    path = directory / f"{worker}.yaml"
    document = {
        "agent": {"collectors": [collector], "interval_secs": 30, "heartbeat_secs": 0.2, "spool_dir": None},
        "security": {
            "tls_cert_path": str(certificates.node_certificate if worker == "worker-1" else of / f"{worker}.pem"),
            "tls_key_path": str(certificates.node_key if worker == "worker-1" else of / f"{worker}.key"),
            "tls_ca_path": str(certificates.ca),
        },
        "observability": OBSERVABILITY,
    }
    path.write_text(json.dumps(document))
    return path


async def addresses(collector: Process) -> tuple[str, Address]:
    """Where agents connect, and where the API is."""
    started = await collector.logged("started")
    return started["listen_addr"], Address("127.0.0.1", started["api_port"])


async def cli(*words: str, **environ: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "telemetry_collector", *words),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECS):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def heard_of(api: Address, count: int) -> dict[str, Any]:
    """The workers, once there are so many."""
    async with asyncio.timeout(PATIENCE_SECS):
        while len(found := await asyncio.to_thread(client.workers, api)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # another process hears of them
    return found


def rows(directory: Path) -> list[tuple[Any, ...]]:
    """Name, worker, node and unit of what is in the files of the heartbeats, each once."""
    files = [str(path) for path in (directory / "parquet").glob("date=*/hour=*/*.parquet")]
    if not files:
        return []
    found = duckdb.sql(
        "SELECT DISTINCT name, tags['worker_id'], node_id, unit, type FROM "
        f"read_parquet({files}) WHERE identity = '{IDENTITY}' AND epoch = 0 ORDER BY ALL"
    )
    return found.fetchall() if found is not None else []


async def test_workers_are_known_by_api_and_commands_and_stored_as_metrics(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with command("run", collector_file(tmp_path, certificates, transport), "--json") as collector:
        listen, api = await addresses(collector)
        files = [agent_file(tmp_path, certificates, listen, worker) for worker in ("worker-1", "worker-2")]
        async with command("agent", files[0], "--json") as one, command("agent", files[1], "--json") as other:
            found = await heard_of(api, 2)
            assert set(found) == {"worker-1", "worker-2"}
            assert all(worker["is_active"] and 0 <= worker["memory_usage"] <= 1 for worker in found.values())
            assert await asyncio.to_thread(client.worker, api, "worker-3") is None

            code, output, _ = await cli("status", "worker-1", "--addr", str(api))
            assert (code, output.splitlines()[:2]) == (0, ["worker     worker-1", "state      active"])
            code, output, _ = await cli("workers", "--json", HTTP_PORT=str(api))
            assert (code, set(json.loads(output))) == (0, {"worker-1", "worker-2"})
            code, output, _ = await cli("workers", HTTP_PORT=f":{api.port}")
            assert (code, output.splitlines()[-1]) == (0, "2 workers, 2 active")
            code, _, errors = await cli("status", "worker-3", "--addr", str(api))
            assert (code, errors) == (4, f"no worker is called 'worker-3' at http://{api}\n")

            metrics = [f"worker.{name}" for name in ("cpu.usage", "memory.usage", "running_tasks")]
            expected = [(name, worker, worker, "1", "gauge") for name in metrics for worker in ("worker-1", "worker-2")]
            await until(lambda: rows(tmp_path) == expected)
            assert (await one.stop())[0] == (await other.stop())[0] == 0
        code, summary = await collector.stop()
    assert code == 0
    assert summary["points_refused"] == 0
    assert summary["worker_points"] >= 6
    assert summary["points_committed"] + summary["worker_points"] == summary["writers"]["parquet"]["points_written"]


async def test_the_workers_are_known_after_a_restart_before_any_is_heard_of(
    tmp_path: Path, certificates: Files
) -> None:
    document = collector_file(tmp_path, certificates)
    async with command("run", document, "--json") as collector:
        listen, api = await addresses(collector)
        async with command("agent", agent_file(tmp_path, certificates, listen), "--json") as agent:
            await heard_of(api, 1)
            assert (await agent.stop())[0] == 0
        before = await asyncio.to_thread(client.worker, api, "worker-1")
        assert (await collector.stop())[0] == 0
    assert before is not None
    async with command("run", document, "--json") as collector:
        _, api = await addresses(collector)
        after = await asyncio.to_thread(client.worker, api, "worker-1")
        assert after is not None
        assert after["last_update"] >= before["last_update"]
        assert (await collector.stop())[0] == 0


async def test_a_damaged_file_keeps_nobody_from_starting(tmp_path: Path, certificates: Files) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "workers.json").write_text("{")
    async with command("run", collector_file(tmp_path, certificates), "--json") as collector:
        told = await collector.logged("worker_files_damaged")
        assert told["file"] == str(tmp_path / "journal" / "workers.json.damaged")
        _, api = await addresses(collector)
        assert await asyncio.to_thread(client.workers, api) == {}
        assert (await collector.stop())[0] == 0


async def test_a_taken_port_is_a_warning_that_names_it_and_the_rest_starts(tmp_path: Path, certificates: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with command(
            "run", collector_file(tmp_path, certificates, api={"http_port": port}), "--json"
        ) as collector:
            warning = await collector.logged("api_not_started")
            assert warning["level"] == "warning"
            assert f"127.0.0.1 port {port} for the API: address already in use" in warning["error"]
            started = await collector.logged("started")
            assert started["api_port"] is None
            assert (await collector.stop())[0] == 0


async def test_the_environment_comes_before_the_document(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PORT", ":0")
    document = collector_file(tmp_path, certificates, api={"http_port": None})
    async with command("run", document, "--json") as collector:
        _, api = await addresses(collector)
        assert await asyncio.to_thread(client.workers, api) == {}
        assert (await collector.stop())[0] == 0


async def test_without_a_port_there_is_no_api(tmp_path: Path, certificates: Files) -> None:
    document = collector_file(tmp_path, certificates, api={"http_port": None})
    async with command("run", document, "--json") as collector:
        started = await collector.logged("started")
        assert started["api_port"] is None
        assert not [line for line in collector.lines if line["event"].startswith("api_")]
        assert (await collector.stop())[0] == 0


async def test_watching_goes_on_until_ctrl_c(tmp_path: Path, certificates: Files) -> None:
    async with command("run", collector_file(tmp_path, certificates), "--json") as collector:
        _, api = await addresses(collector)
        async with command("workers", "--watch", "--json", "--addr", str(api)) as watching:
            assert watching.process.stdout is not None
            async with asyncio.timeout(PATIENCE_SECS):
                assert [await watching.process.stdout.readline() for _ in range(2)] == [b"{}\n"] * 2
            watching.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(PATIENCE_SECS):
                _, errors = await watching.process.communicate()
            assert (watching.process.returncode, errors) == (0, b"")
        assert (await collector.stop())[0] == 0
