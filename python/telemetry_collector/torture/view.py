"""What a person sees of the proof while it runs."""

from __future__ import annotations

import time
from typing import final

from telemetry_collector.status_line import StatusLine
from telemetry_collector.torture.result import Result

LINE_SECS = 15.0


@final
class TortureView(StatusLine):
    """What happens, and the counts so far; `verbose` tells of every fault."""

    def __init__(self, *, quiet: bool, verbose: bool, seconds: float) -> None:
        super().__init__(quiet=quiet, line_secs=LINE_SECS)
        self._verbose = verbose
        self._seconds = seconds
        self._began = time.monotonic()
        self._result: Result | None = None

    def watch(self, result: Result) -> None:
        """What the line is about."""
        self._result = result

    def happened(self, text: str) -> None:
        """Something was done, or came to an end."""
        now = time.monotonic()
        counts = self._counts(now)
        self.show(f"{counts}  {text}")
        if self._verbose:
            self.say(f"{now - self._began:7.2f} s  {text}")
        else:
            self.say_now_and_then(counts)

    def _counts(self, now: float) -> str:
        result = self._result
        if result is None:
            return ""
        return (
            f"{now - self._began:5.0f} of {self._seconds:.0f} s: {result.kills} kills, {result.faults.total()} faults, "
            f"{len(result.recoveries_secs)} recoveries, worst {max(result.recoveries_secs, default=0.0):.1f} s"
        )
