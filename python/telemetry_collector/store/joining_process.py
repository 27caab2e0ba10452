"""A joiner in a process of its own, of the lowest priority, that is there only while it has work.

Joining needs pyarrow and the rows of a few row groups: a hundred megabytes and more, of which a process that lives on
would keep a part for good. Both sides speak lines of JSON, on the process' standard input and output:

    →  {"directory": …, "staged": …, …}                            a `Task`
    ←  {"moved": true}                                             it is getting on; any number of them
    ←  {"joined": …} or {"failed": why} or {"gone": what}          the answer

It changes nothing but the staged directory that it is told, so it is killed without ceremony: to stop it, and when it
gets nowhere. When this process ends, however it does, the other one ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, final

from telemetry_collector.observe.logs import logger
from telemetry_collector.store.compaction import Joined, Stopped, Task
from telemetry_collector.store.format import PartError, PartFormat

log = logger(__name__)

SILENCE_SECS_MAX: Final = 300.0
"""How long it may get nowhere: on a machine that is too busy for it, for a footer, some thousand rows, or an fsync."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one line: the names of 200,000 parts."""
END_SECS: Final = 5.0
"""How long it may take to end when it has nothing more to do."""

MOVED: Final = {"moved": True}

# Of what it says on standard error, a line is logged up to here.
_WORDS_MAX: Final = 1_000
_READ_BYTES: Final = 65_536


def task_line(task: Task) -> bytes:
    """A task as the process reads it."""
    return json.dumps({**asdict(task), "directory": str(task.directory), "staged": str(task.staged)}).encode() + b"\n"


def task_of(line: bytes) -> Task:
    """And back."""
    told = json.loads(line)
    return Task(**{**told, "directory": Path(told["directory"]), "staged": Path(told["staged"])})


def joined_answer(joined: Joined) -> dict[str, Any]:
    """What was made, as the process answers."""
    return {"joined": {"into": joined.into, "replaced": sorted(joined.replaced), "rows": joined.rows}}


def joined_of(answer: Mapping[str, Any]) -> Joined:
    """And back. PartError and FileNotFoundError as the joiner raised them."""
    if "gone" in answer:
        raise FileNotFoundError(answer["gone"])
    if "failed" in answer:
        raise PartError(answer["failed"])
    told = answer["joined"]
    return Joined(tuple(told["into"]), frozenset(told["replaced"]), told["rows"])


@final
class JoinerProcess:
    """The `Joiner` of a running collector. `join` and `rest` belong to one thread.

    The process ends with the thread that started it, so that is to be one that lives as long as this one.
    """

    def __init__(
        self,
        part_format: PartFormat,
        *,
        command: Sequence[str] | None = None,
        silence_secs_max: float = SILENCE_SECS_MAX,
    ) -> None:
        """`command` takes the place of our own."""
        module = "telemetry_collector.store.joining_child"
        # -P: what stands in the working directory is none of its modules.
        self._command = command or (sys.executable, "-P", "-m", module, part_format.kind, str(os.getpid()))
        self._silence_secs_max = silence_secs_max
        self._lock = threading.Lock()
        self._stopped = False
        self._child: _Child | None = None

    def join(self, task: Task) -> Joined:
        """See `Joiner`. PartError also where the process cannot be started, dies, or gets nowhere for too long; the
        next call starts another."""
        with self._lock:
            if self._stopped:
                raise Stopped
            if self._child is None:
                self._child = _started(self._command)
            child = self._child
        try:
            return joined_of(child.answer(task_line(task), self._silence_secs_max))
        except _Lost as lost:
            if lost.why:
                child.kill()
            how = child.ended()
            self._child = None
            if self._stopped:
                raise Stopped from None
            raise PartError(f"the process that joins parts {lost.why or how}") from None

    def rest(self) -> None:
        """See `Joiner`."""
        if self._child is not None:
            self._child.ended()
            self._child = None

    def stop(self) -> None:
        """See `Joiner`."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()


class _Lost(Exception):
    """There will be no answer."""

    def __init__(self, why: str = "") -> None:
        """Why, unless it is that the process has ended."""
        super().__init__(why)
        self.why = why


def _started(command: Sequence[str]) -> _Child:
    try:
        return _Child(command)
    except OSError as error:
        raise PartError(f"the process that joins parts cannot be started: {error}") from error


class _Child:
    """The process and its pipes."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._answers = bytearray()
        self._words = _Words()
        self._pipes = selectors.DefaultSelector()
        self._pipes.register(self._pipe(self._process.stdout), selectors.EVENT_READ, self._answers.extend)
        self._pipes.register(self._pipe(self._process.stderr), selectors.EVENT_READ, self._words.add)

    def answer(self, task: bytes, silence_secs_max: float) -> Mapping[str, Any]:
        """What it answers. _Lost when it ends, gets nowhere for too long, or speaks another language."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which is seen below
            self._pipe(self._process.stdin).write(task)
        while True:
            line = self._line(silence_secs_max)
            try:
                answer = json.loads(line)
            except ValueError as error:
                raise _Lost(f"answered {line[:80]!r}") from error
            if answer != MOVED:
                return answer  # type: ignore[no-any-return]

    def kill(self) -> None:
        """Safe to call from any thread, and after it has ended."""
        self._process.kill()

    def ended(self) -> str:
        """Lets it end by itself, for there will be no more tasks, or makes it; how it did."""
        self._pipes.close()
        try:
            _, words = self._process.communicate(timeout=END_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, words = self._process.communicate()
        self._words.add(words)
        last = self._words.finish()
        status = self._process.returncode
        if status == -signal.SIGKILL:
            return "was killed, as the system does when memory runs out"
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{how}: {last}" if last else how

    def _line(self, silence_secs_max: float) -> bytes:
        deadline = time.monotonic() + silence_secs_max
        while (end := self._answers.find(b"\n")) < 0:
            if len(self._answers) > ANSWER_BYTES_MAX:
                raise _Lost(f"answered a line of more than {ANSWER_BYTES_MAX} bytes")
            ready = self._pipes.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise _Lost(f"got nowhere for {silence_secs_max:g} s, and was ended")
            for key, _ in ready:
                data = os.read(key.fd, _READ_BYTES)
                if not data and key.fileobj is self._process.stdout:
                    raise _Lost
                if not data:
                    self._pipes.unregister(key.fileobj)
                key.data(data)
        line = bytes(self._answers[:end])
        del self._answers[: end + 1]
        return line

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None, "it was asked for"
        return pipe


class _Words:
    """What it says on standard error, which is no answer: logged line by line."""

    def __init__(self) -> None:
        self._begun = b""
        self._last = ""

    def add(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._begun) > _WORDS_MAX:
            self.finish()

    def finish(self) -> str:
        """The last line that was any."""
        self._say(self._begun)
        self._begun = b""
        return self._last

    def _say(self, line: bytes) -> None:
        text = line[:_WORDS_MAX].decode(errors="replace").rstrip()
        if text:
            self._last = text.strip()
            log.warning("compaction_said", line=text)
