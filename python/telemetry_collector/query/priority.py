"""Threads whose work can wait."""

from __future__ import annotations

import os
import threading
from typing import Final

from telemetry_collector.observe.logs import logger

log = logger(__name__)

NICENESS: Final = 10


def give_way() -> None:
    """The calling thread has a lower priority from now on, and so have those that it starts: Linux has one for each.
    Where the system forbids it, they do their work all the same."""
    thread = threading.get_native_id()
    try:
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
    except OSError as error:
        log.warning("query_priority_not_lowered", error=str(error))
