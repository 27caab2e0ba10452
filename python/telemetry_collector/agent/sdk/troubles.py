"""What could not be recorded or delivered: counted always, told to the service's log seldom, never raised."""

import logging
import threading
import time
from collections import Counter
from contextlib import suppress

TOLD_EVERY_SECS = 60.0
"""A reason is logged when it first occurs and then at most so often, with what happened since."""

log = logging.getLogger("telemetry_collector.sdk")


class Troubles:
    """Counters by reason. From any thread; the lock lets a signal handler in that interrupts its own thread."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begins anew."""
        self._lock = threading.RLock()
        self._counted: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """By reason, since the process began."""
        with self._lock:
            return dict(self._counted)

    def count(self, reason: str, amount: int, text: str) -> None:
        """Adds to a reason; `text` says what happened, for the log."""
        with self._lock:
            self._counted[reason] += amount
            total, now = self._counted[reason], time.monotonic()
            told_at, told = self._told.get(reason, (None, 0))
            if told_at is not None and now - told_at < TOLD_EVERY_SECS:
                return
            self._told[reason] = (now, total)
        _warn("metrics: %s (%s, %d more of this kind, %d in all)", text, reason, total - told, total)

    def closed_in(self, points: int) -> None:
        """Counts what is left at the end, for nobody could be started who sends it."""
        self.count("not_started", points, f"{points} points were closed in, for nothing could be started")

    def mention(self, subject: str, text: str) -> None:
        """Logs, as seldom, what costs no points by itself."""
        with self._lock:
            now = time.monotonic()
            told_at, _ = self._told.get(subject, (None, 0))
            if told_at is not None and now - told_at < TOLD_EVERY_SECS:
                return
            self._told[subject] = (now, 0)
        _warn("metrics: %s", text)


def _warn(text: str, *values: object) -> None:
    # What a service has made of its log may raise, and it did not call us to hear of that.
    with suppress(Exception):
        log.warning(text, *values)
