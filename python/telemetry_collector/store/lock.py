"""One writing process a directory."""

import fcntl
import os
from pathlib import Path

from telemetry_collector.errors import ConfigError, Mistake


class DirectoryLock:
    """An exclusive lock on a directory's `.lock` file. The kernel releases it however the process ends."""

    def __init__(self, directory: Path, key: str) -> None:
        """`key` is the configuration key that the directory came from, for the error's text."""
        self._path = directory / ".lock"
        self._key = key
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock or raises a ConfigError that names the directory and its holder. Does not wait."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            mistake = Mistake(
                self._key,
                f"is in use by another collector (process {holder})",
                "give each collector a directory of its own, or stop the other one",
                value=str(self._path.parent),
            )
            raise ConfigError([mistake]) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
