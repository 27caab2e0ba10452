"""What the C library may keep of memory that was given back to it.

glibc moves its thresholds up with the largest buffer that it has seen come and go, to tens of megabytes, and each
thread's part of the heap then keeps as much. Checkpoints and row groups come and go on several threads, so it would be
a hundred.
"""

from __future__ import annotations

import ctypes
import os
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
