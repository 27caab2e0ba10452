"""`telemetry-collector demo` as a user starts it: what it prints, and that its counts are those of the files."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from telemetry_collector.config import SOCKET_PATH_BYTES_MAX
from telemetry_collector.security.authority import set_up

PATIENCE_SECS = 60.0


class Demo:
    """A demo in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.options = ["--data-dir", str(directory / "data"), "--certs-dir", str(directory / "certs")]

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "telemetry_collector", "demo", *self.options, *options]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)

    async def run(self, *options: str) -> tuple[int | None, str, str]:
        """Its exit code, standard output and standard error."""
        return await ended(await self.start(*options))

    @property
    def files(self) -> list[Path]:
        return list(self.directory.glob("data/demo-*/parquet/date=*/hour=*/*.parquet"))


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(PATIENCE_SECS):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    yield Demo(tmp_path)
    logs = [path.read_text() for path in tmp_path.glob("data/demo-*/*.log")]
    assert not [text for text in logs if "Traceback" in text]


async def test_a_demo_whose_agent_is_not_let_in_fails(demo: Demo) -> None:
    certs = demo.directory / "certs"
    set_up(certs)
    stranger = set_up(demo.directory / "other")
    for mine, other in ((certs / "node.pem", stranger.node_certificate), (certs / "node.key", stranger.node_key)):
        mine.write_bytes(other.read_bytes())
    code, output, _ = await demo.run("--seconds", "2.5", "--json")
    summary = json.loads(output)
    assert (code, summary["points_acknowledged"], summary["parquet_rows"]) == (1, 0, 0)
    assert summary["points_read"] > 0


async def test_every_row_counted_is_in_the_files(demo: Demo) -> None:
    code, output, _ = await demo.run("--seconds", "3.5", "--json")
    summary = json.loads(output)
    assert code == 0
    assert summary["points_sent"] == summary["points_acknowledged"] == summary["points_stored"] > 0
    assert summary["points_refused"] == 0
    assert summary["parquet_files"] == len(demo.files) > 0
    sent = "FILTER (WHERE identity <> 'telemetry-collector')"
    found = duckdb.sql(
        f"SELECT count(*) {sent}, count(DISTINCT (name, node_id, tags)), "
        f"count(DISTINCT (epoch, sequence, name, tags)) {sent}, count(*) "
        f"FROM read_parquet({[str(path) for path in demo.files]!r})"
    )
    assert found is not None, "a query has rows"
    rows, workers = summary["parquet_rows"], summary["worker_rows"]
    assert found.fetchall() == [(rows, summary["series"], rows, rows + workers)]
    assert workers >= 3, "the agent's heartbeat"
    assert summary["parquet_rows"] == summary["points_stored"]
    assert 0 < summary["ack_ms"]["p50"] <= summary["ack_ms"]["p99"]
    assert summary["seconds"] >= 3.5


async def every_door_is_open(demo: Demo) -> None:
    (document,) = demo.directory.glob("data/demo-*/collector.yaml")
    config = json.loads(document.read_text())
    doors = [section["listen_addr"] for section in (*config["receivers"].values(), config["grpc"])]
    assert len(doors) == 5
    for door in doors:
        host, _, port = door.rpartition(":")
        assert host == "127.0.0.1"
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    path = document.parent / "grpc.sock"
    assert config["grpc"]["unix_socket"] == (str(path) if len(str(path)) <= SOCKET_PATH_BYTES_MAX else None)
    if config["grpc"]["unix_socket"] is not None:
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()


async def test_ctrl_c_drains_and_prints_the_counts(demo: Demo) -> None:
    process = await demo.start()
    async with asyncio.timeout(PATIENCE_SECS):
        while not demo.files:  # noqa: ASYNC110  # another process makes them
            await asyncio.sleep(0.05)
    await every_door_is_open(demo)
    process.send_signal(signal.SIGINT)
    code, output, errors = await ended(process)
    assert (code, errors) == (0, "")
    assert "draining the agent\ndraining the collector\n" in output
    assert "every acknowledged point is in the files, once" in output
    assert str(demo.directory / "data") in output.splitlines()[0], "where it is, on the line that says so"
    query = output.splitlines()[-1]
    assert "/date=*/hour=*/" in query, "not the files that are being made"
    with duckdb.connect() as database:
        assert len(database.execute(query).fetchall()) > 10


async def test_a_directory_that_cannot_be_made_is_told_without_a_traceback(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, errors = await demo.run("--data-dir", str(tmp_path / "file" / "data"))
    assert code == 1
    assert errors.startswith(f"telemetry-collector: cannot make the directory {tmp_path}/file/data/demo-")
    assert errors.endswith("not a directory; expected --data-dir to name one that this user may write\n")
