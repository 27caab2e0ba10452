"""How fast a writer that fell behind is given what it missed: not faster than its destination is to be asked for, and
not so slow that it would never be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from telemetry_collector.clock import Clock

# A writer is behind when its oldest batch is older than its flush interval by so much.
BEHIND_SECS: Final = 10.0
# It always gets so many times what comes in, or it would stay behind.
CONVERGENCE: Final = 1.5
# It is given what may be delivered in so long at a time.
STEP_SECS: Final = 0.25


@final
class Pace:
    """Says how many points may be handed over, and when the next ones."""

    def __init__(
        self,
        catch_up_points_per_sec: float | None,
        live_points_per_sec: Callable[[], float],
        clock: Clock,
        *,
        behind_secs: float = BEHIND_SECS,
    ) -> None:
        self._catch_up_points_per_sec = catch_up_points_per_sec
        self._live_points_per_sec = live_points_per_sec
        self._clock = clock
        self._behind_secs = behind_secs
        self._next = 0.0

    def points_per_sec(self, lag_secs: Callable[[], float]) -> float | None:
        """The bound for a writer whose oldest batch has this age; None when there is none."""
        if self._catch_up_points_per_sec is None or lag_secs() <= self._behind_secs:
            return None
        return max(self._catch_up_points_per_sec, CONVERGENCE * self._live_points_per_sec())

    async def turn(self, stopping: asyncio.Event) -> None:
        """Returns when the next points may be handed over, or when there will be none because it is stopping."""
        sleeping = asyncio.ensure_future(self._clock.sleep(self._next - self._clock.monotonic()))
        leaving = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait((sleeping, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (sleeping, leaving):
                waiting.cancel()
        self._next = max(self._next, self._clock.monotonic())

    def delivered(self, points: int, points_per_sec: float) -> None:
        """So many were handed over in this turn."""
        self._next += points / points_per_sec
