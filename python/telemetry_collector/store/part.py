"""Names: which range of which journal a file holds, and which hour a directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

_NAME: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})\.parquet")
_PARTITION: Final = re.compile(r"date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})")


@dataclass(frozen=True, order=True, slots=True)
class PartName:
    """Says that a file holds the points of the journal's range [start, end). Orders as the journal does."""

    journal_id: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end < 2**63:
            raise ValueError(f"a part cannot cover [{self.start}, {self.end})")

    def __str__(self) -> str:
        return f"{self.journal_id}-{self.start:016x}-{self.end:016x}.parquet"

    @classmethod
    def parse(cls, name: str) -> PartName | None:
        """The range in a file's name, or None for a file that is no part."""
        if (match := _NAME.fullmatch(name)) is None:
            return None
        journal_id, start, end = match[1], int(match[2], 16), int(match[3], 16)
        return cls(journal_id, start, end) if start < end < 2**63 else None

    def joined(self, later: PartName) -> PartName:
        """The name of both ranges together; `later` must begin where this one ends."""
        if later.journal_id != self.journal_id or later.start != self.end:
            raise ValueError(f"{later} does not follow {self}")
        return PartName(self.journal_id, self.start, later.end)


def partition(hour: int) -> PurePath:
    """The directory, below the dataset's, of points received in this hour (counted from 1970, UTC)."""
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    return PurePath(f"date={moment:%Y-%m-%d}", f"hour={moment:%H}")


def hour_of(path: PurePath) -> int | None:
    """The hour whose `partition` this relative path is, or None."""
    if (match := _PARTITION.fullmatch(path.as_posix())) is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}:00+00:00")
    except ValueError:  # the 31st of February, the 25th hour
        return None
    return int(moment.timestamp()) // 3600
