"""What a thread of ours loads is loaded whole before a process forks.

The thread that loads is not in the child. There a module that it was in the middle of would stay half of one for good,
and its lock taken: so a fork waits, once in a family of processes, for at most as long as the loading takes.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LOADING_SECS_MAX: Final = 10.0
"""A fork waits no longer than this, whatever hinders the loading."""

# Whoever has it may fork, and whoever does not may release it in vain: both for the fork that has waited for nothing.
_loading = threading.RLock()


@contextmanager
def whole() -> Iterator[None]:
    """No fork begins while this is open."""
    with _loading:
        yield


def _before_fork() -> None:
    _loading.acquire(timeout=LOADING_SECS_MAX)


def _in_parent() -> None:
    with suppress(RuntimeError):
        _loading.release()


def _in_child() -> None:
    global _loading
    _loading = threading.RLock()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
