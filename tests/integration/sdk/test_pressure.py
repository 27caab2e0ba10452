"""A real collector that puts a service off has it flush less often, and gets every count all the same."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from tests.integration.sdk.conftest import Site

from telemetry_collector.agent.sampling import FALL, RISE, Sampling
from telemetry_collector.agent.sdk import Importance, MetricCollector, Rule
from telemetry_collector.agent.sdk.pacing import HIGH_MARK, LOW_MARK

SERIES = {"orders.placed": 2, "debug.calls": 40, "other.calls": 40}
RULES = [Rule("orders.*", Importance.CRITICAL), Rule("debug.*", Importance.LOW)]
PATTERNS = {"orders.*": Importance.CRITICAL, "debug.*": Importance.LOW, "*": Importance.NORMAL}


class Step(NamedTuple):
    """What the rates were before and after, and the share of the collector's patience that was used up."""

    pressure: float
    before: dict[str, float]
    after: dict[str, float]


def test_answers_of_a_real_quota_drive_the_rates_and_cost_no_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Step] = []
    adjust = Sampling.adjust

    def watched(sampling: Sampling, pressure: float, now: float) -> bool:
        before = dict(sampling.rates)
        moved = adjust(sampling, pressure, now)
        steps.append(Step(pressure, before, dict(sampling.rates)))
        return moved

    monkeypatch.setattr(Sampling, "adjust", watched)
    # Some 4,000 points a second would come, of which four seconds' worth of the quota pass at once.
    collector = site.collector(quotas={"default": {"points_per_sec": 1_000}})
    recorded = dict.fromkeys(SERIES, 0)

    def moved(way: float) -> bool:
        return any((step.after["debug.*"] - step.before["debug.*"]) * way > 0 for step in steps)

    def put_off() -> bool:
        for name, series in SERIES.items():
            recorded[name] += series
            for place in range(series):
                metrics.increment(name, 1, {"place": str(place)})
        return moved(-1) and metrics.stats.held.get("debug.*", 0) > 0

    with MetricCollector(to=site.straight(collector.listen_addr), sampling=RULES, flush_secs=0.02) as metrics:
        site.until(put_off)
        site.until(lambda: moved(1))
        held = metrics.stats.held
        assert metrics.flush(20), metrics.stats
        assert (metrics.stats.dropped, metrics.stats.points_pending) == ({}, 0)
    assert "orders.*" not in held
    for step in steps:
        factor = FALL if step.pressure > HIGH_MARK else RISE if step.pressure < LOW_MARK else 1.0
        for pattern, importance in PATTERNS.items():
            rate = min(1.0, max(importance.rate_min, step.before[pattern] * factor))
            assert step.after[pattern] == rate, step
    rows = site.rows("name, sum(value), count(*)", "NOT starts_with(name, 'sdk.') AND service IS NULL GROUP BY name")
    stored = {name: total for name, total, _ in rows if name in recorded}
    assert stored == recorded
    flushes = {name: count / SERIES[name] for name, _, count in rows if name in recorded}
    assert flushes["debug.calls"] < flushes["orders.placed"]
