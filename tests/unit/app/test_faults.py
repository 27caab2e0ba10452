"""A journal's disk that does what a socket says."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.blocks import Point
from tests.support.journal import journal
from tests.support.protobuf import framed, pb
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.app.faults import FaultControl
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.model import Outcome

PATIENCE_SECS = 10.0


class Remote:
    """The side that commands."""

    def __init__(self, directory: Path) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(PATIENCE_SECS)
        self._socket.sendall(b'{"seed": 5}\n')
        self._lines = self._socket.makefile("rb")
        self.ended = threading.Event()
        self.control = FaultControl(theirs.detach(), directory, self.ended.set)

    def do(self, **command: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps(command).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
        self.control.thread.join(PATIENCE_SECS)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    made = Remote(tmp_path)
    yield made
    made.close()


async def test_a_disk_is_full_until_there_is_room_again(remote: Remote, tmp_path: Path) -> None:
    assert remote.do(do="limit", room_bytes=0) == {"ok": True}
    settings = _core.IngestSettings(journal_dir=str(tmp_path), journal_segment_bytes=1 << 20)
    core = _core.Ingest(settings, remote.control.disk)
    conversation = core.conversation("node-1", "node-1", relay=False)
    reader = _core.AckReader()

    def outcome() -> int:
        metric = pb.Metric(name="a", value=1.0)
        answer = conversation.receive(framed(pb.MetricBatch(metrics=[metric])), time.time_ns())
        assert core.drain(PATIENCE_SECS)
        (ack,) = reader.feed(answer + conversation.replies())
        return ack.outcome

    assert outcome() == Outcome.RETRY_LATER
    assert remote.do(do="limit", room_bytes=None) == {"ok": True}
    await until(lambda: outcome() == Outcome.STORED)
    core.close()


def test_operations_fail_as_often_as_they_are_told_to(remote: Remote, tmp_path: Path) -> None:
    with journal(tmp_path, disk=remote.control.disk) as opened:
        opened.append([Point(timestamp_ns=time.time_ns())])
        end = opened.blocks()[-1].end
        failing = {"operation": "rename", "prefix": "cursor-", "errno": errno.EIO}
        assert remote.do(do="fail", **failing) == {"ok": True}
        cursor = opened.core.cursor("parquet")
        with pytest.raises(_core.JournalError, match="os error 5"):
            cursor.store(end)
        assert remote.do(do="fail", **failing, times=9) == {"ok": True}
        assert remote.do(do="heal") == {"ok": True}
        cursor.store(end)


def test_what_cannot_be_done_is_answered_with_why(remote: Remote) -> None:
    assert "expected one of create" in remote.do(do="fail", operation="melt", errno=5)["error"]
    assert "dance" in remote.do(do="dance")["error"]
    assert remote.do(do="heal") == {"ok": True}, "and it goes on"


def test_the_end_of_whoever_commands_is_told(remote: Remote) -> None:
    assert not remote.ended.is_set()
    remote.close()
    assert remote.ended.wait(PATIENCE_SECS)


def test_a_socket_that_begins_with_no_seed_is_refused(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"hello\n")
        with pytest.raises(TelemetryCollectorError, match="expected a connected socket"):
            FaultControl(theirs.detach(), tmp_path, lambda: None)


def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(TelemetryCollectorError, match="--fault-fd"):
        FaultControl(descriptor, tmp_path, lambda: None)
    os.close(descriptor)
