"""Files that change while the process runs: noticed by looking at them, and only when they have come to rest.

Looking is what works everywhere: on network file systems, and when a directory above is exchanged by a symbolic link,
as Kubernetes does it. A file that is being copied changes with every look; what is in it before it rests is not taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from telemetry_collector.clock import Clock

LOOK_SECS = 0.5
"""How often the files are looked at."""

REST_SECS = 1.0
"""So long they must all have stayed as they are."""

Stamps = Mapping[Path, tuple[int, ...] | None]
"""What differs when a file was written, replaced or made readable; None while there is none."""


def stamps(paths: Iterable[Path]) -> Stamps:
    """The files as they are now; links are followed."""
    return {path: _stamp(path) for path in paths}


async def changed(seen: Stamps, clock: Clock) -> None:
    """Returns when the files are no longer as they were seen, and have come to rest."""
    latest, since = seen, clock.monotonic()
    while True:
        await clock.sleep(LOOK_SECS)
        now = await asyncio.to_thread(stamps, seen)
        if now != latest:
            latest, since = now, clock.monotonic()
        elif latest != seen and clock.monotonic() - since >= REST_SECS:
            return


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
