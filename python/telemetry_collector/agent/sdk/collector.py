"""`MetricCollector`: what a service holds and calls."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any

from telemetry_collector.agent.sampling import Rule
from telemetry_collector.agent.sdk.aggregation import COUNTER, GAUGE, HISTOGRAM, Aggregation, Bounds
from telemetry_collector.agent.sdk.flusher import Flusher, FlusherSettings
from telemetry_collector.agent.sdk.names import check_name, check_tags
from telemetry_collector.agent.sdk.routes import AgentSocket, Route
from telemetry_collector.agent.sdk.timer import Timer
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import BOUNDS, SECONDS_BOUNDS
from telemetry_collector.clock import Clock, SystemClock

if TYPE_CHECKING:
    from telemetry_collector.sender import SenderStats

Tags = Mapping[str, Any]
"""What a point is about. Values are written as text; one that is None or empty is left out."""

DEV_VARIABLE = "TELEMETRY_COLLECTOR_DEV"
"""Set to anything but 0, a mistake in a name, tag or value raises, with what would be right."""

START_AGAIN_SECS = 1.0
"""After a failure to start a thread, the calls of so long do not try again."""

STARTING_SECS_MAX = 1.0
"""How long the end waits for somebody who is just starting to flush, which takes about a thousandth of it."""

LAST_OF_ALL = -1_000
"""The priority, among what multiprocessing's children do at their end, of what is to see all that the others record."""

DROP_REASONS_MAX = 100
"""More than there are reasons to drop a point: each is a point of its own when something was dropped."""

_NO_TAGS: Tags = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricStats:
    """What became of what was recorded in this process."""

    points_waiting: int
    """Points of the window that is not flushed yet."""
    points_sent: int
    points_stored: int
    """Points that the agent or the collector has on stable storage, as far as it said so."""
    points_pending: int
    """Points that were flushed and have no answer yet."""
    dropped: Mapping[str, int]
    """Points, and calls, that came to nothing, by reason."""
    rates: Mapping[str, float]
    """The share of flushes that a series is part of, by pattern of `sampling`; empty without, and before a point."""
    failures: int
    """How often flushing could not be begun, or broke, for want of a thread or a file say. It is tried again."""
    held: Mapping[str, int]
    """How often a series stayed in the window at a flush, by pattern. Nothing of it is lost."""


class Recorder:
    """Records under some tags. Every method may be called from any thread, coroutine or signal handler, takes about a
    microsecond, and never raises, but where the collector of metrics is `strict`.
    """

    def __init__(self, aggregation: Aggregation, tags: Tags) -> None:
        self._aggregation = aggregation
        self._tags = tags

    def increment(self, name: str, value: float = 1, tags: Tags | None = None, *, unit: str = "") -> None:
        """Adds to a counter; `value` is not below 0."""
        self._aggregation.record(COUNTER, self._tags, self, name, value, tags, unit)

    def gauge(self, name: str, value: float, tags: Tags | None = None, *, unit: str = "") -> None:
        """Sets a value as it is now; of several between two flushes the last is sent."""
        self._aggregation.record(GAUGE, self._tags, self, name, value, tags, unit)

    def histogram(self, name: str, value: float, tags: Tags | None = None, *, unit: str = "") -> None:
        """Adds one observation to a distribution."""
        self._aggregation.record(HISTOGRAM, self._tags, self, name, value, tags, unit, BOUNDS)

    def timing(self, name: str, secs: float, tags: Tags | None = None) -> None:
        """Adds a duration in seconds to a distribution."""
        self._aggregation.record(HISTOGRAM, self._tags, self, name, secs, tags, "s", SECONDS_BOUNDS)

    def start_timer(self, name: str, tags: Tags | None = None) -> Timer:
        """A timer that is running: `with metrics.start_timer("job.run"):`, or a decorator of functions, also async."""
        return Timer(lambda secs: self.timing(name, secs, tags))

    def with_tags(self, tags: Tags | None = None, /, **more: Any) -> Recorder:
        """The same collector of metrics, with further tags of every point. Keep it: its points are found quicker."""
        try:
            return Recorder(self._aggregation, {**self._tags, **(tags or {}), **more})
        except Exception as error:  # noqa: BLE001  # no mapping; the service goes on without it
            self._aggregation.mistaken(error)
            return self


