"""A thread of its own that brings windows to their destination, every few seconds or when one is large.

While what was flushed before waits for its answer, the window goes on being added to: an outage costs resolution rather
than counts, and memory is bounded by the number of series, however long it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from array import array
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from telemetry_collector.agent.sdk.aggregation import Aggregation
from telemetry_collector.agent.sdk.routes import Route
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import Cell, HistogramCell, Window
from telemetry_collector.clock import Clock
from telemetry_collector.model import MetricType

if TYPE_CHECKING:
    from telemetry_collector.sender import Batch, Sender, SenderStats
    from telemetry_collector.sender.events import SenderEvent

P = ParamSpec("P")
T = TypeVar("T")

BATCH_POINTS_MAX = 1_000
"""Points of one batch, as many as every collector takes."""

ATTENDED_SECS = 0.1
"""How much longer than asked for a flush or the end may take, so that what it found out gets through."""

DROPPED = "sdk.points.dropped"
"""The counter of what the service tried to record in vain, by reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlusherSettings:
    """How often and how much."""

    flush_secs: float
    points_max: int
    """Points that may wait for their answer; one window always goes."""
    common_tags: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Running:
    """What belongs to one run of the thread."""

    loop: asyncio.AbstractEventLoop
    made: asyncio.Event = field(default_factory=asyncio.Event)
    """There is a sender."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """The window is large."""
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    sender: Sender | None = None
    drain_secs: float = 0.0


class Flusher:
    """Sends what `aggregation` gathers. `start` once; the other methods from any thread."""

    def __init__(
        self, aggregation: Aggregation, route: Route, settings: FlusherSettings, *, troubles: Troubles, clock: Clock
    ) -> None:
        self._aggregation = aggregation
        self._route = route
        self._settings = settings
        self._troubles = troubles
        self._clock = clock
        self._told: Mapping[str, int] = {}
        loop = asyncio.new_event_loop()
        # Whatever blocks, the resolver above all, blocks this thread alone; it needs no other, which at the
        # interpreter's end could not be begun any more.
        loop.set_default_executor(_Here())
        self._running = _Running(loop)
        self._thread = threading.Thread(target=self._run, name="metrics-flusher", daemon=True)

    def start(self) -> None:
        """Begins to connect and to flush."""
        self._thread.start()

    @property
    def stats(self) -> SenderStats | None:
        """The sender's counters; None before it is made."""
        sender = self._running.sender
        return None if sender is None else sender.stats

    def wake(self) -> None:
        """The window is large: flushes now."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._running.loop.call_soon_threadsafe(self._running.ready.set)

    def flush(self, timeout_secs: float) -> bool:
        """Flushes and waits for the answers; whether all that was recorded before is stored where the route leads."""
        return self._attend(self._flushed(), timeout_secs)

    def stop(self, timeout_secs: float) -> bool:
        """Flushes, waits so long for answers, and ends; what is left is dropped and counted. As `flush`. Idempotent."""
        stored = self._attend(self._flushed(), timeout_secs)
        with contextlib.suppress(RuntimeError):
            self._running.loop.call_soon_threadsafe(self._running.ending.set)
        self._thread.join(timeout_secs + ATTENDED_SECS if stored else ATTENDED_SECS)
        return stored

    def _attend(self, work: Coroutine[Any, Any, bool], timeout_secs: float) -> bool:
        if not self._thread.is_alive() or threading.current_thread() is self._thread:
            work.close()
            return False
        try:
            waited = asyncio.run_coroutine_threadsafe(_within(work, timeout_secs), self._running.loop)
        except RuntimeError:  # it has just ended
            work.close()
            return False
        try:
            return waited.result(timeout_secs + ATTENDED_SECS)
        except (FutureTimeoutError, asyncio.CancelledError):
            return False

    # ---- on the thread

    def _run(self) -> None:
        loop = self._running.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001  # a thread of ours must not print into the service's output
            self._troubles.mention("flusher", f"nothing is sent any more: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(Exception):
                _cancel_all(loop)
            loop.close()

    async def _serve(self) -> None:
        running = self._running
        sender = self._route.new_sender(points_max=self._settings.points_max, on_event=self._happened)
        await sender.start()
        running.sender = sender
        running.made.set()
        breaking = asyncio.create_task(sender.wait())
        ending = asyncio.create_task(running.ending.wait())
        try:
            while not (ending.done() or breaking.done()):
                ready = asyncio.create_task(running.ready.wait())
                await asyncio.wait(
                    {ready, ending, breaking}, timeout=self._settings.flush_secs, return_when=asyncio.FIRST_COMPLETED
                )
                ready.cancel()
                running.ready.clear()
                self._flush_if_there_is_room(sender)
            if breaking.done():
                breaking.result()
        finally:
            breaking.cancel()
            self._offer(sender)
            await sender.stop(running.drain_secs)

    def _flush_if_there_is_room(self, sender: Sender) -> None:
        pending = sender.stats.points_pending
        if pending == 0 or pending + self._aggregation.points <= self._settings.points_max:
            self._offer(sender)

    async def _flushed(self) -> bool:
        await self._running.made.wait()
        sender = self._running.sender
        assert sender is not None, "it was just said to be made"
        lost = _lost(sender.stats)
        for batch in self._batches(self._aggregation.drain()):
            await sender.put(batch)
        await sender.drained()
        return _lost(sender.stats) == lost

    def _offer(self, sender: Sender) -> None:
        for batch in self._batches(self._aggregation.drain()):
            sender.offer(batch)

    def _batches(self, window: Window) -> Iterator[Batch]:
        from telemetry_collector.errors import EncodeError

        now = self._clock.unix_ns()
        scalars = [(cell, MetricType.COUNTER) for cell in (*window.cells("counter"), *self._drops())]
        scalars += [(cell, MetricType.GAUGE) for cell in window.cells("gauge")]
        points: list[tuple[Cell | HistogramCell, MetricType]] = [
            *scalars,
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

    def _happened(self, event: SenderEvent) -> None:
        from telemetry_collector.sender import events

        match event:
            case events.ConnectFailed() | events.Disconnected():
                self._troubles.mention("route", f"{self._route}: {event.reason}; what is recorded waits")
            case events.Refused():
                self._troubles.count(f"refused_{event.reason}", event.points, f"points were refused: {event.example}")
            case events.Dropped():
                text = f"points were given up before {self._route} had them"
                self._troubles.count(event.reason, event.points, text)
            case _:
                pass


class _Here(ThreadPoolExecutor):
    """Does at once, on the thread that asks, what it is given."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # who waits for the future is told
            future.set_exception(error)
        return future


async def _within(work: Coroutine[Any, Any, bool], timeout_secs: float) -> bool:
    try:
        async with asyncio.timeout(timeout_secs):
            return await work
    except TimeoutError:
        return False


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _lost(stats: SenderStats) -> int:
    return stats.points_refused + stats.points_dropped


def _batch(
    points: list[tuple[Cell | HistogramCell, MetricType]], common_tags: tuple[tuple[str, str], ...], unix_ns: int
) -> Batch:
    from telemetry_collector.sender import Batch

    scalars = [(cell, kind) for cell, kind in points if isinstance(cell, Cell)]
    return Batch(
        common_tags=common_tags,
        series=[(cell.name, cell.tags, int(kind), cell.unit, kind is MetricType.COUNTER) for cell, kind in scalars],
        series_index=array("I", range(len(scalars))),
        timestamps_unix_ns=array("q", [unix_ns]) * len(scalars),
        values=array("d", (cell.value for cell, _ in scalars)),
        histograms=[
            (
                cell.name,
                cell.tags,
                cell.unit,
                True,
                unix_ns,
                cell.sum,
                cell.least,
                cell.greatest,
                cell.bounds,
                cell.counts,
            )
            for cell, _ in points
            if isinstance(cell, HistogramCell)
        ],
    )
