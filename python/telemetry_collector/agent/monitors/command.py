"""Whether a command ends as expected. It runs in a process group of its own, which never outlives the look."""

import asyncio
import contextlib
import os
import signal

from telemetry_collector.agent.monitors.config import CommandCheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Reason

OUTPUT_BYTES_MAX = 4_096
"""So much of what it prints is kept, for the log; the rest is read and thrown away."""

SHOWN_CHARS_MAX = 200
READ_BYTES = 64 * 1024

REAP_SECS = 1.0
"""How long a killed command is waited for. One that hangs in the kernel ends when the kernel lets it."""


class CommandCheck:
    """Runs a program, without a shell unless the configuration has a line for one."""

    kind = "command"

    def __init__(self, config: CommandCheckConfig) -> None:
        self.target = config.command[0] if config.command else "/bin/sh"
        self._argv = config.command or ("/bin/sh", "-c", config.shell or "")
        self._expected = config.expected_exit
        self._left: asyncio.subprocess.Process | None = None

    async def look(self, finding: Finding) -> None:
        """See Check."""
        if self._left is not None and self._left.returncode is None:
            raise CheckFailed(Reason.BUSY, f"process {self._left.pid} was killed and has not ended")
        self._left = None
        output = _Output()
        try:
            code = await self._run(output)
        finally:
            text = output.close()
        finding.measure("service.check.exit_code", code, "1")
        if code not in self._expected:
            ended = f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"
            raise CheckFailed(Reason.EXIT, f"{self.target} {ended}: {text}" if text else f"{self.target} {ended}")

    async def _run(self, output: "_Output") -> int:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.for_child,
                stderr=output.for_child,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except (OSError, ValueError) as error:  # ValueError: a null byte among the arguments
            raise CheckFailed(Reason.START, f"cannot start {self.target}: {error}") from error
        except asyncio.CancelledError:
            # asyncio itself would kill the child and leave what the child has started.
            with contextlib.suppress(OSError, ValueError):
                await self._end(await starting)
            raise
        try:
            output.begin()
            return await process.wait()
        finally:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ends whatever is left of its group, which has its number."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            waiting = asyncio.ensure_future(process.wait())
            # Shielded: the look may have been cancelled already, and its child is to be collected all the same.
            await asyncio.wait([waiting], timeout=REAP_SECS)
            if not waiting.done():
                waiting.cancel()
                self._left = process


class _Output:
    """A pipe for what a command prints. Its end is the command's end, not the pipe's: a grandchild may hold that."""

    def __init__(self) -> None:
        self._read_end, self.for_child = os.pipe()
        os.set_blocking(self._read_end, False)
        self._kept = bytearray()
        self._loop = asyncio.get_running_loop()
        self._open = {self._read_end, self.for_child}

    def begin(self) -> None:
        """The child has the writing end now."""
        self._shut(self.for_child)
        self._loop.add_reader(self._read_end, self._take)

    def close(self) -> str:
        """The first of what was printed, in one line."""
        if self._read_end in self._open:
            self._take()
        for end in tuple(self._open):
            self._shut(end)
        printable = "".join(c if c.isprintable() else " " for c in self._kept.decode(errors="replace"))
        return " ".join(printable.split())[:SHOWN_CHARS_MAX]

    def _take(self) -> None:
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._shut(self._read_end)
        self._kept += data[: OUTPUT_BYTES_MAX - len(self._kept)]

    def _shut(self, end: int) -> None:
        if end in self._open:
            self._open.remove(end)
            if end == self._read_end:
                self._loop.remove_reader(end)
            os.close(end)
