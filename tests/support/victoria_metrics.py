"""A real time-series database, from the distribution's package, on loopback and in a directory of the test."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import aiohttp

PROGRAM = Path("/usr/bin/victoria-metrics")


class VictoriaMetrics:
    """One process; its port stays the same when it is stopped and started again."""

    def __init__(self, directory: Path) -> None:
        if not PROGRAM.exists():
            raise FileNotFoundError(f"{PROGRAM} is missing; install it with: apt-get install -y victoria-metrics")
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the process and waits until it answers."""
        self._process = await asyncio.to_thread(
            subprocess.Popen,
            [
                str(PROGRAM),
                f"-storageDataPath={self._directory}",
                f"-httpListenAddr=127.0.0.1:{self._port}",
                "-retentionPeriod=100y",
                "-memory.allowedBytes=64MB",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{self.url}/health") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)
                assert self._process.poll() is None, "victoria-metrics ended by itself"

    async def stop(self) -> None:
        """Ends the process; what it acknowledged is on its disk."""
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 60)
            self._process = None

    async def export(self, match: str) -> dict[str, list[tuple[int, float]]]:
        """All points of the series that match: (milliseconds, value) by `name{key="value",…}`, in order of time."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.url}/internal/force_flush") as response:
                assert response.status == 200
            async with session.get(f"{self.url}/api/v1/export", params={"match[]": match}) as response:
                assert response.status == 200, await response.text()
                found = [json.loads(line) for line in (await response.text()).splitlines()]
        return {_series(row["metric"]): list(zip(row["timestamps"], row["values"], strict=True)) for row in found}


def _series(metric: dict[str, Any]) -> str:
    labels = ",".join(f'{key}="{value}"' for key, value in sorted(metric.items()) if key not in ("__name__", "db"))
    return f"{metric['__name__']}{{{labels}}}"
