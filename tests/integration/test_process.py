"""Collector and agent as processes: signals, summaries and exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document, server_tls
from tests.support.process import PATIENCE_SECS, command
from tests.support.waiting import until

from telemetry_collector.security.authority import Files, set_up

OBSERVABILITY = {"metrics_addr": "127.0.0.1", "metrics_port": 0, "log_format": "json"}
"""Log lines that can be waited for."""


@pytest.fixture
def certificates(tmp_path: Path) -> Files:
    return set_up(tmp_path / "certs", node="node-1")


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


def collector_file(directory: Path, certificates: Files, transport: str) -> Path:
    document = collector_document(
        directory,
        certificates,
        transport,
        security={**server_tls(certificates), "tls_crl_path": str(certificates.crl)},
        parquet={"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.5},
        observability=OBSERVABILITY,
    )
    return write(directory / "collector.yaml", document)


def agent_file(directory: Path, certificates: Files, collector: str, **changes: Any) -> Path:
    document = {
        "agent": {
            "collectors": [collector],
            "interval_secs": 0.5,
            "spool_dir": str(directory / "spool"),
            **changes,
        },
        "security": {
            "tls_cert_path": str(certificates.node_certificate),
            "tls_key_path": str(certificates.node_key),
            "tls_ca_path": str(certificates.ca),
        },
        "observability": OBSERVABILITY,
    }
    return write(directory / "agent.yaml", document)


def racks(directory: Path) -> set[str | None]:
    """The values of the tag `rack` in the files."""
    files = [str(path) for path in (directory / "parquet").glob("date=*/hour=*/*.parquet")]
    if not files:
        return set()
    found = duckdb.sql(f"SELECT DISTINCT tags['rack'] FROM read_parquet({files})")
    assert found is not None, "a query has rows"
    return {rack for (rack,) in found.fetchall()}


async def test_both_survive_sighup_and_agree_on_every_count(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with command("run", collector_file(tmp_path, certificates, transport), "--json") as collector:
        address = (await collector.logged("started"))["listen_addr"]
        async with command("agent", agent_file(tmp_path, certificates, address), "--json") as agent:
            await collector.logged("connections_opened")
            collector.process.send_signal(signal.SIGHUP)
            agent.process.send_signal(signal.SIGHUP)
            reloaded = await collector.logged("config_reloaded")
            assert (reloaded["changed"], reloaded["restart_needed"]) == ([], [])
            await agent.logged("config_reloaded")
            agent_file(tmp_path, certificates, address, tags={"rack": "r1"}, outbox_points_max=1_000)
            reloaded = await agent.logged("config_reloaded")
            assert reloaded["changed"] == ["agent.tags"]
            assert reloaded["restart_needed"] == ["agent.outbox_points_max"]
            await until(lambda: racks(tmp_path) == {"r1", None})
            code, sent = await agent.stop()
            assert code == 0
        code, stored = await collector.stop()
    assert code == 0
    assert sent["points_acknowledged"] > 0
    assert sent["points_acknowledged"] == stored["points_committed"]
    assert stored["points_committed"] + stored["worker_points"] == stored["writers"]["parquet"]["points_written"]


async def test_a_client_that_speaks_no_tls_to_grpc_leaves_no_line_that_is_not_ours(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    document = json.loads(collector_file(tmp_path, certificates, "aioquic").read_text())
    document["receivers"] = {"otlp_grpc": {"listen_addr": "127.0.0.1:0", "tls": "mutual"}}
    async with command("run", write(tmp_path / "tls.yaml", document), "--json") as collector:
        receiver = await collector.logged("receiver_started")
        await collector.logged("started")
        host, _, port = receiver["addr"].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(PATIENCE_SECS):
            await reader.read()
        writer.close()
        collector.process.send_signal(signal.SIGTERM)
        # Reads every line to the end as JSON, and fails at one that is none.
        with pytest.raises(AssertionError, match="was not logged before the end"):
            await collector.logged("nothing")


async def test_a_start_that_fails_says_why_and_exits_with_one(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    document = collector_file(tmp_path, certificates, transport)
    async with command("run", document, "--json") as first:
        await first.logged("started")
        async with command("run", document, "--json") as second:
            failed = await second.logged("start_failed")
            assert str(tmp_path / "journal") in failed["error"]
            async with asyncio.timeout(PATIENCE_SECS):
                assert await second.process.wait() == 1
        assert (await first.stop())[0] == 0