class MetricCollector(Recorder):
    """A service's metrics, added up here and sent every few seconds.

    It connects when the first point is recorded, and closes, for at most `exit_secs`, when the process ends. A forked
    child starts anew, with a connection of its own and without what the parent has not sent yet.
    """

    def __init__(
        self,
        service: str | None = None,
        *,
        to: Route | None = None,
        version: str | None = None,
        tags: Tags | None = None,
        bounds: Mapping[str, Sequence[float]] | None = None,
        strict: bool | None = None,
        flush_secs: float = 10.0,
        flush_points: int = 1_000,
        series_max: int = 10_000,
        tag_sets_max: int = 10_000,
        points_max: int = 10_000,
        exit_secs: float = 2.0,
        sampling: Sequence[Rule] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`service`, `version` and `tags` are of every point; `bounds` are histograms' upper bounds, by name.

        A window is flushed after `flush_secs`, or once `flush_points` series are in it. Of `series_max` series in use,
        of `tag_sets_max` sets of tags a name and of `points_max` points without an answer there are never more.
        While the destination is behind, series are flushed less often by the first rule of `sampling` that fits.
        `strict` is on where the environment has TELEMETRY_COLLECTOR_DEV. Raises ValueError for an argument that cannot
        be used.
        """
        for argument, number in (
            ("flush_secs", flush_secs),
            ("flush_points", flush_points),
            ("series_max", series_max),
            ("tag_sets_max", tag_sets_max),
            ("points_max", points_max),
        ):
            if not _is_number(number) or not 0 < number < float("inf"):
                raise ValueError(f"{argument} = {number!r}: expected a finite number above 0")
        if not _is_number(exit_secs) or not 0 <= exit_secs < float("inf"):
            raise ValueError(f"exit_secs = {exit_secs!r}: expected a finite number, not below 0")
        # What follows would only be found out on another thread, with nobody to tell but the log.
        if to is not None and not hasattr(to, "new_sender"):
            raise ValueError(f"to = {to!r}: expected AgentSocket(path) or Collectors(addresses=...)")
        for argument, given, example in (
            ("tags", tags, "{'country': 'NL'}"),
            ("bounds", bounds, "{'basket.size': [1, 5, 20]}"),
        ):
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(f"{argument} = {given!r}: expected a mapping such as {example}")
        if sampling is not None and not isinstance(sampling, Sequence):
            raise ValueError(f"sampling = {sampling!r}: expected a list of Rule(pattern, importance)")
        for rule in sampling or ():
            if not isinstance(rule, Rule):
                raise ValueError(f"sampling: {rule!r}: expected Rule(pattern, importance)")
        standard = {"service": service, "version": version}
        self._route = to or AgentSocket()
        self._exit_secs = exit_secs
        self._settings = FlusherSettings(
            flush_secs=flush_secs,
            points_max=points_max,
            window_points_max=series_max + DROP_REASONS_MAX,
            common_tags=check_tags({**standard, **(tags or {})}),
            sampling=sampling,
        )
        self._clock = clock or SystemClock()
        self._troubles = Troubles()
        self._starting = threading.Lock()
        self._flusher: Flusher | None = None
        self._left_behind: list[object] = []
        self._start_at = float("-inf")
        self._start_failures = 0
        self._closed = False
        self._stored = False
        strict = os.environ.get(DEV_VARIABLE, "0") not in ("", "0") if strict is None else strict
        histogram_bounds = {check_name(name): _ascending(name, some) for name, some in (bounds or {}).items()}
        aggregation = Aggregation(
            Bounds(series_max, tag_sets_max, flush_points),
            histogram_bounds,
            strict=strict,
            troubles=self._troubles,
            on_growth=self._grown,
        )
        super().__init__(aggregation, _NO_TAGS)
        _collectors.add(self)

    @property
    def stats(self) -> MetricStats:
        """The counters as they stand now."""
        flusher = self._flusher
        sender: SenderStats | None = flusher.stats if flusher else None
        pacing = flusher.pacing if flusher else None
        return MetricStats(
            points_waiting=self._aggregation.points,
            points_sent=sender.points_sent if sender else 0,
            points_stored=sender.points_acknowledged if sender else 0,
            points_pending=sender.points_pending if sender else 0,
            dropped=self._troubles.counts,
            failures=self._start_failures + (flusher.failures if flusher else 0),
            rates=pacing.rates if pacing else {},
            held=pacing.held if pacing else {},
        )

    def flush(self, timeout_secs: float = 5.0) -> bool:
        """Sends what was recorded and waits for it; whether all of it is stored.

        This and `close` are the calls that wait: in a coroutine, `await asyncio.to_thread(metrics.flush)`.
        """
        if self._closed:
            return self._stored
        if self._flusher is None and self._aggregation.points:
            self._start()
        flusher = self._flusher
        return flusher.flush(timeout_secs) if flusher is not None else self._aggregation.points == 0

    def close(self, timeout_secs: float = 5.0) -> bool:
        """Sends what was recorded, waits so long for it and disconnects; whether all of it is stored. Idempotent."""
        # Not for ever, for a signal handler that closes may have interrupted just whoever has it.
        unhindered = self._starting.acquire(timeout=STARTING_SECS_MAX)
        try:
            if self._closed:
                return self._stored
            self._aggregation.close()
            _collectors.discard(self)
            if self._flusher is None and self._aggregation.points:
                self._begin()
            flusher = self._flusher
            self._closed = True
        finally:
            if unhindered:
                self._starting.release()
        points = self._aggregation.points
        if flusher is not None:
            self._stored = flusher.stop(timeout_secs)
        elif points:
            self._troubles.closed_in(points)
        else:
            self._stored = True
        return self._stored

    def __enter__(self) -> MetricCollector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grown(self, due: bool) -> None:
        if self._flusher is None and self._clock.monotonic() >= self._start_at:
            self._start()
        if due and self._flusher is not None:
            self._flusher.wake()

    def _start(self) -> None:
        """Sees to it that somebody flushes, unless somebody sees to it already."""
        if self._starting.acquire(blocking=False):
            try:
                if self._flusher is None and not self._closed:
                    self._begin()
            finally:
                self._starting.release()

    def _begin(self) -> None:
        """Starts to flush, if the system has a thread for it: else a later call tries again."""
        flusher = Flusher(self._aggregation, self._route, self._settings, troubles=self._troubles, clock=self._clock)
        try:
            flusher.start()
        except RuntimeError as error:
            self._start_failures += 1
            self._start_at = self._clock.monotonic() + START_AGAIN_SECS
            self._troubles.mention("courier", f"nothing is sent yet: {type(error).__name__}: {error}")
        else:
            self._flusher = flusher
            self._aggregation.settle()
            _flush_before_os_exit()
            if self._closed:  # by a signal handler, meanwhile
                flusher.stop(0.0)

    def _end(self) -> None:
        self.close(self._exit_secs)

    def _flush_at_the_end(self) -> None:
        if not self.flush(self._exit_secs):
            self._troubles.mention("end", f"not everything was stored within {self._exit_secs:g} s of the end")

    def _renew(self) -> None:
        """In the child of a fork: what another thread was doing with locks, the window or a connection is not ours.

        The parent's connection is neither used nor closed here, for both processes have it; its objects are kept, so
        that nothing closes it for the parent when they go.
        """
        self._left_behind.append(self._flusher)
        self._flusher = None
        self._starting = threading.Lock()
        self._start_at = float("-inf")
        self._troubles.renew()
        self._aggregation.renew()


_collectors: weakref.WeakSet[MetricCollector] = weakref.WeakSet()
_flushes_before_os_exit = False


def flush_all() -> None:
    """Flushes every collector of metrics of this process, for as long as each takes at its end: for ends that
    `atexit` may not see.
    """
    for collector in list(_collectors):
        collector._flush_at_the_end()


def _flush_before_os_exit() -> None:
    """Children of multiprocessing end by `os._exit`, once they have run what is registered here."""
    global _flushes_before_os_exit
    # Such a child has loaded them; nobody else need.
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is None or util is None or process.parent_process() is None or _flushes_before_os_exit:
        return
    _flushes_before_os_exit = True
    util.Finalize(None, flush_all, exitpriority=LAST_OF_ALL)


def _after_fork() -> None:
    global _flushes_before_os_exit
    _flushes_before_os_exit = False
    for collector in list(_collectors):
        collector._renew()


def _at_exit() -> None:
    for collector in list(_collectors):
        collector._end()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def _ascending(name: str, bounds: Sequence[float]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(bound) for bound in bounds)
    except (TypeError, ValueError):
        numbers = ()
    ascend = all(lower < upper for lower, upper in pairwise(numbers))
    if not ascend or not 0 < len(numbers) < 1_024 or not all(abs(number) < float("inf") for number in numbers):
        raise ValueError(f"bounds of {name} = {bounds!r}: expected 1 to 1,023 numbers, ascending, without infinity")
    return numbers
