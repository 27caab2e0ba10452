"""What the C library may keep of memory that was given back to it, and what of the libraries stays mapped.

glibc moves its thresholds up with the largest buffer that it has seen come and go, to tens of megabytes, and each
thread's part of the heap then keeps as much. Checkpoints and row groups come and go on several threads, so it would be
a hundred.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# Buffers of this size come from the system and go back to it: large enough that a batch's columns do not.
LARGE_BYTES: Final = 1024 * 1024
# What the end of a thread's part of the heap may have free.
SPARE_BYTES: Final = 4 * 1024 * 1024

# The names are those of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_OPERATORS: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def bound_freed_memory() -> None:
    """Bounds it for this process, unless whoever started it has. Does nothing with another C library."""
    if any(name in os.environ for name in _OPERATORS):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)


# The kernel's names, of sys/mman.h; and what it says of the memory of this process. Of each mapping `VmFlags:` is last.
_MADV_DONTNEED: Final = 4
_MAPS: Final = Path("/proc/self/smaps")
# Its lines about pages of a mapping that are not the file's, in memory and out of it.
_WRITTEN: Final = ("Anonymous:", "Swap:")


def unmap_unused_code() -> None:
    """Lets go of the code that was needed so far. What is still in use comes back, a few pages at a time.

    Libraries for certificates and configurations are read by the start, and then by a reload: ten megabytes of each
    collector that nobody looks at.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None or not _MAPS.exists():
        return
    for start, end in _code(_MAPS.read_text().splitlines()):
        # Advice: where it cannot be taken, the pages stay.
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _code(maps: Iterable[str]) -> Iterable[tuple[int, int]]:
    """Where code of files is mapped, and nothing was written to it: what a debugger, a profiler or the loader has put
    there is not in the file, and would not come back."""
    found: tuple[int, int] | None = None
    for line in maps:
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):
            start, end = name.split("-")
            of_file = len(rest) == 5 and rest[0] == "r-xp" and rest[4].startswith("/")
            found = (int(start, 16), int(end, 16)) if of_file else None
        elif name in _WRITTEN and rest[0] != "0":
            found = None
        elif name == "VmFlags:" and found is not None:
            yield found
