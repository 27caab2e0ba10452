"""Which files a question has to read.

A directory is an hour of *receipt* and a question is about times of *measurement*. A point may have been measured
`late_secs` before it was received, and by a clock that was `ahead_secs` fast; nothing further off is ever stored
(`limits.timestamp_past_secs` and `timestamp_future_secs`). So the hours in question are those of the range, widened by
the two. Within them the files' own statistics of `timestamp` say which row groups need be read at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from telemetry_collector.query.errors import AnswerTooLarge
from telemetry_collector.store.part import PartName, partition

FILES_MAX: Final = 20_000
"""Files of one question: a month of hours, each in a couple of dozen files."""

_HOUR_NS: Final = 3600 * 1_000_000_000


def files_of(root: Path, start_ns: int, end_ns: int, late_secs: int, ahead_secs: int) -> list[str]:
    """Published files that may have points measured in [start, end). AnswerTooLarge when they are too many."""
    first = (start_ns - ahead_secs * 1_000_000_000) // _HOUR_NS
    last = (end_ns - 1 + late_secs * 1_000_000_000) // _HOUR_NS
    found: list[str] = []
    # Not those that are there: of years there are more than of any question.
    for hour in range(first, last + 1):
        directory = root / partition(hour)
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        found += [str(directory / name) for name in sorted(names) if PartName.parse(name) is not None]
        if len(found) > FILES_MAX:
            raise AnswerTooLarge(f"the range is in more than {FILES_MAX} files; expected a shorter one")
    return found
