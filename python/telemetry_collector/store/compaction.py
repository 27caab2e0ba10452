"""Turns the many small parts of a past period into few files of bounded size.

A period is `rotation_interval_secs` of receipt time, counted from 1970; one shorter than an hour divides its hour, a
longer one ends for all its hours at once. A period is compacted when it is over, its last parts had time to be
published, and the writer is not just catching up on it: it would be rewritten again and again.

Here is when an hour's turn comes, and its exchange. A `Joiner` makes the new files: it needs memory for rows and for
pyarrow, and is asked only for hours whose listing says that there may be something to do, so the collector keeps it in
a process of its own (`joining_process`). An hour is compacted aside, in the staging directory, and put in the place of
the old one in a single step; parts that are published into it meanwhile are carried along (see `Dataset.replace`). The
old one is removed some time later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from telemetry_collector.errors import CoreError
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import PartError
from telemetry_collector.store.part import partition

_HOUR_SECS: Final = 3600
# An hour that failed, for want of room or for a damaged file, is left alone for so long.
_RETRY_SECS: Final = 300


@dataclass(frozen=True, slots=True)
class Compacted:
    """An hour in which so many files became fewer."""

    hour: int
    files: int
    into: int
    rows: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An hour that could not be compacted, and is as it was."""

    hour: int
    error: Exception


class Stopped(Exception):
    """Compaction was asked to end; the hour is as it was."""


@dataclass(frozen=True, slots=True)
class Task:
    """An hour whose parts are to be joined."""

    directory: Path
    """Where they are."""
    staged: Path
    """Where the new files go. The joiner makes the directory, if there is anything to join."""
    compression: Compression
    file_bytes_max: int
    period_secs: int
    end_period: int
    """Periods before it are over."""
    busy_period: int | None
    """But not this one: parts of it are still coming."""

    def due(self, period: int) -> bool:
        """Whether parts of this period are to be joined."""
        return period < self.end_period and period != self.busy_period


@dataclass(frozen=True, slots=True)
class Joined:
    """What was made of an hour; nothing, if nothing is gained by it."""

    into: tuple[str, ...]
    """Names of the new files, which are staged, whole and synced, as `<name>.part`."""
    replaced: frozenset[str]
    """Names of the parts whose rows they hold."""
    rows: int


class Joiner(Protocol):
    """Who makes files of files."""

    def join(self, task: Task) -> Joined:
        """OSError, CoreError or PartError: what is staged is garbage. FileNotFoundError: parts went meanwhile.
        Stopped: `stop` was called."""

    def rest(self) -> None:
        """Lets go of what it holds until the next `join`."""

    def stop(self) -> None:
        """Makes `join`, now or later, end soon. Safe to call from any thread."""


class Compactor:
    """Compacts one hour after the other, in the calling thread."""

    def __init__(
        self,
        dataset: Dataset,
        joiner: Joiner,
        *,
        compression: Compression,
        file_bytes_max: int,
        period_secs: int,
        settle_secs: float,
    ) -> None:
        """`settle_secs`: how long after a period's end its last parts may still be published."""
        self._dataset = dataset
        self._joiner = joiner
        self._compression = compression
        self._file_bytes_max = file_bytes_max
        self._period_secs = period_secs
        self._settle_secs = settle_secs
        # What an hour looked like when there was nothing left to do, by the hour. Bounded by the dataset's hours.
        self._settled: dict[int, object] = {}
        # When an hour that failed may be tried again, by the hour.
        self._failed: dict[int, float] = {}

    def stop(self) -> None:
        """Makes `run`, now or later, end within a row group. Safe to call from any thread."""
        self._joiner.stop()

    def run(self, now_unix_secs: float, busy_us: int | None = None) -> Iterator[Compacted | Failed]:
        """Compacts all that is due, the oldest hour first; an hour that fails is reported and left as it was.

        The period of `busy_us`, microseconds since 1970, is left out: parts of it are still coming.
        """
        busy = None if busy_us is None else busy_us // 1_000_000 // self._period_secs
        self._dataset.remove_replaced()
        hours = self._dataset.hours()
        for memory in (self._settled, self._failed):
            for gone in memory.keys() - set(hours):
                del memory[gone]
        try:
            for hour in hours:
                if now_unix_secs < self._failed.get(hour, 0):
                    continue
                try:
                    done = self._compact(hour, int(now_unix_secs - self._settle_secs), busy)
                except Stopped:
                    return
                except FileNotFoundError:
                    continue  # retention or an operator removed the hour meanwhile
                except (OSError, CoreError, PartError) as error:
                    self._failed[hour] = now_unix_secs + _RETRY_SECS
                    yield Failed(hour, error)
                else:
                    if done is not None:
                        yield done
                        # After an outage there are many hours, and the old ones of all would need room for them twice.
                        self._dataset.remove_replaced()
        finally:
            self._joiner.rest()

    def _compact(self, hour: int, settled_unix_secs: int, busy: int | None) -> Compacted | None:
        first, last = hour * _HOUR_SECS // self._period_secs, ((hour + 1) * _HOUR_SECS - 1) // self._period_secs
        end = min(settled_unix_secs // self._period_secs, last + 1)
        if busy is not None and not first <= busy < end:
            busy = None
        if end <= first or (busy is not None and end - first == 1):
            return None
        # While the hour goes on, each new part changes its directory, and only a period's end brings something to do.
        directory = self._dataset.root / partition(hour)
        state = (end, busy, directory.stat().st_mtime_ns if end > last else 0)
        if self._settled.get(hour) == state:
            return None
        done = None
        if len(self._dataset.files(hour)) > 1:
            task = Task(
                directory,
                self._dataset.stage(".hour"),
                self._compression,
                self._file_bytes_max,
                self._period_secs,
                end,
                busy,
            )
            done = self._replace(hour, task)
        if done is None:
            self._settled[hour] = state
        return done

    def _replace(self, hour: int, task: Task) -> Compacted | None:
        try:
            joined = self._joiner.join(task)
            if not joined.into:
                return None
            # Only now, for an instant, do staged files look like parts: some readers search hidden directories too.
            for name in joined.into:
                (task.staged / f"{name}.part").rename(task.staged / name)
            self._dataset.replace(hour, task.staged, joined.replaced)
        except BaseException:
            self._dataset.discard(task.staged)
            raise
        return Compacted(hour, files=len(joined.replaced), into=len(joined.into), rows=joined.rows)
