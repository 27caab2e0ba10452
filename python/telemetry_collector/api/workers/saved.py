"""The file that keeps the workers over a restart.

One JSON document: `{"format": 1, "complete": true, "crc32": "0f3a…", "workers": [[timestamp, worker], …]}`, where the
checksum is over the bytes of the list, a worker is as the API shows it, and a file is complete when it was the last act
of a collector that stopped in order. It is written aside, synced and renamed, so that a crash leaves the one before.
What is damaged, or of a format that is not ours, is set aside under another name and told.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

from telemetry_collector.api.workers.worker import Worker, of_json
from telemetry_collector.store.durable import sync_directory

FORMAT = 1
BYTES_MAX = 512 * 1024 * 1024
"""A larger file is none of ours."""
_HEAD = re.compile(rb'\{"format": (\d{1,9}), "complete": (true|false), "crc32": "([0-9a-f]{8})", "workers": ')
_TAIL = b"}\n"


class Saved(NamedTuple):
    """What a file holds."""

    workers: list[Worker]
    complete: bool
    """Nothing was heard of any of them after it was written."""


class DamagedError(Exception):
    """The file is not what was written; the text says how."""


@final
class SavedWorkers:
    """The file at a path. Its calls wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def aside(self) -> Path:
        """Where a damaged one is moved; one at most is kept, the latest."""
        return self._path.with_name(self._path.name + ".damaged")

    def save(self, workers: Sequence[tuple[int, bytes]], *, complete: bool) -> None:
        """Replaces what was saved: each worker's newest timestamp and its JSON. OSError leaves the one before."""
        body = b"[" + b",\n".join([b"[%d, %b]" % worker for worker in workers]) + b"]"
        aside = self._path.with_name(self._path.name + ".tmp")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            flag = b"true" if complete else b"false"
            file.write(
                b'{"format": %d, "complete": %b, "crc32": "%08x", "workers": ' % (FORMAT, flag, zlib.crc32(body))
            )
            file.write(body)
            file.write(_TAIL)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)
        sync_directory(self._path.parent)

    def load(self) -> Saved:
        """What was saved last, nobody before the first time. OSError, or DamagedError once it is set aside."""
        try:
            with self._path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return Saved([], complete=True)
        try:
            return _read(data)
        except DamagedError:
            self._path.replace(self.aside)
            sync_directory(self._path.parent)
            raise


def _read(data: bytes) -> Saved:
    head = _HEAD.match(data)
    if len(data) > BYTES_MAX or head is None or not data.endswith(_TAIL):
        raise DamagedError("it does not begin and end as it should")
    if int(head[1]) != FORMAT:
        raise DamagedError(f"its format is {int(head[1])}; expected {FORMAT}: it is of another version of the program")
    body = data[head.end() : -len(_TAIL)]
    if zlib.crc32(body) != int(head[3], 16):
        raise DamagedError("its checksum is another")
    try:
        workers = [of_json(worker, timestamp) for timestamp, worker in json.loads(body)]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    return Saved(workers, complete=head[2] == b"true")
