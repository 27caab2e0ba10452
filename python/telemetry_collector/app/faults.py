"""A journal's disk that fails on command: what `telemetry-collector torture` does to the processes that it starts.

The commands come over a socket that is inherited, one JSON object a line, each answered with one when it is done:

    {"do": "limit", "room_bytes": 4096}        the disk has room for so much more, then it is full; null lifts that
    {"do": "fail", "operation": "sync_data", "prefix": "segment-", "skip": 0, "times": 1, "errno": 5}
    {"do": "heal"}                             failures that have not happened are forgotten
    {"do": "power_loss"}                       of what was not synchronized, chance decides; the process is killed

The first line is {"seed": …}, for chance. The end of the socket is the end of whoever tortures: the process then stops
in order. Without that socket nothing of this exists in a process: the journal is on
the directory itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from telemetry_collector import _core
from telemetry_collector.errors import TelemetryCollectorError

SEED_SECS_MAX = 10.0
"""Whoever passes the socket has written the first line before, or as good as."""


@final
class FaultControl:
    """The disk, and the thread that does to it what the socket says."""

    def __init__(self, descriptor: int, directory: Path, ended: Callable[[], None]) -> None:
        """Takes the socket over; `ended` is called, in a thread, when the other side closes it.

        TelemetryCollectorError when it is no socket, or says nothing.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._socket = stack.enter_context(socket.socket(fileno=descriptor))
                self._socket.settimeout(SEED_SECS_MAX)
                self._lines = stack.enter_context(self._socket.makefile("rb"))
                seed = json.loads(self._lines.readline())["seed"]
                self._socket.settimeout(None)
                self.disk = _core.FaultDisk(str(directory), seed)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise TelemetryCollectorError(
                    f"--fault-fd {descriptor}: {error}; expected a connected socket that begins with a seed"
                ) from error
            stack.pop_all()
        # A daemon: reading a line that never comes must not keep the process from ending.
        self.thread = threading.Thread(target=self._serve, args=(ended,), name="faults", daemon=True)
        self.thread.start()

    def _serve(self, ended: Callable[[], None]) -> None:
        with self._socket, self._lines, contextlib.suppress(ConnectionError):
            for line in self._lines:
                try:
                    self._do(json.loads(line))
                    answer: dict[str, Any] = {"ok": True}
                except (ValueError, KeyError, TypeError, OSError) as error:
                    answer = {"ok": False, "error": str(error)}
                self._socket.sendall(json.dumps(answer).encode() + b"\n")
        ended()

    def _do(self, command: dict[str, Any]) -> None:
        match command.pop("do"):
            case "limit":
                room_bytes = command["room_bytes"]
                self.disk.limit(None if room_bytes is None else self.disk.bytes + room_bytes)
            case "fail":
                self.disk.fail(command.pop("operation"), **command)
            case "heal":
                self.disk.heal()
            case "power_loss":
                self.disk.power_loss()
                os.kill(os.getpid(), signal.SIGKILL)
            case unknown:
                raise ValueError(f"nothing is called {unknown!r}")
