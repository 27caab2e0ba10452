"""The processes that are measured, and what the system says that they took."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

import aiohttp

from telemetry_collector.bench.plan import PlanError
from telemetry_collector.bench.site import SHUTDOWN_SECS_MAX
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.loopback import free_port

START_SECS_MAX: Final = 60.0
STOP_SECS_MAX: Final = SHUTDOWN_SECS_MAX + 30.0
_LOOK_SECS: Final = 0.05
_LOG_END: Final = 2_000
_TICKS_PER_SEC: Final = os.sysconf("SC_CLK_TCK")
_DATABASE: Final = "victoria-metrics"


@contextlib.contextmanager
def on_processors(cpus: Sequence[int] | None) -> Iterator[None]:
    """What is started meanwhile is bound to these processors from its first instruction on; None for any."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A process with an address that answers once it is up."""

    def __init__(self, name: str, command: Sequence[str], ready_url: str, log: Path) -> None:
        self.name = name
        self._command = command
        self._ready_url = ready_url
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it answers. TelemetryCollectorError with the end of its log."""
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches the bench alone, which ends what it has started.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECS_MAX):
                while self.running:
                    if await fetched(self._ready_url) is not None:
                        return
                    await asyncio.sleep(_LOOK_SECS)
        end = self._log.read_text(errors="replace")[-_LOG_END:]
        raise TelemetryCollectorError(f"{self.name} did not start; the end of its log says:\n{end}")

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> bytes:
        """SIGTERM, and what it printed. TelemetryCollectorError when it takes too long or ends with an error."""
        process = self._process
        assert process is not None, "it was started"
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECS_MAX):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise TelemetryCollectorError(f"{self.name} did not stop within {STOP_SECS_MAX:.0f} s") from error
        if process.returncode:
            end = self._log.read_text(errors="replace")[-_LOG_END:]
            raise TelemetryCollectorError(f"{self.name} ended with {process.returncode}; its log says:\n{end}")
        return output

    async def abort(self) -> None:
        """SIGKILL, if it still runs. Safe in any state."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def _proc(self) -> Path:
        assert self._process is not None, "it was started"
        return Path(f"/proc/{self._process.pid}")

    def cpu_secs(self) -> float:
        """Processor time that it took so far, of all its threads."""
        # Behind the name, which may hold blanks: utime and stime are the 12th and 13th.
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC

    def memory_mb(self, kind: str = "VmRSS") -> float:
        """Resident memory; with VmHWM the most that it ever was."""
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise TelemetryCollectorError(f"the system does not tell {kind} of {self.name}")


@final
class CollectorChild(Child):
    """The collector."""

    def __init__(self, document: Path, metrics_port: int, log: Path) -> None:
        command = (sys.executable, "-m", "telemetry_collector", "run", str(document), "--json")
        self._address = f"http://127.0.0.1:{metrics_port}"
        super().__init__("the collector", command, f"{self._address}/ready", log)

    async def metrics(self) -> str | None:
        """The page that Prometheus would get; None when there is none any more."""
        return await fetched(f"{self._address}/metrics")

    async def finish(self) -> tuple[dict[str, Any], float]:
        """Stops it; the counts that it ends with, and the processor time that it took in its whole life."""
        before = _children_secs()
        summary: dict[str, Any] = json.loads(await self.stop())
        return summary, _children_secs() - before


@final
class DatabaseChild(Child):
    """A VictoriaMetrics that takes line protocol."""

    def __init__(self, directory: Path) -> None:
        """PlanError where there is none on this machine."""
        program = shutil.which(_DATABASE)
        if program is None:
            raise PlanError(
                f"--writers influxdb: {_DATABASE} is not installed; expected it on the PATH, or a database's address "
                "as --influxdb-url"
            )
        address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.url = f"http://{address}"
        command = (program, f"-storageDataPath={directory / 'database'}", f"-httpListenAddr={address}")
        super().__init__("the database", command, f"{self.url}/health", directory / "database.log")

    async def rows(self) -> int:
        """Points that it has taken."""
        page = await fetched(f"{self.url}/metrics") or ""
        name = 'vm_rows_inserted_total{type="influx"} '
        return next((int(line[len(name) :]) for line in page.splitlines() if line.startswith(name)), 0)


async def fetched(url: str) -> str | None:
    """What an address answers with 200; None otherwise."""
    timeout = aiohttp.ClientTimeout(total=5.0)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def _children_secs() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
