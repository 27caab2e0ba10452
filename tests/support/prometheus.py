"""Prometheus itself, as a destination of remote write."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.waiting import PATIENCE_SECS

from telemetry_collector.loopback import free_port

PROGRAM = "/usr/bin/prometheus"


class Prometheus:
    """One that takes remote write and scrapes nothing."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def samples(self, selector: str) -> dict[str, list[float]]:
        """The values of each series within the last hour, by its name."""
        asked = {"query": f"{selector}[1h]"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/query", params=asked) as answer,
        ):
            found: list[dict[str, Any]] = (await answer.json())["data"]["result"]
        return {one["metric"]["__name__"]: [float(value) for _, value in one["values"]] for one in found}

    async def value(self, query: str) -> float:
        """Of a query with one series."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer,
        ):
            [one] = (await answer.json())["data"]["result"]
        return float(one["value"][1])


@asynccontextmanager
async def prometheus(directory: Path) -> AsyncIterator[Prometheus]:
    (directory / "prometheus.yml").write_text("global: {}\n")
    address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/tsdb",
        f"--web.listen-address={address}",
        "--web.enable-remote-write-receiver",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        running = Prometheus(f"http://{address}")
        async with asyncio.timeout(PATIENCE_SECS):
            while not await running.is_ready():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.02)
        yield running
    finally:
        process.terminate()
        await process.wait()
