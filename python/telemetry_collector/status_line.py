"""What a person sees of long work: one line that changes in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status


class StatusLine:
    """Shown between `with` and its end. `quiet` leaves standard output to the JSON and speaks on standard error."""

    def __init__(self, *, quiet: bool, line_secs: float) -> None:
        """Where there is no terminal, a line is said each `line_secs` at most."""
        self._console = Console(file=sys.stderr if quiet else sys.stdout)
        self._status = Status("starting", console=self._console) if self._console.is_terminal else None
        self._line_secs = line_secs
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, text: str) -> None:
        """What it is at: for a terminal alone."""
        if self._status is not None:
            self._status.update(text)

    def say_now_and_then(self, text: str) -> None:
        """How far it is: where there is no terminal, and it was not said lately."""
        now = time.monotonic()
        if self._status is None and now - self._said >= self._line_secs:
            self._said = now
            self.say(text)
