"""What the writers of a collector that stops still have to write, by its own metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

STALLED_SECS: Final = 60.0
"""A writer that has written nothing for so long will not be through."""

# Points that a writer is through with, whatever became of them.
_DONE: Final = ("writer_points_total", "writer_points_refused_total", "writer_points_dropped_total")


@dataclass(slots=True)
class _Written:
    """Points that a writer was through with, and since when it was as many."""

    points: int
    since: float
    per_sec: float = 0.0


@final
class Backlog:
    """The writers' progress, from one reading of the metrics to the next."""

    def __init__(self, writers: Sequence[str]) -> None:
        self._writers = writers
        self._committed = 0
        self._first: dict[str, tuple[int, float]] = {}
        self._written: dict[str, _Written] = {}

    def read(self, page: str, now: float) -> None:
        """The page `/metrics` at a moment of the monotonic clock."""
        self._committed = _sum(page, "points_committed_total")
        for writer in self._writers:
            points = sum(_sum(page, name, writer) for name in _DONE)
            first_points, began = self._first.setdefault(writer, (points, now))
            before = self._written.get(writer)
            if before is None or points > before.points:
                per_sec = (points - first_points) / (now - began) if now > began else 0.0
                self._written[writer] = _Written(points, now, per_sec)

    def __str__(self) -> str:
        behind = [
            f"{writer} has {left:,} points to write" + (f", {written.per_sec:,.0f} a second" if written.per_sec else "")
            for writer, written in self._written.items()
            if (left := self._left(written)) > 0
        ]
        return "waiting for the writers" + "".join(f"; {text}" for text in behind)

    def stalled(self, now: float) -> str | None:
        """Which writer makes no progress, and what it lacks."""
        for writer, written in self._written.items():
            left = self._left(written)
            if left > 0 and now - written.since >= STALLED_SECS:
                return (
                    f"the writer {writer} has written nothing for {STALLED_SECS:.0f} s, and {left:,} of "
                    f"{self._committed:,} points are missing"
                )
        return None

    def _left(self, written: _Written) -> int:
        return max(self._committed - written.points, 0)


def _sum(page: str, name: str, writer: str | None = None) -> int:
    """Over all labels but the writer's."""
    total = 0.0
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        metric, _, labels = series.partition("{")
        if metric == f"telemetry_collector_{name}" and (writer is None or f'writer="{writer}"' in labels):
            total += float(value)
    return int(total)
