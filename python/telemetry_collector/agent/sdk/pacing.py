"""How often each series is flushed, when whoever takes the points has too much to do.

A service adds up between flushes, so its load on others is series times flushes, not calls. What is not due stays in
the window and goes on being added to: nothing is lost or estimated, it is only told later, and more coarsely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from telemetry_collector.agent.budget import Budget, Usage
from telemetry_collector.agent.sampling import Rule, Sampling

if TYPE_CHECKING:
    from telemetry_collector.sender import SenderStats

HIGH_MARK, LOW_MARK = 0.8, 0.5
"""Between these shares of the collector's patience the rates stay as they are; above they fall, below they rise."""

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
        self._step_secs = STEP_SHARE * flush_secs

    @property
    def rates(self) -> Mapping[str, float]:
        """The share of flushes that a series is part of, by pattern."""
        return self._sampling.rates

    @property
    def held(self) -> Mapping[str, int]:
        """How often a series stayed in the window at a flush, by pattern."""
        return dict(self._sampling.shed)

    def turn(self, stats: SenderStats, now: float) -> None:
        """Moves the rates by what was answered since the last step; `now` in seconds of a clock that goes forward."""
        if self._stepped is not None and now - self._stepped < self._step_secs:
            return
        self._stepped = now
        usage = Usage(
            now=now,
            cpu_secs=0.0,
            memory_bytes=0,
            disk_bytes=0,
            answers=stats.answers,
            answers_put_off=stats.batches_retried,
            answers_narrow=stats.answers_narrow,
            batches_pending=stats.batches_pending,
        )
        self._sampling.adjust(self._budget.shares(usage)["collector"], now)

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
