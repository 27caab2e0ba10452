"""Once in a while: what may happen a thousand times a second is told at most once an interval, with how often."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from telemetry_collector.clock import Clock, SystemClock

KEYS_MAX = 1_000
"""Kinds of events that are remembered; the one not heard of for longest is forgotten, and told anew when it returns."""


@dataclass
class _Kind:
    told_at: float
    since: int = 0


class Occasional:
    """Decides, kind by kind, whether an event is told now. Not safe from several threads."""

    def __init__(self, every_secs: float = 10.0, clock: Clock | None = None, *, keys_max: int = KEYS_MAX) -> None:
        self._every_secs = every_secs
        self._clock = clock or SystemClock()
        self._keys_max = keys_max
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def due(self, key: Hashable, amount: int = 1) -> int | None:
        """The amount since `key` was last told, this one included, when it is to be told now; else None."""
        now = self._clock.monotonic()
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= self._keys_max:
                self._kinds.popitem(last=False)
            self._kinds[key] = _Kind(told_at=now)
            return amount
        self._kinds.move_to_end(key)
        kind.since += amount
        if now - kind.told_at < self._every_secs:
            return None
        total, kind.since, kind.told_at = kind.since, 0, now
        return total

    def untold(self) -> list[tuple[Hashable, int]]:
        """What happened since it was last told, and forgets it; for a last word when stopping."""
        rest = [(key, kind.since) for key, kind in self._kinds.items() if kind.since]
        for kind in self._kinds.values():
            kind.since = 0
        return rest
