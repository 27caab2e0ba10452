"""What a person sees while it runs: one line that changes in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self, final

from rich.console import Console
from rich.status import Status

from telemetry_collector.bench.load import Counters

LINE_SECS: Final = 5.0


@final
class BenchView:
    """`quiet` leaves standard output to the JSON and speaks on standard error."""

    def __init__(self, *, quiet: bool, seconds: float) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout)
        self._status = Status("starting", console=self._console) if self._console.is_terminal else None
        self._seconds = seconds
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

    def doing(self, text: str, done: int | None = None, of: int | None = None) -> None:
        """What it is at, and how far."""
        if self._status is not None:
            self._status.update(text if done is None or of is None else f"{text}: {done:,} of {of:,}")

    def progress(self, seconds: float, counters: Counters, resident_mb: float | None) -> None:
        """The counts under load."""
        memory = "" if resident_mb is None else f", {resident_mb:,.0f} MB"
        text = (
            f"{min(seconds, self._seconds):5.1f} of {self._seconds:g} s: {counters.points_acknowledged:,} points "
            f"acknowledged, {counters.points_acknowledged / max(seconds, 1e-9):,.0f} a second, "
            f"{counters.connections:,} connections, {counters.batches_retried:,} put off{memory}"
        )
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() - self._said >= LINE_SECS:
            self._said = time.monotonic()
            self.say(text)
