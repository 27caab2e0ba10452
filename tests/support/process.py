"""The product's commands as processes of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE_SECS = 60.0


class Process:
    """A command whose log lines can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def logged(self, event: str) -> dict[str, Any]:
        """The next log line about an event."""
        assert self.process.stderr is not None, "standard error is a pipe"
        async with asyncio.timeout(PATIENCE_SECS):
            async for line in self.process.stderr:
                self.lines.append(json.loads(line))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"{event} was not logged before the end: {self.lines}")

    async def stop(self) -> tuple[int, dict[str, Any]]:
        """Stops it in order: its exit code and what it printed."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECS):
            output, _ = await self.process.communicate()
        assert self.process.returncode is not None, "it has ended"
        return self.process.returncode, json.loads(output)


@asynccontextmanager
async def command(*arguments: str | Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "telemetry_collector",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
