"""Whether a collector is worth trying: a dead one costs a connect timeout now and then, not at every reconnect.

closed ──failed──► open ──pause over──► half_open ──worked──► closed
                    ▲                       │
                    └──────── failed ───────┘
"""

from typing import Literal

from telemetry_collector.sender.backoff import Backoff

BreakerState = Literal["closed", "half_open", "open"]


class Breaker:
    """One collector's. Pauses grow with each failure up to a bound, and are spread; `now` is on any forward clock."""

    def __init__(self, backoff: Backoff, *, proven_secs: float) -> None:
        """After a connection that lived `proven_secs` pauses begin short again: others may fail over and over."""
        self._backoff = backoff
        self._proven_secs = proven_secs
        self._open_until = 0.0
        self._good_since: float | None = None
        self.state: BreakerState = "closed"
        self.opened = 0
        """Times that it was opened."""

    def allows(self, now: float) -> bool:
        """Whether to try now; when its pause is over, that is the one attempt that decides."""
        if self.state == "open" and now >= self._open_until:
            self.state = "half_open"
        return self.state != "open"

    @property
    def due(self) -> float:
        """When the next attempt may be made, possibly in the past."""
        return self._open_until if self.state == "open" else 0.0

    def worked(self, now: float) -> None:
        """A connection became good."""
        self.state = "closed"
        self._good_since = now

    def failed(self, now: float) -> None:
        """An attempt failed, or a good connection was lost."""
        if self._good_since is not None and now - self._good_since >= self._proven_secs:
            self._backoff.reset()
        self._good_since = None
        self.state = "open"
        self.opened += 1
        self._open_until = now + self._backoff.next_secs()
