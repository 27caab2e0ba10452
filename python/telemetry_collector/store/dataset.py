"""A dataset's directory as the one process that writes it sees it: staging, publishing, replacing, recovery.

Invariants, at any instant and after a crash between any two system calls:
- a name under `date=*/hour=*` is a whole, synced file, and never changes;
- the points of a journal range are under exactly one name: what recovery finds published is not written again;
- everything in `.staging` is garbage to the next process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.errors import ConfigError, Mistake, RetryableError
from telemetry_collector.store.durable import sync_directory
from telemetry_collector.store.exchange import exchange, rename_new
from telemetry_collector.store.lock import DirectoryLock
from telemetry_collector.store.part import PartName, hour_of, partition

STAGING: Final = ".staging"

REPLACED_KEPT_SECS: Final = 10.0
"""How long a directory stays in staging after another took its place: a listing that was under way is to find all of
its names."""

_PARTITIONS_REMEMBERED: Final = 64
# What no waiting mends: the directory or its file system must be another.
_UNUSABLE: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP),
        *(errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG),
    }
)

Step = Callable[[str], None]
"""Called with a step's name before it is taken. Tests crash there."""


def no_step(name: str) -> None:
    """Steps outside of tests."""
    del name


class Dataset:
    """Publishing and replacing may be asked for by different threads; each takes effect whole, one after the other."""

    def __init__(
        self, root: Path, journal_id: str, *, key: str, step: Step = no_step, clock: Clock | None = None
    ) -> None:
        """`key` is the configuration key that `root` came from, for the texts of errors."""
        self.root = root
        self.staging = root / STAGING
        self.journal_id = journal_id
        self.step = step
        self._key = key
        self._lock = DirectoryLock(root, key)
        self._change = threading.Lock()
        self._durable: set[Path] = set()
        self._clock = clock or SystemClock()
        # Directories that were replaced, when, and of which date. Bounded by what one round of compaction replaces.
        self._replaced: list[tuple[float, Path, Path]] = []
        # No path is another owner's, whose staging it may be when a thread of ours still has something to clear up.
        self._stage_prefix = secrets.token_hex(4)
        self._staged = 0
        self._is_open = False
        self._published_end = 0

    @property
    def published_end(self) -> int:
        """The greatest position of this journal that a published part ends with; 0 when there is none."""
        return self._published_end

    def open(self) -> None:
        """Takes the directory's lock, throws the last process's staging away and finds what it published.

        ConfigError when the directory cannot be used, RetryableError for a fault that may pass. Safe to call again.
        """
        try:
            self._make_root()
            self._lock.acquire()
            self._clear_staging()
            self._probe()
            self._recover()
            self._is_open = True
        except OSError as error:
            self.close()
            reason = (error.strerror or str(error)).lower()
            if error.errno not in _UNUSABLE:
                raise RetryableError(f"the dataset's directory {self.root} cannot be opened: {reason}") from error
            expected = "expected a directory that this user may write, on ext4, xfs, btrfs, tmpfs or the like"
            mistake = Mistake(self._key, f"cannot be used: {reason}", expected, value=str(self.root))
            raise ConfigError([mistake]) from error

    def close(self) -> None:
        """Releases the lock, once no change is under way: the next owner throws away what is staged. Idempotent, and
        safe before `open`."""
        with self._change:
            self._is_open = False
            self._lock.release()
            self._durable.clear()
            self._replaced.clear()

    def stage(self, suffix: str) -> Path:
        """A new path in the staging directory; nothing is there yet."""
        self._staged += 1
        return self.staging / f"{self._stage_prefix}-{self._staged:08d}{suffix}"

    def publish(self, staged: Path, hour: int, name: PartName) -> Path:
        """Makes a finished and synced file visible under its name, for good. OSError leaves it staged or published."""
        with self._changing():
            directory = self.root / partition(hour)
            self._make_durable(directory)
            self.step("publish: rename")
            target = directory / str(name)
            rename_new(staged, target)
            self.step("publish: sync directory")
            sync_directory(directory)
            if name.journal_id == self.journal_id:
                self._published_end = max(self._published_end, name.end)
            return target

    def hours(self) -> list[int]:
        """Hours that have a directory, ascending."""
        found = (hour_of(path.relative_to(self.root)) for path in self.root.glob("date=*/hour=*"))
        return sorted(hour for hour in found if hour is not None)

    def files(self, hour: int) -> list[Path]:
        """Published parts of an hour, in the journal's order; other files are none of ours."""
        directory = self.root / partition(hour)
        named = ((PartName.parse(name), name) for name in os.listdir(directory))
        return [directory / name for part, name in sorted((part, name) for part, name in named if part is not None)]

    def replace(self, hour: int, whole: Path, replaced: Collection[str]) -> None:
        """Puts a staged directory in an hour's place, in one step.

        The files named in `replaced` leave with the old directory; all others of the hour, and those that were
        published since, are in the new one too. The old directory stays in staging until `remove_replaced` or the
        next process removes it. OSError leaves the hour as it was, or wholly replaced.
        """
        directory = self.root / partition(hour)
        with self._changing():
            for name in os.listdir(directory):
                if name not in replaced:
                    self.step("replace: link")
                    os.link(directory / name, whole / name)
            self.step("replace: sync staged")
            sync_directory(whole)
            self.step("replace: exchange")
            self._durable.discard(directory)  # until the parent is synced
            exchange(whole, directory)
            self._replaced.append((self._clock.monotonic(), whole, directory.parent))
            self.step("replace: sync parent")
            sync_directory(directory.parent)

    def discard(self, staged: Path) -> None:
        """Removes a staged directory, as far as it is there. One that was replaced goes with `remove_replaced`."""
        with self._change:
            replaced = any(path == staged for _, path, _ in self._replaced)
        if not replaced:
            with contextlib.suppress(OSError):
                shutil.rmtree(staged)

    def remove_replaced(self) -> None:
        """Removes directories that were replaced long enough ago; what cannot be removed now is tried again."""
        with self._change:
            until = self._clock.monotonic() - REPLACED_KEPT_SECS
            due = [(path, date) for moment, path, date in self._replaced if moment <= until]
        for path, date in due:
            self.step("replace: remove old")
            with contextlib.suppress(OSError):
                # Where that failed at the exchange, a power failure could still bring the old directory back.
                with contextlib.suppress(FileNotFoundError):  # somebody has removed the whole day
                    sync_directory(date)
                shutil.rmtree(path)
        gone = {path for path, _ in due if not path.exists()}
        with self._change:
            self._replaced = [replaced for replaced in self._replaced if replaced[1] not in gone]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, and none once the directory may be another's. OSError then."""
        with self._change:
            if not self._is_open:
                raise OSError(errno.ESHUTDOWN, "the dataset was closed", str(self.root))
            yield

    def _make_root(self) -> None:
        """Creates the dataset's directory and those above it; syncs what was created."""
        created = [path for path in (self.root, *self.root.parents) if not path.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        for path in created:
            sync_directory(path.parent)

    def _make_durable(self, directory: Path) -> None:
        """Creates a partition's directories. Their entries are synced even where they exist: a process that made them
        may have died before it came to that."""
        if directory in self._durable and directory.is_dir():
            return
        self.step("publish: make directories")
        directory.mkdir(parents=True, exist_ok=True)
        self.step("publish: sync parents")
        sync_directory(directory.parent)
        sync_directory(self.root)
        if len(self._durable) >= _PARTITIONS_REMEMBERED:
            self._durable.clear()
        self._durable.add(directory)

    def _clear_staging(self) -> None:
        if self.staging.is_dir() and any(self.staging.iterdir()):
            # An hour may have been exchanged and not synced: its new directory must be safe before its old one goes.
            for date in self.root.glob("date=*"):
                sync_directory(date)
            shutil.rmtree(self.staging)
        self.staging.mkdir(exist_ok=True)

    def _probe(self) -> None:
        """OSError where the file system cannot do the renames that everything here rests on."""
        one, other = self.stage(".probe"), self.stage(".probe")
        for path in (one, other):
            path.mkdir()
        exchange(one, other)
        one.rmdir()
        rename_new(other, one)
        one.rmdir()

    def _recover(self) -> None:
        """Finds the greatest end published, and syncs its directory: its publisher may have died before that."""
        latest: tuple[int, int] | None = None
        for hour in self.hours():
            for name in os.listdir(self.root / partition(hour)):
                part = PartName.parse(name)
                if part is not None and part.journal_id == self.journal_id:
                    latest = max(latest or (0, 0), (part.end, hour))
        if latest is not None:
            end, hour = latest
            directory = self.root / partition(hour)
            for path in (directory, directory.parent, self.root):
                sync_directory(path)
            self._published_end = end
