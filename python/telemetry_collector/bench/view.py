"""What a person sees of a measurement while it runs."""

from __future__ import annotations

from typing import Final, final

from telemetry_collector.bench.load import Counters
from telemetry_collector.status_line import StatusLine

LINE_SECS: Final = 5.0


@final
class BenchView(StatusLine):
    """What it is at, and the counts under load."""

    def __init__(self, *, quiet: bool, seconds: float) -> None:
        super().__init__(quiet=quiet, line_secs=LINE_SECS)
        self._seconds = seconds

    def doing(self, text: str, done: int | None = None, of: int | None = None) -> None:
        """What it is at, and how far."""
        self.show(text if done is None or of is None else f"{text}: {done:,} of {of:,}")

    def waiting(self, text: str) -> None:
        """What is waited for, and how far that is."""
        self.show(text)
        self.say_now_and_then(text)

    def progress(self, seconds: float, counters: Counters, resident_mb: float | None) -> None:
        """The counts under load."""
        memory = "" if resident_mb is None else f", {resident_mb:,.0f} MB"
        text = (
            f"{min(seconds, self._seconds):5.1f} of {self._seconds:g} s: {counters.points_acknowledged:,} points "
            f"acknowledged, {counters.points_acknowledged / max(seconds, 1e-9):,.0f} a second, "
            f"{counters.connections:,} connections, {counters.batches_retried:,} put off{memory}"
        )
        self.show(text)
        self.say_now_and_then(text)
