"""Tables for people. Where the output is no terminal they are as wide as they need, so that nothing is cut."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

_WIDE = 1_000
ROWS_MAX = 200
"""Of a table for people; JSON has all."""


def say(text: str) -> None:
    """One line."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, or nothing where there are no rows. Numbers stand to the right."""
    lines = [[_text(cell) for cell in row] for row in rows]
    kept = lines[:ROWS_MAX]
    if not kept:
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for place, column in enumerate(columns):
        numeric = all(line[place].replace(",", "").lstrip("-").isdigit() or line[place] == "–" for line in kept)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for line in kept:
        table.add_row(*line)
    console = _console()
    console.print(table, markup=False, highlight=False)
    if len(lines) > ROWS_MAX:
        say(f"  and {len(lines) - ROWS_MAX:,} more; --json has all of them")


def position(at: int | None) -> str:
    """A place in the log as it stands in the names of files."""
    return "–" if at is None else f"{at:016x}"


def moment(unix_secs: int | None) -> str:
    """A time in UTC."""
    return "–" if unix_secs is None else f"{datetime.fromtimestamp(unix_secs, UTC):%Y-%m-%d %H:%M:%S}"


def _text(cell: object) -> str:
    if cell is None:
        return "–"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def _console() -> Console:
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE)
