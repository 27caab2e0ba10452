"""A configuration that changes while agents send: what may change does, and no connection, batch or writer notices."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from structlog.testing import capture_logs
from tests.support.documents import collector_document, server_tls
from tests.support.load import BATCH_POINTS, Agent
from tests.support.running import collector_of
from tests.support.waiting import until

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import Address
from telemetry_collector.security.authority import Authority, Files, set_up

AGENTS = 20
RELOADS = 30


class Site:
    """A collector in this process, its document and its certificates."""

    def __init__(self, directory: Path, transport: str) -> None:
        self.directory = directory
        self.files = set_up(directory / "certs", node="node-1")
        self.path = directory / "collector.yaml"
        self.document: dict[str, Any] = collector_document(
            directory,
            self.files,
            transport,
            security={**server_tls(self.files), "tls_crl_path": str(self.files.crl)},
            parquet={"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.2},
        )

    def write(self, **changes: dict[str, Any] | None) -> None:
        """Replaces the document's file: `changes` are keys of sections, None a section that goes."""
        for section, values in changes.items():
            if values is None:
                self.document.pop(section, None)
            else:
                self.document[section] = {**self.document.get(section, {}), **values}
        aside = self.path.with_suffix(".new")
        aside.write_text(json.dumps(self.document))
        aside.replace(self.path)

    @asynccontextmanager
    async def collector(self) -> AsyncIterator[Collector]:
        self.write()
        async with collector_of(self.path) as running:
            yield running

    def agent(self, running: Collector, node: str = "node-1", files: Files | None = None) -> Agent:
        directory = (files or self.files).ca.parent
        # set_up calls the first node's files `node`.
        name = "node" if node == "node-1" else node
        return Agent(
            Address.parse(running.listen_addr), directory / f"{name}.pem", directory / f"{name}.key", self.files.ca
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found = duckdb.sql(f"SELECT {sql} FROM '{self.directory}/parquet/date=*/hour=*/*.parquet'")
        assert found is not None, "a query has rows"
        return found.fetchall()


def metric(running: Collector, name: str, **labels: str) -> float:
    value = running.metrics.get_sample_value(f"telemetry_collector_{name}", labels)
    assert value is not None, f"{name} is shown"
    return value


async def answered_anew(agents: Sequence[Agent]) -> None:
    """Waits until every agent has got another acknowledgement."""
    had = {agent: agent.sender.stats.batches_acknowledged for agent in agents}
    await until(lambda: all(agent.sender.stats.batches_acknowledged > had[agent] for agent in agents))


@pytest.fixture
def site(tmp_path: Path, transport: str) -> Site:
    return Site(tmp_path, transport)


async def test_thirty_reloads_cost_twenty_agents_no_connection_and_no_batch(site: Site, tmp_path: Path) -> None:
    second = set_up(tmp_path / "second", node="node-1")
    authority = Authority.open(site.files.ca.parent)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(site.files.ca.read_bytes())
    site.write(security={"tls_ca_path": str(trusted), "tls_crl_path": None})
    async with site.collector() as running:
        agents = [site.agent(running) for _ in range(AGENTS)]
        load = [asyncio.create_task(agent.run()) for agent in agents]
        await until(lambda: all(agent.sender.stats.batches_acknowledged for agent in agents))
        for place in range(RELOADS):
            if place % 3 == 0:
                authority.issue_server("server", ("localhost",), file="server", force=True)
            if place % 3 == 1:
                trusted.write_bytes(site.files.ca.read_bytes() + second.ca.read_bytes())
            site.write(
                limits={"max_batch_size": 1_000 + place, "max_cardinality": 100 + place},
                server={"max_connections": 100 + place, "connection_timeout_secs": 60 + place},
                parquet={"flush_interval_secs": 0.2 + 0.1 * (place % 4 == 0)},
                console={"every_secs": 0.2} if place % 2 else None,
            )
            await running.reload()
            await answered_anew(agents)
        for task in load:
            task.cancel()
        for agent in agents:
            await agent.drained()
        assert [(agent.sender.stats.connects, agent.ends) for agent in agents] == [(1, [])] * AGENTS
        assert metric(running, "connections_opened_total") == AGENTS
        assert metric(running, "config_reloads_total", result="failure") == 0
        assert metric(running, "config_reloads_total", result="success") >= RELOADS
        assert metric(running, "series_max") == 100 + RELOADS - 1
        assert metric(running, "connections_max") == 100 + RELOADS - 1
        newcomer = site.agent(running, files=second)
        await newcomer.once()
        await newcomer.sender.stop()
        acknowledged = sum(agent.sender.stats.points_acknowledged for agent in (*agents, newcomer))
        for agent in agents:
            await agent.sender.stop()
    assert acknowledged > AGENTS * BATCH_POINTS * RELOADS
    assert site.rows("count(*), count(DISTINCT value)") == [(acknowledged, acknowledged)]


async def test_whoever_is_no_longer_allowed_is_closed_at_once_and_nobody_else(site: Site) -> None:
    Authority.open(site.files.ca.parent).issue_node("node-2")
    async with site.collector() as running:
        stays, goes = site.agent(running), site.agent(running, "node-2")
        await asyncio.gather(stays.once(), goes.once())
        site.write(security={"allowed_identities": ["*/node-1"]})
        began = time.monotonic()
        await running.reload()
        await until(lambda: goes.ends)
        assert time.monotonic() - began < 1
        assert "REVOKED" in goes.ends[0].upper()
        await stays.send()
        assert (stays.sender.stats.connects, stays.ends) == (1, [])
        await asyncio.gather(stays.sender.stop(0), goes.sender.stop(0))


async def test_a_mistake_changes_nothing_and_is_told_and_what_mends_it_is_noticed(site: Site) -> None:
    async with site.collector() as running:
        site.write(limits={"max_batch_size": 7, "max_cardinality": -1}, server={"listen_adr": "x"})
        with capture_logs() as logs:
            await running.reload()
        told = {(line["key"], line["value"]) for line in logs if line["event"] == "config_mistake"}
        assert told == {("limits.max_cardinality", "-1"), ("server.listen_adr", None)}
        assert running.config.limits.max_batch_size == 1_000
        assert metric(running, "config_last_reload_successful") == 0
        assert metric(running, "config_reloads_total", result="failure") == 1
        del site.document["server"]["listen_adr"]
        site.write(limits={"max_cardinality": 5})
        await until(lambda: running.config.limits.max_batch_size == 7)
        assert metric(running, "config_last_reload_successful") == 1
        assert metric(running, "series_max") == 5


@pytest.mark.parametrize("mistake", ["document", "key", "certificate"])
async def test_a_revocation_acts_although_there_is_a_mistake_elsewhere(site: Site, mistake: str) -> None:
    authority = Authority.open(site.files.ca.parent)
    authority.issue_node("node-2")
    async with site.collector() as running:
        agent = site.agent(running, "node-2")
        await agent.once()
        if mistake == "document":
            site.write(limits={"max_cardinality": -1})
        elif mistake == "certificate":
            site.files.server_certificate.write_bytes(b"half of a certif")
        else:
            site.files.server_key.write_bytes(site.files.node_key.read_bytes())
        authority.revoke("node-2")
        await running.reload()
        await until(lambda: agent.ends)
        await agent.sender.stop(0)


async def test_what_needs_a_restart_is_named_until_it_came_and_the_rest_is_in_force(site: Site) -> None:
    async with site.collector() as running:
        address = running.listen_addr
        site.write(server={"listen_addr": "127.0.0.1:1", "max_connections": 7}, journal={"recent_bytes_max": 1})
        for changed in (["server.max_connections"], []):
            with capture_logs() as logs:
                await running.reload()
            (line,) = (line for line in logs if line["event"] == "config_reloaded")
            assert line["restart_needed"] == ["server.listen_addr", "journal.recent_bytes_max"]
            assert line["changed"] == changed
        assert running.listen_addr == address
        assert metric(running, "connections_max") == 7


async def test_doors_signals_and_what_answers_are_named_as_needing_a_restart(site: Site, tmp_path: Path) -> None:
    async with site.collector() as running:
        site.write(
            receivers={"otlp_http": {"listen_addr": "127.0.0.1:0", "tls": "off"}},
            scrape={"jobs": [{"name": "node", "targets": ["http://127.0.0.1:1/metrics"]}]},
            grpc={"unix_socket": str(tmp_path / "grpc.sock")},
            query={"threads": 1, "timeout_secs": 7},
            traces={"output_dir": str(tmp_path / "spans")},
            logs={"journal_max_bytes": 1 << 26},
            api={"workers_max": 7},
        )
        with capture_logs() as logs:
            await running.reload()
        said = {line["event"]: line for line in logs}
        expected = [
            *("receivers.otlp_http", "scrape.jobs", "grpc.unix_socket", "query.timeout_secs"),
            *("traces.output_dir", "logs.journal_max_bytes", "api.workers_max"),
        ]
        assert said["config_reloaded"]["restart_needed"] == expected
        assert said["config_reloaded"]["changed"] == []
        assert (said["restart_needed"]["log_level"], said["restart_needed"]["keys"]) == ("warning", expected)
        assert (running.grpc_addr, running.receivers, running.summary()["signals"]) == (None, {}, {})


async def test_a_writer_that_cannot_be_opened_leaves_the_one_before_and_the_rest_in_force(site: Site) -> None:
    async with site.collector() as running:
        in_the_way = site.directory / "file"
        in_the_way.touch()
        site.write(parquet={"output_dir": str(in_the_way)}, limits={"max_batch_size": 7})
        with capture_logs() as logs:
            await running.reload()
        assert [line["key"] for line in logs if line["event"] == "config_mistake"] == ["parquet.output_dir"]
        assert running.config.limits.max_batch_size == 7
        assert running.config.writers["parquet"].model_dump()["output_dir"] == site.directory / "parquet"
        site.write(limits={"max_batch_size": 1_000})
        agent = site.agent(running)
        await running.reload()
        await agent.once()
        await until(lambda: running.summary()["writers"]["parquet"]["points_written"] == BATCH_POINTS)
        await agent.sender.stop()


async def test_a_writer_that_comes_back_begins_where_it_stood(site: Site) -> None:
    site.document["console"] = {"every_secs": 3_600}
    async with site.collector() as running:
        agent = site.agent(running)
        await agent.once()
        assert running.summary()["writers"]["console"]["lag_points"] == BATCH_POINTS
        site.write(console=None)
        await running.reload()
        assert list(running.summary()["writers"]) == ["parquet"]
        await agent.send()
        site.write(console={"every_secs": 0.1})
        await running.reload()
        await until(lambda: running.summary()["writers"]["console"]["points_written"] == BATCH_POINTS)
        await agent.sender.stop()


async def test_directories_that_are_exchanged_by_a_link_are_noticed(site: Site) -> None:
    """As Kubernetes mounts a ConfigMap: the file is a link through `..data`, and `..data` is exchanged."""
    mount = site.directory / "mount"
    for name, size in (("one", 11), ("two", 12)):
        (mount / name).mkdir(parents=True)
        site.document["limits"] = {"max_batch_size": size}
        (mount / name / "collector.yaml").write_text(json.dumps(site.document))
    (mount / "..data").symlink_to("one")
    (mount / "collector.yaml").symlink_to("..data/collector.yaml")
    async with collector_of(mount / "collector.yaml") as running:
        assert running.config.limits.max_batch_size == 11
        (mount / "aside").symlink_to("two")
        (mount / "aside").rename(mount / "..data")
        await until(lambda: running.config.limits.max_batch_size == 12)
