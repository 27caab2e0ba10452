"""A collector with every receiver on loopback, and what it stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.documents import collector_document
from tests.support.running import collector_of
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.app.collector import Collector
from telemetry_collector.security.authority import Files

ON_LOOPBACK = {name: {"listen_addr": "127.0.0.1:0"} for name in ("otlp_grpc", "otlp_http", "influx", "remote_write")}


@dataclass
class Running:
    """A collector and its dataset."""

    collector: Collector
    directory: Path

    def address(self, receiver: str) -> str:
        return self.collector.receivers[receiver]

    def url(self, receiver: str, path: str = "", scheme: str = "http") -> str:
        return f"{scheme}://{self.address(receiver)}{path}"

    def counted(self, name: str, **labels: str) -> float:
        return self.collector.metrics.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0

    async def rows(
        self,
        count: int,
        columns: str = "name",
        where: str = "true",
        secs: float = PATIENCE_SECS,
        dataset: str = "parquet",
    ) -> list[tuple[Any, ...]]:
        """What a dataset has, once it has so many rows."""
        found: list[tuple[Any, ...]] = []

        def enough() -> bool:
            files = [str(file) for file in self.directory.glob(f"{dataset}/date=*/hour=*/*.parquet")]
            if files:
                query = f"select {columns} from read_parquet(?) where {where} order by all"
                found[:] = duckdb.execute(query, [files]).fetchall()
            return len(found) >= count

        await until(enough, secs)
        return found


@asynccontextmanager
async def receiving(directory: Path, certificates: Files, **sections: Any) -> AsyncIterator[Running]:
    parquet = {"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.1}
    given = {"parquet": parquet, "receivers": ON_LOOPBACK, **sections}
    document = collector_document(directory, certificates, "aioquic", **given)
    async with collector_of(document) as collector:
        yield Running(collector, directory)


@pytest.fixture
async def running(tmp_path: Path, certificates: Files) -> AsyncIterator[Running]:
    async with receiving(tmp_path, certificates) as running:
        yield running


async def curl(*arguments: str, data: bytes = b"") -> tuple[int, Mapping[str, str], bytes]:
    """What curl is answered: status, headers and body."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--include", "--http1.1", "--max-time", "20", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate(data)
    assert process.returncode == 0, error.decode()
    head, _, body = out.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body
