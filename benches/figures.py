"""A measured figure beside what it is to reach."""

import os
import platform
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

SYNC_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    goal: float | None
    """What is to be reached: at most so much, or with `at_least` at least. None where nothing was promised."""
    at_least: bool = False
    spread: str = ""
    """How far the runs lay apart, or what the figure was counted over."""

    @property
    def verdict(self) -> str:
        """Whether the goal is reached."""
        if self.goal is None:
            return ""
        return "reached" if self._reached(self.goal) else "missed"

    def _reached(self, goal: float) -> bool:
        return self.value >= goal if self.at_least else self.value <= goal


def show(figures: Iterable[Figure]) -> None:
    """Prints the table and the machine it is about."""
    table = Table(title=f"{processor()} · {os.cpu_count()} cores · one fdatasync {sync_ms():.2f} ms")
    for heading in ("figure", "measured", "goal", "", "counted over"):
        table.add_column(heading, justify="right" if heading in ("measured", "goal") else "left")
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        table.add_row(
            figure.name,
            f"{figure.value:,.4g} {figure.unit}" if figure.value < 1_000 else f"{figure.value:,.0f} {figure.unit}",
            "" if figure.goal is None else f"{sign} {figure.goal:,g} {figure.unit}",
            figure.verdict,
            figure.spread,
        )
    Console(width=140).print(table)


def processor() -> str:
    """The processor's own name, where it tells one."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def sync_ms() -> float:
    """Median milliseconds of an fdatasync after 4 KiB into a preallocated file, where temporary files are."""
    took = []
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, SYNC_ROUNDS * 4096)
        for place in range(SYNC_ROUNDS):
            os.pwrite(file.fileno(), b"x" * 4096, place * 4096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return sorted(took)[len(took) // 2]
