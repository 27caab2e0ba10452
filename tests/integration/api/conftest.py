"""A collector with its gRPC service, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from tests.support.documents import collector_document
from tests.support.grpc_client import stubs
from tests.support.running import collector_of

from telemetry_collector.app.collector import Collector
from telemetry_collector.security.authority import Files


@dataclass
class Served:
    """A collector and a client on loopback."""

    collector: Collector
    directory: Path
    channel: grpc.aio.Channel

    @property
    def telemetry(self) -> Any:
        return stubs.TelemetryServiceStub(self.channel)

    @property
    def alerts(self) -> Any:
        return stubs.AlertServiceStub(self.channel)

    @property
    def rules_path(self) -> Path:
        return self.directory / "rules.json"

    @property
    def socket(self) -> Path:
        return self.directory / "grpc.sock"

    def calls(self, method: str, code: str) -> float:
        labels = {"method": method, "code": code}
        return self.collector.metrics.get_sample_value("telemetry_collector_grpc_calls_total", labels) or 0.0


@asynccontextmanager
async def serving(
    directory: Path, certificates: Files, drop: Sequence[str] = (), **sections: Any
) -> AsyncIterator[Served]:
    """`sections` take the place of those of their names; keys of `grpc` are added to those that tests need."""
    given = {
        "parquet": {"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.1},
        **sections,
        "grpc": {
            "listen_addr": "127.0.0.1:0",
            "unix_socket": str(directory / "grpc.sock"),
            "alert_rules_path": str(directory / "rules.json"),
            **sections.get("grpc", {}),
        },
    }
    document = collector_document(directory, certificates, "aioquic", **given)
    for name in drop:
        del document[name]
    async with collector_of(document) as collector, grpc.aio.insecure_channel(collector.grpc_addr) as channel:
        yield Served(collector, directory, channel)


@pytest.fixture
async def served(tmp_path: Path, certificates: Files) -> AsyncIterator[Served]:
    async with serving(tmp_path, certificates) as served:
        yield served
