"""What it takes, besides writing, until a file is still there after a power failure."""

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Puts a file's bytes on stable storage, whoever wrote them."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Puts a directory's entries on stable storage: a new or renamed file may else be gone after a power failure."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
