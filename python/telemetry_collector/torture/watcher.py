"""A reader of the dataset that never rests: whatever it finds at any instant must be whole, and must not overlap."""

from __future__ import annotations

import asyncio
import os
import threading
from itertools import pairwise
from pathlib import Path
from typing import Final, final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.store.part import PartName

PAUSE_SECS: Final = 0.05
FINDINGS_MAX: Final = 100


@final
class Watcher:
    """Lists and reads in a thread of its own."""

    def __init__(self, roots: list[Path]) -> None:
        self.rounds = 0
        self.files_read = 0
        self.findings: list[str] = []
        """What no reader should ever see; at most FINDINGS_MAX."""
        self._roots = roots
        self._read: set[tuple[str, int]] = set()
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(asyncio.to_thread(self._run))

    async def stop(self) -> None:
        """Ends after the round that it is in. Idempotent."""
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None

    def _run(self) -> None:
        while not self._stop.is_set():
            for root in self._roots:
                for hour in sorted(root.glob("date=*/hour=*")):
                    self._look(hour)
            self.rounds += 1
            self._stop.wait(PAUSE_SECS)

    def _look(self, hour: Path) -> None:
        try:
            listed = os.listdir(hour)
        except FileNotFoundError:
            return  # exchanged and removed since it was found
        parts = sorted(part for part in map(PartName.parse, listed) if part is not None)
        for earlier, later in pairwise(parts):
            if earlier.journal_id == later.journal_id and later.start < earlier.end:
                self._found(f"{hour}: {earlier} and {later} were listed together")
        for part in parts:
            self._read_whole(hour / str(part))

    def _read_whole(self, path: Path) -> None:
        try:
            inode = path.stat().st_ino
            # A name that is visible never changes, so each file is read whole once.
            if (str(path), inode) in self._read:
                return
            pq.read_table(path, columns=["identity", "value"], use_threads=False, partitioning=None)
            self._read.add((str(path), inode))
            self.files_read += 1
        except FileNotFoundError:
            pass  # listed, and compacted before it was opened: gone, never double
        except (OSError, pa.ArrowException) as error:
            self._found(f"{path} cannot be read: {error}")

    def _found(self, text: str) -> None:
        if len(self.findings) < FINDINGS_MAX and text not in self.findings:
            self.findings.append(text)
