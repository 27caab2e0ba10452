"""What a run through one of the cases came to, and the table of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one run."""

    case: str
    acknowledged: int
    """Points."""
    stored: tuple[int, ...]
    """Points found at each destination; none where they go nowhere."""
    seconds: float
    """From the first batch until every destination had what it was to get, and no less than until the last answer."""
    cpu_seconds: float
    """Processor time of the collector alone, from the first batch until its end."""
    resident_mb: float
    """The most that it had resident."""
    p50_ms: float
    p99_ms: float
    file_bytes: int | None
    """Of all files, at the end; None without files."""
    retried: int = 0
    """Batches that were put off."""

    @property
    def delivered(self) -> int:
        """Points that were acknowledged and are at every destination."""
        return min(self.acknowledged, *self.stored) if self.stored else self.acknowledged

    @property
    def points_per_sec(self) -> float:
        """Delivered, by the time that it took."""
        return self.delivered / self.seconds

    @property
    def cpu_secs_per_million(self) -> float:
        """Processor time for a million acknowledged points."""
        return self.cpu_seconds / self.acknowledged * 1e6

    @property
    def bytes_per_point(self) -> float | None:
        """At rest, before any compaction."""
        return None if self.file_bytes is None or not self.delivered else self.file_bytes / self.delivered

    @property
    def lost_percent(self) -> float:
        """Of what was acknowledged."""
        return 100 * (1 - self.delivered / self.acknowledged)


def markdown(runs: Iterable[Run], acknowledged_when: dict[str, str]) -> str:
    """A row a case, in the order that they first came in, each figure the median of its runs."""
    by_case: dict[str, list[Run]] = {}
    for run in runs:
        by_case.setdefault(run.case, []).append(run)
    heads = (
        *("case", "delivered points/s", "CPU s per M points", "MB resident", "answer p50 / p99 ms"),
        *("file bytes a point", "lost", "acknowledged when"),
    )
    rows = [(case, *_medians(of_case), acknowledged_when[case]) for case, of_case in by_case.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows))


def _medians(runs: list[Run]) -> tuple[str, ...]:
    sizes = [run.bytes_per_point for run in runs if run.bytes_per_point is not None]
    lost = median(run.lost_percent for run in runs)
    return (
        f"{median(run.points_per_sec for run in runs):,.0f}",
        f"{median(run.cpu_secs_per_million for run in runs):.2f}",
        f"{median(run.resident_mb for run in runs):,.0f}",
        f"{median(run.p50_ms for run in runs):.1f} / {median(run.p99_ms for run in runs):.1f}",
        f"{median(sizes):.1f}" if sizes else "",
        f"{lost:.2g} %" if lost else "0",
    )
