"""When to read: at whole multiples of the interval, so that the points of all nodes line up.

The wall clock decides about the first moment only; from then on the monotonic clock counts, so a step of the wall clock
neither skips nor doubles a reading. A moment that was missed, because the machine slept or a reading took long, is
skipped and counted: readings never bunch up.
"""

import math

from telemetry_collector.clock import Clock


class Schedule:
    """Moments that are an interval apart."""

    def __init__(self, interval_secs: float, clock: Clock) -> None:
        self._interval = interval_secs
        self._clock = clock
        wall = clock.unix_secs()
        first_wait = math.ceil(wall / interval_secs) * interval_secs - wall
        self._next = clock.monotonic() + first_wait
        self.missed = 0
        """Moments that passed before the last one was dealt with."""

    async def wait(self) -> None:
        """Returns at the next moment."""
        late = self._clock.monotonic() - self._next
        if late > 0:
            # The moment itself is still served, late; only whole intervals are skipped.
            skipped = math.floor(late / self._interval)
            self.missed += skipped
            self._next += skipped * self._interval
        await self._clock.sleep(self._next - self._clock.monotonic())
        self._next += self._interval
