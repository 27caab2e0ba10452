"""Clients that are not ours, as processes: programs in Go and a script for Node, built by `make` from tests/clients."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository import REPOSITORY

PROGRAMS = Path(sys.prefix) / "clients"
NODE = REPOSITORY / "tests" / "clients" / "node"
PATIENCE_SECS = 60.0
"""They are given up after this; the slowest test makes one wait a few seconds."""


@dataclass(frozen=True)
class Done:
    """What a client left."""

    status: int
    out: str
    error: str


def program(name: str) -> tuple[str, ...]:
    """The command of one of the programs in Go."""
    path = PROGRAMS / name
    assert path.is_file(), f"{path} is missing; `make python-test` builds it, and so does `tools/clients {PROGRAMS}`"
    return (str(path),)


def script(name: str) -> tuple[str, ...]:
    """The command of a script for Node."""
    assert (NODE / "node_modules").is_dir(), f"Node's packages are missing; `tools/clients {PROGRAMS}` puts them there"
    return ("node", str(NODE / name))


async def run(command: Sequence[str], environment: Mapping[str, str] | None = None, data: bytes = b"") -> Done:
    """Runs a client to its end, with nothing in its environment but this and where programs are."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            out, error = await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None, "it has ended"
    return Done(process.returncode, out.decode(), error.decode())
