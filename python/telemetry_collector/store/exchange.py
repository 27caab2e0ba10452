"""Two ways to rename that the standard library lacks, both in one step of the file system (Linux `renameat2`)."""

import ctypes
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(source: Path, target: Path) -> None:
    """Renames a file and fails with FileExistsError where the target exists, whatever races with it."""
    _renameat2(source, target, _RENAME_NOREPLACE)


def exchange(left: Path, right: Path) -> None:
    """Makes each path name what the other named. At no instant does either name nothing or both the same."""
    _renameat2(left, right, _RENAME_EXCHANGE)


def _renameat2(source: Path, target: Path, flags: int) -> None:
    """OSError with both paths; EINVAL where the file system cannot do it (NFS, some network and FUSE file systems)."""
    result = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flags))
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))
