"""The processes that are tortured: started, killed and started again, always on the same files."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import resource
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.torture.agent import Settings

START_SECS_MAX = 60.0
STOP_SECS_MAX = 90.0
COMMAND_SECS_MAX = 10.0
FILE_BYTES_MAX = 48 * 1024
"""What FILES_TOO_LARGE lets files grow to: less than a segment of the journal, or most parts."""
DEFECTS_MAX = 5
_CHUNK_BYTES = 1 << 16
_LOOK_SECS = 0.05
_DEFECT = re.compile(r"_defect|Traceback|panicked|exception was never retrieved", re.IGNORECASE)


class Child(ABC):
    """One process at a time, and its log, which outlives it."""

    def __init__(self, name: str, log: Path, seed: int) -> None:
        """`seed` decides what a power loss leaves on the disk."""
        self.name = name
        self.deaths: list[str] = []
        """Ends that nobody had ordered: each is a defect, whatever became of the data."""
        self._log_path = log
        self._process: asyncio.subprocess.Process | None = None
        self._copying: asyncio.Task[None] | None = None
        self._expected = False
        self._seed = seed
        self._lives = 0
        self._faults: socket.socket | None = None
        self._commanding = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.returncode is None

    @property
    def life(self) -> int:
        """Which life it is in, counted from 0; -1 before the first."""
        return self._lives - 1

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "it was started"
        return self._process.pid

    async def start(self) -> None:
        """Starts the process on its files, with a disk that nothing is wrong with."""
        ours, theirs = socket.socketpair()
        self._close_faults()
        self._faults = ours
        ours.setblocking(False)
        self._expected = False
        with contextlib.closing(theirs):
            ours.send(json.dumps({"seed": self._seed * 10_007 + self._lives}).encode() + b"\n")
            await self._spawn(self._arguments(self._lives, theirs.fileno()), [theirs.fileno()])
        self._lives += 1

    @abstractmethod
    def _arguments(self, life: int, fault_fd: int) -> list[str]:
        """What Python is told to run; the process obeys the socket in its faults. Lives are counted from 0."""

    async def _spawn(self, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
        # A session of its own: Ctrl-C in the terminal reaches torture alone. Logs come over a pipe, because what limits
        # the process' files must not limit what it says about it.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(descriptors), start_new_session=True,
        )  # fmt: skip
        self._copying = asyncio.create_task(self._copy_log(self._process))

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None, "standard error is a pipe"
        with self._log_path.open("ab") as log:
            while data := await process.stderr.read(_CHUNK_BYTES):
                log.write(data)
                log.flush()
        code = await process.wait()
        if not self._expected:
            self._ended_by_itself(code)

    def _ended_by_itself(self, code: int) -> None:
        self.deaths.append(f"{self.name} ended with {code}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if there is one."""
        if self.running and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and waits for the end."""
        self._expected = True
        self.signal(signal.SIGKILL)
        await self._ended()

    async def terminate(self) -> int:
        """SIGTERM; the exit code. One that takes too long is killed."""
        self._expected = True
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECS_MAX):
                await self._ended()
        except TimeoutError:
            self.deaths.append(f"{self.name} did not stop within {STOP_SECS_MAX:.0f} s of SIGTERM")
            await self.kill()
        self._close_faults()
        code = self._process.returncode if self._process is not None else 0
        return code if code is not None else 0

    async def _ended(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._copying is not None:
            await asyncio.shield(self._copying)

    async def command(self, **command: Any) -> bool:
        """Has its disk do something; False when the process is gone."""
        if self._faults is None or not self.running:
            return False
        loop = asyncio.get_running_loop()
        try:
            async with self._commanding, asyncio.timeout(COMMAND_SECS_MAX):
                await loop.sock_sendall(self._faults, json.dumps(command).encode() + b"\n")
                answer = await loop.sock_recv(self._faults, _CHUNK_BYTES)
        except (OSError, TimeoutError):
            return False
        if answer and not json.loads(answer.splitlines()[-1])["ok"]:
            raise TelemetryCollectorError(f"{self.name} did not understand {command}: {answer.decode()}")
        return bool(answer)

    async def lose_power(self) -> None:
        """Kills it, and of what it had not synchronized chance decides."""
        self._expected = True
        await self.command(do="power_loss")
        # The command ends in the process' own SIGKILL; a process that cannot even do that gets one.
        await self.kill()

    def _close_faults(self) -> None:
        if self._faults is not None:
            self._faults.close()
            self._faults = None

    def defects(self) -> list[str]:
        """Lines of its log that only a defect of the product writes."""
        if not self._log_path.exists():
            return []
        with self._log_path.open(errors="replace") as lines:
            found = [line.strip()[:400] for line in lines if _DEFECT.search(line)]
        return [f"{self.name} logged: {line}" for line in found[:DEFECTS_MAX]]

    def log_end(self, characters: int = 2_000) -> str:
        """The end of its log."""
        return self._log_path.read_text(errors="replace")[-characters:] if self._log_path.exists() else ""


@final
class CollectorChild(Child):
    """A collector. One whose disk fails while it starts is started again, as a service manager would."""

    def __init__(self, name: str, log: Path, seed: int, *, document: Path, ready_port: int) -> None:
        super().__init__(name, log, seed)
        self._document = document
        self._ready_port = ready_port
        self._was_ready = False
        self._failed_starts = 0

    def _arguments(self, life: int, fault_fd: int) -> list[str]:
        del life
        self._was_ready = False
        return ["-m", "telemetry_collector", "run", str(self._document), "--fault-fd", str(fault_fd)]

    async def until_ready(self) -> None:
        """Returns when it takes agents. TelemetryCollectorError with the end of its log when it does not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECS_MAX):
                while not await self.ready():
                    if self._failed_starts:
                        self._failed_starts = 0
                        await self.start()
                    await asyncio.sleep(_LOOK_SECS)
                self._was_ready = True
                return
        raise TelemetryCollectorError(f"{self.name} did not start; the end of its log says:\n{self.log_end()}")

    def _ended_by_itself(self, code: int) -> None:
        if code == 1 and not self._was_ready:
            self._failed_starts += 1
        else:
            super()._ended_by_itself(code)

    async def ready(self) -> bool:
        """Whether it takes agents now."""
        return self.running and await _answers(self._ready_port, "/ready")

    def limit_files(self, bytes_max: int | None) -> None:
        """Lets no file of the process grow beyond so many bytes, or lifts that."""
        if not self.running:
            return
        unlimited = resource.RLIM_INFINITY
        try:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (bytes_max or unlimited, unlimited))
        except ProcessLookupError:
            pass
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise


@final
class AgentChild(Child):
    """An agent of `torture.agent`."""

    def __init__(self, name: str, log: Path, seed: int, settings: Settings) -> None:
        super().__init__(name, log, seed)
        self._settings = settings

    def _arguments(self, life: int, fault_fd: int) -> list[str]:
        settings = {**asdict(self._settings), "life": life, "fault_fd": fault_fd}
        return ["-m", "telemetry_collector.torture.agent", json.dumps(settings)]


async def _answers(port: int, path: str) -> bool:
    """Whether loopback answers with 200."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            status = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status


def end_orphans(children: Sequence[Child]) -> None:
    """SIGKILL for whatever of these still runs: the last thing before the end, also after an error."""
    for child in children:
        child.signal(signal.SIGKILL)
