"""Brings windows to their destination, every few seconds or when one is large.

While what was flushed before waits for its answer, the window goes on being added to: an outage costs resolution rather
than counts, and memory is bounded by the number of series, however long it takes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from telemetry_collector.agent.sampling import Rule
from telemetry_collector.agent.sdk.aggregation import Aggregation
from telemetry_collector.agent.sdk.courier import Courier, lost
from telemetry_collector.agent.sdk.names import Tags, in_batches
from telemetry_collector.agent.sdk.pacing import Pacing
from telemetry_collector.agent.sdk.routes import Route
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import Cell, HistogramCell, Window
from telemetry_collector.clock import Clock
from telemetry_collector.model import MetricType

if TYPE_CHECKING:
    from telemetry_collector.sender import Batch, Sender, SenderStats

BATCH_POINTS_MAX = 1_000
"""Points of one batch, as many as every collector takes."""

DROPPED = "sdk.points.dropped"
"""The counter of what the service tried to record in vain, by reason."""


FlushedPoint = tuple[Cell | HistogramCell, MetricType]
"""A cell, and as what it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlusherSettings:
    """How often and how much."""

    flush_secs: float
    points_max: int
    """Points that may wait for their answer; one window always goes."""
    window_points_max: int
    common_tags: Tags
    sampling: Sequence[Rule] | None = None
    """Which series are flushed less often when the destination is behind; None for none."""


class Flusher:
    """Sends what `aggregation` gathers. `start` once; every method from any thread."""

    def __init__(
        self, aggregation: Aggregation, route: Route, settings: FlusherSettings, *, troubles: Troubles, clock: Clock
    ) -> None:
        self._aggregation = aggregation
        self._settings = settings
        self._troubles = troubles
        self._clock = clock
        self._told: Mapping[str, int] = {}
        self._stopping = False
        rules, flush_secs = settings.sampling, settings.flush_secs
        self.pacing = None if rules is None else Pacing(rules, seed=os.urandom(16), flush_secs=flush_secs)
        self._courier = Courier(
            route,
            # Room for a window is looked for before it is taken, and one goes in any case: this bound is never met.
            points_max=settings.points_max + settings.window_points_max,
            troubles=troubles,
            turn_secs=settings.flush_secs,
            on_turn=self._flush_if_there_is_room,
            on_answer=self._answered,
        )

    def start(self) -> None:
        """Begins to connect and to flush."""
        self._courier.start()

    @property
    def stats(self) -> SenderStats | None:
        """The counters of the sender that there is, or was last; None before one is made."""
        return self._courier.stats

    @property
    def failures(self) -> int:
        """How often a sender could not be made, or broke."""
        return self._courier.failures

    def wake(self) -> None:
        """The window is large: flushes now."""
        self._courier.wake()

    def flush(self, timeout_secs: float) -> bool:
        """Flushes and waits for the answers; whether all that was recorded before is stored where the route leads."""
        return self._courier.attend(self._flushed, timeout_secs)

    def stop(self, timeout_secs: float) -> bool:
        """Flushes, waits so long for answers, and ends; what is left is dropped and counted. As `flush`. Idempotent."""
        self._stopping = True
        stored = self.flush(timeout_secs)
        self._courier.stop()
        if not self._courier.running:
            # It has had no last turn where there was no sender to have it with.
            self._abandon(self._aggregation.drain())
        return stored

    # ---- on the courier's thread

    def _flush_if_there_is_room(self, sender: Sender) -> None:
        pacing = self.pacing
        if pacing is not None:
            pacing.turn(sender.stats, self._clock.monotonic())
        # The last turn leaves nothing behind, for there is no next one: what is not sent then is counted.
        if self._stopping or self._has_room(sender):
            holds = None if pacing is None or self._stopping else pacing.holds()
            self._offer(self._aggregation.drain(holds), sender)

    async def _flushed(self, sender: Sender) -> bool:
        before = lost(sender.stats)
        if not self._has_room(sender):
            await sender.drained()
        whole = self._offer(self._aggregation.drain(), sender)
        await sender.drained()
        return whole and lost(sender.stats) == before

    def _has_room(self, sender: Sender) -> bool:
        stats = sender.stats
        if self.pacing is not None and self.pacing.waits(stats):
            return False
        pending = stats.points_pending
        return pending == 0 or pending + self._aggregation.points <= self._settings.points_max

    def _answered(self) -> None:
        if self.pacing is not None:
            self.pacing.answered(self._clock.monotonic())

    def _offer(self, window: Window, sender: Sender) -> bool:
        """Whether all of it could be offered."""
        from telemetry_collector.errors import EncodeError

        if self.pacing is not None:
            self.pacing.offered(sender.stats, self._clock.monotonic())
        now = self._clock.unix_ns()
        points = [point for point in _points(window) if self._is_a_double(point)]
        whole = len(points) == window.points
        points += [(cell, MetricType.COUNTER) for cell in self._drops()]
        for some in in_batches(points, lambda point: point[0].tags, BATCH_POINTS_MAX):
            try:
                sender.offer(_batch(some, self._settings.common_tags, now))
            except (EncodeError, OverflowError, TypeError, ValueError) as error:
                self._troubles.count("unencodable", len(some), f"{len(some)} points cannot be sent: {error}")
                whole = False
        return whole

    def _is_a_double(self, point: FlushedPoint) -> bool:
        """Whether its sum is one; else it is counted as dropped. A collector would refuse it."""
        cell, _ = point
        try:
            if isfinite(cell.value if isinstance(cell, Cell) else cell.sum):
                return True
        except OverflowError:
            pass  # a sum of whole numbers, which may be of any size
        self._troubles.count("overflow", 1, f"metric {cell.name}: what was added up is beyond all doubles")
        return False

    def _abandon(self, window: Window) -> None:
        if points := window.points:
            self._troubles.closed_in(points)

    def _drops(self) -> Iterator[Cell]:
        """What was dropped since the last flush, as points of its own."""
        counts = self._troubles.counts
        for reason, count in counts.items():
            if more := count - self._told.get(reason, 0):
                cell = Cell(DROPPED, (("reason", reason),), "{point}")
                cell.value = more
                yield cell
        self._told = counts


def _points(window: Window) -> Iterator[FlushedPoint]:
    for kind in (MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM):
        for cell in window.cells(kind.name.lower()):
            yield cell, kind


def _batch(points: Sequence[FlushedPoint], common_tags: Tags, unix_ns: int) -> Batch:
    from telemetry_collector.sender import Batch

    scalars = [(cell, kind) for cell, kind in points if isinstance(cell, Cell)]
    distributions = [cell for cell, _ in points if isinstance(cell, HistogramCell)]
    return Batch(
        common_tags=common_tags,
        series=[(cell.name, cell.tags, int(kind), cell.unit, kind is MetricType.COUNTER) for cell, kind in scalars],
        series_index=array("I", range(len(scalars))),
        timestamps_unix_ns=array("q", [unix_ns]) * len(scalars),
        values=array("d", (cell.value for cell, _ in scalars)),
        histograms=[
            (
                one.name,
                one.tags,
                one.unit,
                True,
                unix_ns,
                one.sum,
                one.least,
                one.greatest,
                one.bounds,
                one.counts,
            )
            for one in distributions
        ],
    )
