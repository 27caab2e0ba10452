"""docs/grpc.md's client is one."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

from tests.integration.api.conftest import Served
from tests.integration.api.test_collect import stored
from tests.support.repository import REPOSITORY

TEXT = (REPOSITORY / "docs" / "grpc.md").read_text()


async def ran(*words: str, directory: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_the_client_that_is_shown_stores_and_asks(served: Served, tmp_path: Path) -> None:
    """As a reader would try it: the command that generates, then the program, then the question alone."""
    (generate,) = re.findall(r"^    python (-m grpc_tools.protoc .*)$", TEXT, re.MULTILINE)
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    program = program.replace("127.0.0.1:9008", str(served.collector.grpc_addr))
    await ran(*shlex.split(generate.replace("-I proto", f"-I {REPOSITORY / 'proto'}")), directory=tmp_path)
    (tmp_path / "client.py").write_text(program)
    first, *_ = (await ran("client.py", directory=tmp_path)).splitlines()
    assert first == "100 []"
    await stored(served, 100)
    first, *series = (await ran("client.py", directory=tmp_path)).splitlines()
    assert first == "0 []", "the same batches again are stored once"
    assert series[0].startswith('room.temperature [key: "room"')
    assert "21.5)]" in series[-1]
