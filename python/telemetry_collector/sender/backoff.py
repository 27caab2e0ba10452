"""How long to wait before the next attempt: exponential, bounded, and spread so that a fleet does not march in step."""

from random import Random


class Backoff:
    """Waits of half to all of a span that doubles with each failure up to a bound."""

    def __init__(self, *, min_secs: float, max_secs: float, random: Random) -> None:
        self._min_secs = min_secs
        self._max_secs = max_secs
        self._random = random
        self._span = min_secs

    def next_secs(self) -> float:
        """The wait before the next attempt, in seconds."""
        span = self._span
        self._span = min(self._max_secs, span * 2)
        return span * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """After a success: the next wait is a short one again."""
        self._span = self._min_secs
