"""Which metrics are left out for a while when there are too many, so that what is sent still tells the truth.

Without I/O and clock: whoever samples says how great the pressure is, and what time it is. Each rule has a rate, the
share of its points that is kept. Above the high mark every rate falls to 0.9 of itself, down to the least that the
rule's importance allows; below the low mark it rises to 1.1 of itself, up to 1. Between the marks nothing moves.

What is left out are readings of gauges and totals: `tick` once a reading, then `due`. What is kept is evenly apart, and
needs no weight: the next value that is sent has all that happened since the last. So has what a service adds up between
two flushes. docs/decisions/0031-sampling-that-stays-unbiased.md says more.

What is due is decided by hashes of a seed, not by lot: the same group at the same time is decided the same way again.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from numbers import Real

FALL, RISE = 0.9, 1.1
"""What a rate is multiplied with in one step."""

RATE_LEAST = 0.001
"""No rule goes below: a series that is never sent looks like one that is gone."""

NAMES_MAX = 10_000
"""Names whose rule is remembered; when there are more, they are looked up anew."""

_LOTS = 1 << 64


class Importance(StrEnum):
    """How far the rate of a rule may fall."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rate_min(self) -> float:
        """The share that is kept in any case."""
        return _RATES_MIN[self]


_RATES_MIN = {Importance.CRITICAL: 1.0, Importance.HIGH: 0.5, Importance.NORMAL: 0.1, Importance.LOW: 0.01}


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the metrics whose names fit a pattern."""

    pattern: str
    """As in a shell, over the whole name: `system.disk.*`."""
    importance: Importance = Importance.NORMAL
    rate_min: float | None = None
    """In place of the importance's own, from RATE_LEAST to 1. What is critical stays at 1."""

    def __post_init__(self) -> None:
        """Takes an importance by its word, too. ValueError names what cannot be used."""
        if not isinstance(self.pattern, str) or not self.pattern:
            raise ValueError(f"pattern = {self.pattern!r}: expected text such as orders.*")
        words = [importance.value for importance in Importance]
        if self.importance not in words:
            raise ValueError(f"importance = {self.importance!r}: expected one of {', '.join(words)}")
        object.__setattr__(self, "importance", Importance(self.importance))
        # Whatever its annotation says, somebody may have given anything.
        given: object = self.rate_min
        if given is not None and (not isinstance(given, Real) or math.isnan(given)):
            raise ValueError(f"rate_min = {self.rate_min!r}: expected a number from {RATE_LEAST} to 1, or None")

    @property
    def floor(self) -> float:
        """The least rate."""
        if self.importance is Importance.CRITICAL:
            return 1.0
        return min(1.0, max(RATE_LEAST, self.importance.rate_min if self.rate_min is None else self.rate_min))


OTHERS = Rule("*")
"""For names that no rule fits."""


@dataclass(slots=True)
class _Rate:
    rule: Rule
    rate: float = 1.0
    before: float = 0.0
    """Sum of the rates of all ticks up to the last one but one; whole numbers left out."""
    sum: float = 0.0
    """The same up to the last tick, from the same whole number on."""


class Sampling:
    """The rates of all rules. Not safe from several threads."""

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        seed: bytes,
        high_mark: float = 0.8,
        low_mark: float = 0.5,
        step_secs: float = 10.0,
    ) -> None:
        """The first rule that fits a name counts. `seed`, at most 64 bytes, is to differ between nodes: with the same
        one they would all send the same metrics in the same moments.
        """
        if not 0 < low_mark < high_mark:
            raise ValueError(f"low_mark {low_mark} and high_mark {high_mark}: expected 0 < low_mark < high_mark")
        self._rates = [_Rate(rule) for rule in (*rules, OTHERS)]
        self._seed = seed
        self._high_mark = high_mark
        self._low_mark = low_mark
        self._step_secs = step_secs
        self._stepped: float | None = None
        self._known: dict[str, _Rate] = {}
        self._shed: Counter[str] = Counter()

    @property
    def rates(self) -> Mapping[str, float]:
        """The rate of each rule, by its pattern; of equal patterns the first counts."""
        return {each.rule.pattern: each.rate for each in reversed(self._rates)}

    @property
    def sheds(self) -> bool:
        """Whether some rate is below 1."""
        return any(each.rate < 1.0 for each in self._rates)

    @property
    def shed(self) -> Mapping[str, int]:
        """Points that were left out, by pattern."""
        return self._shed

    # ---- the rates

    def adjust(self, pressure: float, now: float) -> bool:
        """Moves the rates by one step if it is time; whether any moved. `pressure` is 1 when a budget is used up."""
        if self._stepped is not None and now - self._stepped < self._step_secs:
            return False
        self._stepped = now
        if pressure > self._high_mark:
            return self._move(FALL)
        if pressure < self._low_mark:
            return self._move(RISE)
        return False

    def _move(self, factor: float) -> bool:
        moved = False
        for each in self._rates:
            rate = min(1.0, max(each.rule.floor, each.rate * factor))
            moved = moved or rate != each.rate
            each.rate = rate
        return moved

    def rate(self, name: str) -> float:
        """The share of a metric's points that is kept now."""
        return self._of(name).rate

    def pattern(self, name: str) -> str:
        """The pattern of the rule that a metric comes under."""
        return self._of(name).rule.pattern

    # ---- readings

    def tick(self) -> None:
        """The next reading begins."""
        for each in self._rates:
            # Only what is behind the point counts, and so the sum never gets too large to be exact.
            each.before = each.sum % 1.0
            each.sum = each.before + each.rate

    def due(self, name: str, group: str) -> bool:
        """Whether a metric is kept in this reading. What has one rule and one group is kept, or left out, together.

        A rule's rates add up from reading to reading; a group is due whenever its own number from 0 to 1 together with
        that sum passes a whole one. So every group is due with just the probability of the rate, and the gaps of one
        differ by one reading at most.
        """
        each = self._of(name)
        if each.rate >= 1.0:
            return True
        start = self._lot(each.rule.pattern, group)
        return math.floor(each.sum + start) > math.floor(each.before + start)

    # ---- counting

    def count_shed(self, name: str, points: int = 1) -> None:
        """Points of a metric were left out."""
        self._shed[self._of(name).rule.pattern] += points

    def _of(self, name: str) -> _Rate:
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= NAMES_MAX:
                self._known.clear()
            found = next(each for each in self._rates if fnmatchcase(name, each.rule.pattern))
            self._known[name] = found
        return found

    def _lot(self, *parts: str) -> float:
        """A number from 0 to below 1 that these parts always draw, and others draw independently."""
        drawn = hashlib.blake2b("\0".join(parts).encode(), key=self._seed, digest_size=8).digest()
        # The upper 53 bits are what a float has; the division would round up to 1 otherwise.
        return (int.from_bytes(drawn) >> 11) / (_LOTS >> 11)
