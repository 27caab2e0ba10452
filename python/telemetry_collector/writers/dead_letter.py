"""What a destination refuses for good, kept in files for whoever can mend it and send it again.

A line of a file is one refusal, in JSON: when, by which reason, the destination's own words, how many points, and the
lines as they were sent. Files are named `<writer>-<number>.jsonl` and rotate; together they have at most `max_bytes`,
and the oldest goes first, counted. A refusal is on stable storage before the writer's cursor may pass its points, so
after a crash it may be there twice, and never not at all. Only their owner reads the files: points are data.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, final

from telemetry_collector.clock import Clock
from telemetry_collector.component import WriterContext
from telemetry_collector.errors import ConfigError, Mistake, RetryableError
from telemetry_collector.observe.logs import logger
from telemetry_collector.store.durable import sync_directory

log = logger(__name__)

# All files together are this many times as large as one may become: so much is lost at a time when room is made.
_FILES: Final = 8


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Lines that were refused together."""

    reason: str
    """One of a few words, the label of the counter."""
    answer: str
    """What the destination said."""
    lines: bytes
    """Whole lines, each with its newline."""


@final
class DeadLetters:
    """One writer's files. Safe to call from any thread; every call reaches the disk before it returns."""

    def __init__(self, directory: Path, max_bytes: int, context: WriterContext, clock: Clock) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._name = context.name
        self._events = context.events
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Path | None = None
        self._number = 0

    def open(self) -> None:
        """Makes the directory. Each process, and each new start, begins a file of its own. ConfigError when the
        directory cannot be used."""
        with self._lock:
            self._current = None
            try:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_directory(self._directory.parent)
                self._number = max((self._number, *(_number(path) for path in self._files())))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                expected = "expected a directory that this user may write"
                mistake = Mistake(f"{self._name}.dead_letter_dir", f"cannot be used: {reason}", expected)
                raise ConfigError([mistake]) from error

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Makes refusals durable, and room for them. RetryableError when that fails: then they are not to be passed."""
        moment = datetime.fromtimestamp(self._clock.unix_secs(), UTC).isoformat(timespec="milliseconds")
        data = b"".join(_encode(moment, letter) for letter in letters)
        with self._lock:
            try:
                self._append(data)
                self._make_room()
            except OSError as error:
                # A part of it may be there; what follows it goes to another file.
                self._current = None
                raise RetryableError(f"cannot keep what was refused in {self._directory}: {error}") from error
        self._events.dead_lettered(sum(letter.lines.count(b"\n") for letter in letters), len(data))

    def _append(self, data: bytes) -> None:
        if self._current is None or _size(self._current) + len(data) > self._max_bytes // _FILES:
            self._number += 1
            self._current = self._directory / f"{self._name}-{self._number:08d}.jsonl"
        created = not self._current.exists()
        with os.fdopen(os.open(self._current, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if created:
            sync_directory(self._directory)

    def _make_room(self) -> None:
        files = self._files()
        total = sum(map(_size, files))
        # The newest stays, whatever its size: it holds what was just refused.
        for path in files[:-1]:
            if total <= self._max_bytes:
                return
            try:
                bytes_freed, points = _size(path), _points(path)
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                # What was refused is durable: to fail now would bring it again, and a copy with every retry. The next
                # of them goes instead, and this one is tried again with the next refusal.
                log.error("dead_letter_not_removed", writer=self._name, file=str(path), error=str(error))
                continue
            total -= bytes_freed
            self._events.dead_letters_dropped(points, str(path))

    def _files(self) -> list[Path]:
        """This writer's, oldest first."""
        return sorted(self._directory.glob(f"{self._name}-????????.jsonl"))


def _encode(moment: str, letter: DeadLetter) -> bytes:
    text = {
        "time": moment,
        "reason": letter.reason,
        "answer": letter.answer,
        "points": letter.lines.count(b"\n"),
        "lines": letter.lines.decode(errors="surrogateescape"),
    }
    return json.dumps(text).encode() + b"\n"


def _size(path: Path) -> int:
    """A file's bytes; none of one that somebody has moved away to mend it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _points(path: Path) -> int:
    """Points in a file; what is torn, or was written by somebody else, has none."""
    points = 0
    with path.open("rb") as file:
        for line in file:
            try:
                points += json.loads(line)["points"]
            except (ValueError, LookupError, TypeError):
                continue
    return points
