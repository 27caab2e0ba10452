"""Time as an argument: what needs a clock is given one, so that tests run in virtual time.

Wall-clock time is only for what is stored or shown; intervals and deadlines use the monotonic clock.
"""

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """The time, and waiting for it."""

    def unix_ns(self) -> int:
        """Nanoseconds since 1970 in UTC; jumps when the system's clock is set."""

    def unix_secs(self) -> float:
        """Seconds since 1970 in UTC; jumps when the system's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    async def sleep(self, secs: float) -> None:
        """Returns after so many seconds of `monotonic`; for 0 or less as soon as other tasks had a turn."""


class SystemClock:
    """The machine's clock."""

    def unix_ns(self) -> int:
        """See `Clock`."""
        return time.time_ns()

    def unix_secs(self) -> float:
        """See `Clock`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    async def sleep(self, secs: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(secs)


class ManualClock:
    """A clock that stands still until it is advanced. For tests, here and of third-party components."""

    def __init__(self, unix_secs: float = 1_800_000_000.0) -> None:
        self._unix_ns = int(unix_secs * 1e9)
        self._monotonic = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def unix_ns(self) -> int:
        """See `Clock`."""
        return self._unix_ns

    def unix_secs(self) -> float:
        """See `Clock`."""
        return self._unix_ns / 1e9

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._monotonic

    @property
    def sleepers(self) -> int:
        """Tasks that wait in `sleep`."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, secs: float) -> None:
        """See `Clock`."""
        if secs <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + secs, next(self._order), future))
        await future

    def advance(self, secs: float) -> None:
        """Moves both clocks on and wakes, in order, the sleepers whose time has come; they run when the loop does."""
        self._unix_ns += int(secs * 1e9)
        self._monotonic += secs
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
