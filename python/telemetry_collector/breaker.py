"""The circuit breaker of a destination: after a failure nothing is tried until a pause is over, then one attempt tells.

    CLOSED ── failed ──► OPEN ── the pause is over ──► HALF_OPEN ── succeeded ──► CLOSED
                           ▲─────────── failed ───────────┘

Pauses double from one failure to the next, with jitter, and begin anew after a success. The fan-out, which starts a
writer anew, and a writer that repeats its own requests share one breaker, so a destination has one state.
"""

from __future__ import annotations

import asyncio
import random
from enum import Enum
from typing import Final

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.errors import RetryableError

# The first pause is from half of this to all of it; it doubles up to the breaker's bound.
PAUSE_SECS_MIN: Final = 0.5
# A destination that asks for more patience than this is asked again all the same.
RETRY_AFTER_SECS_MAX: Final = 300.0
# What is added at random to a pause that the destination asked for.
RETRY_AFTER_JITTER_SECS: Final = 0.25


class State(Enum):
    """What a breaker lets through; the values are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Abandoned(RetryableError):
    """There will be no further attempt: the process is about to end."""


class Breaker:
    """See the module. Used from one event loop; one attempt at a time."""

    def __init__(self, pause_secs_max: float = 30.0, clock: Clock | None = None) -> None:
        self._pause_secs_min = min(PAUSE_SECS_MIN, pause_secs_max)
        self._pause_secs_max = pause_secs_max
        self._clock = clock or SystemClock()
        self._state = State.CLOSED
        self._next_attempt = 0.0
        self._abandoned = asyncio.Event()
        self.failures = 0
        """Attempts that failed since the last one that succeeded."""

    @property
    def state(self) -> State:
        """What it lets through now."""
        return self._state

    @property
    def retry_in_secs(self) -> float:
        """Seconds until the next attempt; 0 unless it is open."""
        return max(self._next_attempt - self._clock.monotonic(), 0.0) if self._state is State.OPEN else 0.0

    def succeeded(self) -> None:
        """An attempt succeeded."""
        self._state = State.CLOSED
        self.failures = 0

    def failed(self, retry_after_secs: float | None = None) -> float:
        """An attempt failed: seconds until the next one. `retry_after_secs` is what the destination asked for."""
        if retry_after_secs is None:
            # Bounded before it is a number too large for a float.
            ceiling = min(self._pause_secs_min * 2 ** min(self.failures, 64), self._pause_secs_max)
            pause = random.uniform(ceiling / 2, ceiling)
        else:
            pause = min(retry_after_secs, RETRY_AFTER_SECS_MAX) + random.uniform(0, RETRY_AFTER_JITTER_SECS)
        self.failures += 1
        self._state = State.OPEN
        self._next_attempt = self._clock.monotonic() + pause
        return pause

    async def wait(self) -> None:
        """Returns when an attempt may be made: at once unless it is open. Raises Abandoned instead of waiting once
        `abandon` was called."""
        if self._state is not State.OPEN:
            return
        pausing = asyncio.ensure_future(self._clock.sleep(self.retry_in_secs))
        leaving = asyncio.ensure_future(self._abandoned.wait())
        try:
            await asyncio.wait((pausing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (pausing, leaving):
                waiting.cancel()
        if self._abandoned.is_set():
            raise Abandoned("no further attempt is made")
        self._state = State.HALF_OPEN

    def abandon(self) -> None:
        """From now on nobody waits for a next attempt."""
        self._abandoned.set()
