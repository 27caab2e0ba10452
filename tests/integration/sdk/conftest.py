"""A collector, and an agent with an open door, in a thread of their own: the services of these tests may block."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pytest
from prometheus_client import CollectorRegistry
from tests.support.waiting import until

from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.agent.sdk import AgentSocket, Collectors
from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, AgentSecurity, DiscoveredSections, load
from telemetry_collector.security.authority import Authority

NODE = "gpu-7"
PATIENCE_SECS = 30.0

T = TypeVar("T")


class Site:
    """Runs parts on an event loop of its own; what a test asks of them is done there, and waited for."""

    def __init__(self, certificates: Path, directory: Path) -> None:
        self._certificates = certificates
        self.directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stops: list[Callable[[], Awaitable[None]]] = []
        self._agents: list[NodeAgent] = []
        self.socket = directory / "agent.sock"

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECS)

    def collector(self, port: int = 0, **sections: Any) -> Collector:
        files = self._certificates
        document = {
            "server": {"listen_addr": f"127.0.0.1:{port}"},
            "security": {
                "tls_cert_path": str(files / "server.pem"),
                "tls_key_path": str(files / "server.key"),
                "tls_ca_path": str(files / "ca.pem"),
            },
            "journal": {"dir": str(self.directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 26},
            "parquet": {"output_dir": str(self.directory / "data")},
            "observability": {"metrics_port": 0, "metrics_addr": "127.0.0.1"},
            **sections,
        }
        started = Collector(load(json.dumps(document), DiscoveredSections(WRITERS)))
        self.do(started.start())
        self._stops.append(started.stop)
        return started

    def until(self, condition: Callable[[], object]) -> None:
        self.do(until(condition))

    def stop_collector(self, collector: Collector) -> None:
        self.do(collector.stop())

    def agent(self, address: str, *, spool: bool = True, **changes: Any) -> NodeAgent:
        files = self._certificates
        config = NodeAgentConfig.model_validate(
            {
                "collectors": (address,),
                "sources": ("agent",),
                "interval_secs": 3_600,
                "spool_dir": self.directory / "spool" if spool else None,
                "socket": self.socket,
                "region": "eu",
                "zone": "eu-1",
                "tags": {"rack": "r1"},
                **changes,
            }
        )
        security = AgentSecurity(
            tls_cert_path=files / f"{NODE}.pem", tls_key_path=files / f"{NODE}.key", tls_ca_path=files / "ca.pem"
        )

        async def started() -> NodeAgent:
            agent = NodeAgent(config, security, CollectorRegistry())
            await agent.start()
            return agent

        agent = self.do(started())
        self._stops.append(agent.stop)
        self._agents.append(agent)
        return agent

    def stop_agent(self, agent: NodeAgent) -> None:
        self._agents.remove(agent)
        self.do(agent.stop())

    def straight(self, address: str) -> Collectors:
        files = self._certificates
        return Collectors(
            addresses=address,
            cert_path=files / f"{NODE}.pem",
            key_path=files / f"{NODE}.key",
            ca_path=files / "ca.pem",
        )

    def through_agent(self) -> AgentSocket:
        return AgentSocket(self.socket)

    def rows(self, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        """What is stored, once agents have delivered what they took and everything was stopped."""
        for agent in self._agents:
            self.until(lambda agent=agent: agent.stats.sender.points_pending == 0)  # type: ignore[misc]
        self.stop()
        query = f"SELECT {columns} FROM read_parquet('{self.directory}/data/**/*.parquet') WHERE {where}"
        with duckdb.connect() as connection:
            return connection.execute(query).fetchall()

    def stop(self) -> None:
        while self._stops:
            self.do(self._stops.pop()())  # type: ignore[arg-type]

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECS)
        self._loop.close()


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority, _ = Authority.create(directory)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    authority.issue_node(NODE)
    return directory


@pytest.fixture
def site(certificates: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(certificates, tmp_path)
    try:
        yield site
    finally:
        site.close()
