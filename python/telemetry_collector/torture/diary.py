"""What an agent was told, written down before anything else happens: a line with one system call, so that a killed
process leaves every line that it had begun to believe.

    life <number> <unix seconds>
    answer <unix seconds> <epoch> <sequence> <outcome> <accepted points>
    dropped <reason> <points>
    pending <batches>

Readers follow the file while it grows.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from telemetry_collector.model import Outcome

Name = tuple[int, int]
"""Epoch and sequence: what names a batch of one identity."""

_READ_BYTES = 1 << 20


@final
class Diary:
    """The agent's side: appends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(self, *words: object) -> None:
        """Writes a line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


@dataclass
class Account:
    """What a diary says so far."""

    answers: dict[Name, tuple[Outcome, int]] = field(default_factory=dict)
    """The last final answer to each batch, with the points that it accepted."""
    answered_unix_secs: float = 0.0
    """When the last answer came."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Points that the agent gave up, by reason."""
    life: int = -1
    """The life that began last; -1 before the first."""
    pending: int | None = None
    """Batches without an answer, as the agent said last."""


@final
class DiaryReader:
    """The other side: reads what was added since the last time."""

    def __init__(self, path: Path) -> None:
        self.account = Account()
        self._path = path
        self._offset = 0
        self._rest = b""

    def read(self) -> Account:
        """What the diary says now."""
        if not self._path.exists():
            return self.account
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while data := file.read(_READ_BYTES):
                self._offset += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._take(line.decode().split())
        return self.account

    def _take(self, words: list[str]) -> None:
        account = self.account
        match words:
            case ["answer", at, epoch, sequence, outcome, accepted]:
                name = int(epoch), int(sequence)
                # A batch that was sent again is a DUPLICATE then; how much of it was taken stood in the first answer.
                if not (Outcome(int(outcome)) is Outcome.DUPLICATE and name in account.answers):
                    account.answers[name] = Outcome(int(outcome)), int(accepted)
                account.answered_unix_secs = max(account.answered_unix_secs, float(at))
            case ["dropped", reason, points]:
                account.dropped[reason] += int(points)
            case ["pending", batches]:
                account.pending = int(batches)
            case ["life", number, _]:
                account.life = int(number)
                account.pending = None
            case _:
                raise ValueError(f"{self._path} has a line that no diary has: {' '.join(words)!r}")
