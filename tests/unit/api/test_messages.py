"""The generated messages are those of proto/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.repository import REPOSITORY

MESSAGES = REPOSITORY / "python" / "telemetry_collector" / "api" / "grpc" / "messages"


def test_what_is_committed_is_what_proto_generates(tmp_path: Path) -> None:
    subprocess.run([REPOSITORY / "tools" / "proto", sys.executable, tmp_path], cwd=REPOSITORY, check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(made) == 4
    kept = {path.name: path.read_text() for path in MESSAGES.glob("*_pb2.py*")}
    assert kept == made, "`make proto` writes them"


def test_at_run_time_nothing_generates() -> None:
    """A wheel's user has protobuf and grpcio, and needs no protoc."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            # None stands for a package that is not there.
            "import sys; sys.modules['grpc_tools'] = None; import telemetry_collector.api.grpc; "
            "print('duckdb' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
