"""Against a collector with a quota, the rates settle at what it takes, and every count arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from telemetry_collector.agent.sampling import Rule
from telemetry_collector.agent.sdk import AgentSocket, flusher
from telemetry_collector.agent.sdk.aggregation import COUNTER, Aggregation, Bounds
from telemetry_collector.agent.sdk.flusher import Flusher, FlusherSettings
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.clock import ManualClock
from telemetry_collector.model import Outcome
from telemetry_collector.sender.events import Answered
from telemetry_collector.sender.stats import SenderStats, Tally

FLUSH_SECS = 10
NAMES, SERIES_OF_NAME = 250, 2
POINTS_PER_SEC = NAMES * SERIES_OF_NAME / FLUSH_SECS
BURST_SECS = 4.0
WAIT_SECS = (0.25, 60.0)
PER_BATCH = 50
ANSWERED = Answered(epoch=1, sequence=1, outcome=Outcome.STORED, accepted_points=PER_BATCH)


class Sender:
    """A queue before a collector that takes so many points a second, and tells when there will be room."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._tally = Tally()
        self._waiting: list[tuple[int, float]] = []
        self._paused_until = 0.0
        self._points_per_sec = POINTS_PER_SEC
        self._room = 0.0
        self.on_answer: Callable[[], None] = lambda: None
        self.offered = 0
        self.stored = 0.0

    def allow(self, points_per_sec: float) -> None:
        self._points_per_sec = points_per_sec

    @property
    def stats(self) -> SenderStats:
        points = sum(points for points, _ in self._waiting)
        return self._tally.snapshot(points_pending=points, batches_pending=len(self._waiting), connected_to=None)

    def offer(self, batch: Any) -> None:
        self.offered += batch.points
        self._waiting.append((batch.points, batch.total))

    def pass_second(self) -> None:
        burst = BURST_SECS * self._points_per_sec
        self._room = min(burst, self._room + self._points_per_sec)
        self._clock.advance(1)
        while self._waiting and self._clock.monotonic() >= self._paused_until:
            points, total = self._waiting[0]
            self._tally.answers += 1
            missing = min(points, burst) - self._room
            if missing > 0:
                self._tally.batches_retried += 1
                least, most = WAIT_SECS
                wait = min(max(missing / self._points_per_sec, least), most)
                self._paused_until = self._clock.monotonic() + wait
                return
            del self._waiting[0]
            self._room -= points
            self.stored += total
            self.on_answer()


def batch(points: Sequence[Any], *_: object) -> Any:
    return SimpleNamespace(points=len(points), total=sum(cell.value for cell, _ in points))


class Service:
    """Counts every series once a flush."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flusher, "_batch", batch)
        monkeypatch.setattr(flusher, "BATCH_POINTS_MAX", PER_BATCH)
        monkeypatch.setattr(os, "urandom", bytes)
        self.clock = ManualClock()
        self.sender = Sender(self.clock)
        self.counted = 0
        troubles = Troubles()
        self.aggregation = Aggregation(
            Bounds(10_000, 10_000, 10_000), {}, strict=True, troubles=troubles, on_growth=lambda _: None
        )
        self.aggregation.settle()
        settings = FlusherSettings(
            flush_secs=FLUSH_SECS,
            points_max=10_000,
            window_points_max=10_000,
            common_tags=(),
            sampling=[Rule("*", rate_min=0.001)],
        )
        self.flusher = Flusher(self.aggregation, AgentSocket(), settings, troubles=troubles, clock=self.clock)
        # As the real one tells it, so that what is between the two is tried as well.
        self.sender.on_answer = lambda: self.flusher._courier._happened(ANSWERED)

    def flushes(self, count: int) -> list[float]:
        """The rate after each."""
        rates = []
        for _ in range(count):
            for number in range(NAMES):
                for place in range(SERIES_OF_NAME):
                    tags: dict[str, Any] = {"place": str(place)}
                    name = f"calls.of{number}"
                    self.aggregation.record(COUNTER, tags, self, name, 1, tags, "", ())
                    self.counted += 1
            self.flusher._flush_if_there_is_room(cast("Any", self.sender))
            for _ in range(FLUSH_SECS):
                self.sender.pass_second()
            pacing = self.flusher.pacing
            assert pacing is not None
            rates.append(pacing.rates["*"])
        return rates


@pytest.mark.parametrize("quota", [0.9, 0.5, 0.1, 0.01])
def test_rates_settle_at_the_quota_rise_when_it_is_lifted_and_cost_no_counts(
    monkeypatch: pytest.MonkeyPatch, quota: float
) -> None:
    service = Service(monkeypatch)
    service.sender.allow(quota * POINTS_PER_SEC)
    falling = service.flushes(30 + round(1.5 / quota))
    before = service.sender.offered
    settled = service.flushes(60)
    assert falling[-1] < 1.0
    # A hundredth of the series is a handful of names, which do not come in equal numbers.
    spread = 1.4 if quota > 0.01 else 2.5
    assert quota / spread <= min(settled) <= max(settled) <= quota * spread
    taken = (service.sender.offered - before) / 60 / (NAMES * SERIES_OF_NAME)
    assert taken == pytest.approx(quota, rel=0.2), "as much is sent as is taken"
    service.sender.allow(10 * POINTS_PER_SEC)
    recovering = service.flushes(60)
    assert recovering[-1] == 1.0
    service.flusher._stopping = True
    service.flusher._flush_if_there_is_room(cast("Any", service.sender))
    for _ in range(FLUSH_SECS):
        service.sender.pass_second()
    assert service.sender.stored == service.counted
