"""Brings windows to their destination, every few seconds or when one is large.

While what was flushed before waits for its answer, the window goes on being added to: an outage costs resolution rather
than counts, and memory is bounded by the number of series, however long it takes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry_collector.agent.sampling import Rule
from telemetry_collector.agent.sdk.aggregation import Aggregation
from telemetry_collector.agent.sdk.courier import Courier, lost
from telemetry_collector.agent.sdk.names import Tags
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
        )

    def start(self) -> None:
        """Begins to connect and to flush."""
        self._courier.start()

    @property
    def stats(self) -> SenderStats | None:
        """The sender's counters; None before it is made."""
        return self._courier.stats

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
        return stored

    # ---- on the courier's thread

    def _flush_if_there_is_room(self, sender: Sender) -> None:
        pacing = self.pacing
        if pacing is not None:
            pacing.turn(sender.stats, self._clock.monotonic())
        if self._has_room(sender):
            # The last turn leaves nothing behind, for there is no next one.
            holds = None if pacing is None or self._stopping else pacing.holds()
            self._offer(self._aggregation.drain(holds), sender)

    async def _flushed(self, sender: Sender) -> bool:
        before = lost(sender.stats)
        if not self._has_room(sender):
            await sender.drained()
        self._offer(self._aggregation.drain(), sender)
        await sender.drained()
        return lost(sender.stats) == before

    def _has_room(self, sender: Sender) -> bool:
        pending = sender.stats.points_pending
        return pending == 0 or pending + self._aggregation.points <= self._settings.points_max

    def _offer(self, window: Window, sender: Sender) -> None:
        for batch in self._batches(window):
            sender.offer(batch)

    def _batches(self, window: Window) -> Iterator[Batch]:
        from telemetry_collector.errors import EncodeError

        now = self._clock.unix_ns()
        points: list[tuple[Cell | HistogramCell, MetricType]] = [
            *((cell, MetricType.COUNTER) for cell in (*window.cells("counter"), *self._drops())),
            *((cell, MetricType.GAUGE) for cell in window.cells("gauge")),
            *((cell, MetricType.HISTOGRAM) for cell in window.cells("histogram")),
        ]
        for start in range(0, len(points), BATCH_POINTS_MAX):
            some = points[start : start + BATCH_POINTS_MAX]
            try:
                yield _batch(some, self._settings.common_tags, now)
            except (EncodeError, OverflowError, TypeError, ValueError) as error:
                self._troubles.count("unencodable", len(some), f"{len(some)} points cannot be sent: {error}")

    def _drops(self) -> Iterator[Cell]:
        """What was dropped since the last flush, as points of its own."""
        counts = self._troubles.counts
        for reason, count in counts.items():
            if more := count - self._told.get(reason, 0):
                cell = Cell(DROPPED, (("reason", reason),), "{point}")
                cell.value = more
                yield cell
        self._told = counts


def _batch(points: list[tuple[Cell | HistogramCell, MetricType]], common_tags: Tags, unix_ns: int) -> Batch:
    from telemetry_collector.sender import Batch

    scalars = [(cell, kind) for cell, kind in points if isinstance(cell, Cell)]
    distributions = [cell for cell, _ in points if isinstance(cell, HistogramCell)]
    return Batch(
        common_tags=common_tags,
        series=[(cell.name, cell.tags, int(kind), cell.unit, kind is MetricType.COUNTER) for cell, kind in scalars],
        series_index=array("I", range(len(scalars))),
        timestamps_unix_ns=array("q", [unix_ns]) * len(scalars),
        values=array("d", (_double(cell.value) for cell, _ in scalars)),
        histograms=[
            (
                one.name,
                one.tags,
                one.unit,
                True,
                unix_ns,
                _double(one.sum),
                one.least,
                one.greatest,
                one.bounds,
                one.counts,
            )
            for one in distributions
        ],
    )


def _double(total: float) -> float:
    """A sum of whole numbers may be beyond all doubles; its point is refused then, and no other with it."""
    try:
        return float(total)
    except OverflowError:
        return float("inf")
