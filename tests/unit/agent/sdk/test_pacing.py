"""When the destination is behind, less important series are flushed less often, and nothing of them is lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from telemetry_collector.agent.sampling import Importance, Rule
from telemetry_collector.agent.sdk.aggregation import COUNTER, GAUGE, HISTOGRAM, Aggregation, Bounds
from telemetry_collector.agent.sdk.pacing import Pacing
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import Cell, HistogramCell
from telemetry_collector.sender.stats import SenderStats, Tally

FLUSH_SECS = 10.0
RULES = (
    Rule("orders.*", Importance.CRITICAL),
    Rule("api.*", Importance.HIGH),
    Rule("debug.*", Importance.LOW),
)


class Service:
    """Ten seconds a turn, without waiting for them."""

    def __init__(self, flush_points: int = 1_000) -> None:
        self.tally = Tally()
        self.pacing = Pacing(RULES, seed=b"fixed", flush_secs=FLUSH_SECS)
        self.growth: list[bool] = []
        self.of = Aggregation(
            Bounds(10_000, 10_000, flush_points),
            {},
            strict=True,
            troubles=Troubles(),
            on_growth=self.growth.append,
        )
        self.of.settle()
        self.now = 0.0

    def record(self, kind: int, name: str, value: float) -> None:
        tags: dict[str, Any] = {}
        self.of.record(kind, tags, self, name, value, tags, "", (10.0, 20.0))

    @property
    def stats(self) -> SenderStats:
        return self.tally.snapshot(points_pending=0, batches_pending=0, connected_to=None)

    def turn(self, *, taken_secs: float) -> None:
        """A window is flushed and taken: at once, or after so long, since it was put off."""
        self.pacing.offered(self.stats, self.now)
        self.tally.answers += 2
        self.tally.batches_retried += taken_secs > 0
        self.pacing.answered(self.now + taken_secs)
        self.now += FLUSH_SECS
        self.pacing.turn(self.stats, self.now)

    def press(self) -> None:
        for _ in range(60):
            self.turn(taken_secs=9.0)


def test_rates_fall_by_a_tenth_a_flush_to_their_floor_and_rise_by_a_tenth_to_one() -> None:
    service = Service()
    service.turn(taken_secs=0.0)
    for step in range(1, 4):
        service.turn(taken_secs=9.0)
        assert service.pacing.rates["debug.*"] == pytest.approx(0.9**step)
    service.press()
    assert service.pacing.rates == pytest.approx({"orders.*": 1.0, "api.*": 0.5, "debug.*": 0.01, "*": 0.1})
    service.turn(taken_secs=6.0)
    assert service.pacing.rates["api.*"] == 0.5, "between the marks"
    service.turn(taken_secs=4.0)
    assert service.pacing.rates == pytest.approx({"orders.*": 1.0, "api.*": 0.55, "debug.*": 0.011, "*": 0.11})
    for _ in range(60):
        service.turn(taken_secs=0.0)
    assert set(service.pacing.rates.values()) == {1.0}
    assert service.pacing.holds() is None


def test_turns_of_full_windows_move_the_rates_no_quicker() -> None:
    service = Service()
    service.turn(taken_secs=0.0)
    service.turn(taken_secs=9.0)
    for _ in range(20):
        service.tally.answers += 1
        service.tally.batches_retried += 1
        service.pacing.turn(service.stats, service.now + 1.0)
    assert service.pacing.rates["debug.*"] == pytest.approx(0.9)


def test_what_is_held_back_arrives_exactly_and_what_is_critical_at_once() -> None:
    service = Service()
    service.press()
    sums: Counter[str] = Counter()
    flushes: Counter[str] = Counter()
    gauge = 0.0
    for turn in range(1, 201):
        for name in ("orders.placed", "api.calls", "debug.calls", "other.calls"):
            service.record(COUNTER, name, 3)
        service.record(GAUGE, "other.depth", turn)
        service.record(HISTOGRAM, "debug.size", 15.0)
        last = turn == 200
        window = service.of.drain(None if last else service.pacing.holds())
        for cell in (*window.cells("counter"), *window.cells("gauge"), *window.cells("histogram")):
            flushes[cell.name] += 1
            if isinstance(cell, HistogramCell):
                sums[cell.name] += cell.counts[1]
            elif cell.name == "other.depth":
                gauge = cell.value
            else:
                assert isinstance(cell, Cell)
                sums[cell.name] += int(cell.value)
    assert sums == {
        "orders.placed": 600, "api.calls": 600, "debug.calls": 600, "other.calls": 600, "debug.size": 200
    }  # fmt: skip
    assert gauge == 200
    assert flushes["orders.placed"] == 200
    assert 99 <= flushes["api.calls"] <= 101
    assert 20 <= flushes["other.calls"] <= 22
    assert 2 <= flushes["debug.calls"] <= 4
    assert service.pacing.held["api.*"] == 200 - flushes["api.calls"]
    assert "orders.*" not in service.pacing.held


def test_series_that_stay_do_not_make_their_window_full() -> None:
    service = Service(flush_points=3)
    service.press()
    for number in range(3):
        service.record(COUNTER, f"debug.calls{number}", 1)
    assert service.growth == [False, False, True]
    service.of.drain(lambda _: True)
    service.record(COUNTER, "orders.placed", 1)
    assert service.growth[3:] == [False]
    assert service.of.points == 4


def test_a_window_that_waits_long_costs_no_more_than_it_was_too_large_by() -> None:
    service = Service()
    service.turn(taken_secs=0.0)
    service.pacing.offered(service.stats, service.now)
    service.tally.batches_retried += 1
    for _ in range(20):
        service.now += FLUSH_SECS
        waiting = service.tally.snapshot(points_pending=1, batches_pending=1, connected_to=None)
        service.pacing.turn(waiting, service.now)
        assert service.pacing.waits(waiting)
    # At a twenty-fifth of its size it would have been taken in four fifths of the time.
    service.pacing.answered(service.now)
    for _ in range(40):
        service.pacing.turn(service.stats, service.now)
        service.now += FLUSH_SECS
    assert 0.04 / 1.2 <= service.pacing.rates["debug.*"] <= 0.04 * 1.2
    assert not service.pacing.waits(service.stats)


def test_a_collector_that_takes_all_and_is_behind_is_spared_too() -> None:
    service = Service()
    service.turn(taken_secs=0.0)
    service.tally.answers_narrow += 2
    service.turn(taken_secs=0.0)
    assert service.pacing.rates["debug.*"] == pytest.approx(0.9)
