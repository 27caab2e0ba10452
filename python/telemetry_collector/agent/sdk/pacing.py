"""How often each series is flushed, when whoever takes the points has too much to do.

A service adds up between flushes, so its load on others is series times flushes, not calls. What is not due stays in
the window and goes on being added to: nothing is lost or estimated, it is only told later, and more coarsely.

How far the rates are to fall is told by time: a window that was put off, and was taken only after three times the time
between two flushes, was three times too large. While it waits nothing else is flushed, for that would make the next
answers late news: the rates would go on falling for what was sent at rates that are long gone.
docs/decisions/0043-one-window-that-was-put-off.md says more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from telemetry_collector.agent.budget import Budget, Usage
from telemetry_collector.agent.sampling import FALL, RISE, Rule, Sampling

if TYPE_CHECKING:
    from telemetry_collector.sender import SenderStats

HIGH_MARK, LOW_MARK = 0.8, 0.5
"""Between these the rates stay as they are; above they fall, below they rise. They are shares of the time between two
flushes, which a window takes that was put off, and of the collector's patience."""

STEP_SHARE = 0.9
"""Rates move once in so much of the time between flushes, so that a turn that is a little early still counts."""


class Pacing:
    """The rates of one connection. `turn` and `holds` on its thread; what is only read, from any."""

    def __init__(self, rules: Sequence[Rule], *, seed: bytes, flush_secs: float) -> None:
        """`seed` is to differ between processes, for they would all flush the same series in the same moments."""
        self._sampling = Sampling(
            rules, seed=seed, high_mark=HIGH_MARK, low_mark=LOW_MARK, step_secs=STEP_SHARE * flush_secs
        )
        self._budget = Budget(
            cpu_percent=None, memory_bytes=None, disk_bytes=None, patience_held=(LOW_MARK + HIGH_MARK) / 2
        )
        self._stepped: float | None = None
        self._flush_secs = flush_secs
        self._step_secs = STEP_SHARE * flush_secs
        self._offered: float | None = None
        """When the last window was flushed."""
        self._answered = 0.0
        self._put_off_before = 0
        self._moved = 1.0
        """What its rates have been multiplied with since."""

    @property
    def rates(self) -> Mapping[str, float]:
        """The share of flushes that a series is part of, by pattern."""
        return self._sampling.rates

    @property
    def held(self) -> Mapping[str, int]:
        """How often a series stayed in the window at a flush, by pattern."""
        return dict(self._sampling.shed)

    def offered(self, stats: SenderStats, now: float) -> None:
        """A window is flushed, which `stats` do not know of yet."""
        self._offered, self._put_off_before, self._moved = now, stats.batches_retried, 1.0

    def answered(self, now: float) -> None:
        """A batch got its final answer."""
        self._answered = now

    def waits(self, stats: SenderStats) -> bool:
        """Whether what was flushed has been put off and is not taken yet: nothing is flushed beside it."""
        return stats.batches_pending > 0 and stats.batches_retried > self._put_off_before

    def turn(self, stats: SenderStats, now: float) -> None:
        """Moves the rates by what was answered since the last step; `now` in seconds of a clock that goes forward."""
        if self._stepped is not None and now - self._stepped < self._step_secs:
            return
        self._stepped = now
        before = self._sampling.rates
        if self._sampling.adjust(max(self._share_taken(stats, now), self._impatience(stats, now)), now):
            fell = any(rate < before[pattern] for pattern, rate in self._sampling.rates.items())
            self._moved *= FALL if fell else RISE

    def _share_taken(self, stats: SenderStats, now: float) -> float:
        """Of the time between two flushes, what the last window would take at the rates of now; 0 if not put off."""
        if self._offered is None or stats.batches_retried == self._put_off_before:
            return 0.0
        taken = (now if stats.batches_pending else self._answered) - self._offered
        return max(0.0, taken) / self._flush_secs * self._moved

    def _impatience(self, stats: SenderStats, now: float) -> float:
        """The share of the patience of a collector that takes what comes, and is behind all the same."""
        usage = Usage(
            now=now,
            cpu_secs=0.0,
            memory_bytes=0,
            disk_bytes=0,
            answers=stats.answers - stats.batches_retried,
            answers_put_off=0,
            answers_narrow=stats.answers_narrow,
            batches_pending=stats.batches_pending,
        )
        return self._budget.shares(usage)["collector"]

    def holds(self) -> Callable[[str], bool] | None:
        """A flush begins: tells of a metric's name whether its series stay; None when all go."""
        self._sampling.tick()
        if not self._sampling.sheds:
            return None
        # Asked once a name, not once a series: calls are put off while this is found out.
        decided: dict[str, bool] = {}

        def hold(name: str) -> bool:
            held = decided.get(name)
            if held is None:
                held = decided[name] = not self._sampling.due(name, name)
            if held:
                self._sampling.count_shed(name)
            return held

        return hold
