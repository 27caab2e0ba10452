"""What a person sees while it runs: one line that changes in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.status import Status

from telemetry_collector.torture.result import Result

LINE_SECS = 15.0


@final
class TortureView:
    """`quiet` leaves standard output to the JSON and speaks on standard error; `verbose` tells of every fault."""

    def __init__(self, *, quiet: bool, verbose: bool, seconds: float) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout)
        self._status = Status("starting", console=self._console) if self._console.is_terminal else None
        self._quiet = quiet
        self._verbose = verbose
        self._seconds = seconds
        self._began = time.monotonic()
        self._said = self._began
        self._result: Result | None = None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def watch(self, result: Result) -> None:
        """What the line is about."""
        self._result = result

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def happened(self, text: str) -> None:
        """Something was done, or came to an end."""
        now = time.monotonic()
        counts = self._counts(now)
        if self._status is not None:
            self._status.update(f"{counts}  {text}")
        if self._verbose:
            self.say(f"{now - self._began:7.2f} s  {text}")
        elif self._status is None and now - self._said >= LINE_SECS:
            self._said = now
            self.say(counts)

    def _counts(self, now: float) -> str:
        result = self._result
        if result is None:
            return ""
        return (
            f"{now - self._began:5.0f} of {self._seconds:.0f} s: {result.kills} kills, {result.faults.total()} faults, "
            f"{len(result.recoveries_secs)} recoveries, worst {max(result.recoveries_secs, default=0.0):.1f} s"
        )
