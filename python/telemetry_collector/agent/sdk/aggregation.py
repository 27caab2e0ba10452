"""Where calls of all threads meet: a window behind a lock that hardly anybody waits for.

Who finds the lock taken leaves the call in a queue, and whoever has the lock applies it: so a call does not wait for
another thread, and one from a signal handler, or from code that the garbage collector runs, not for itself. Only where
the queue is half full already, for the interpreter has taken its turn from whoever has the lock, does a call give up
its own, for a millisecond at most.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from telemetry_collector.agent.sdk.interrupts import is_an_interrupt
from telemetry_collector.agent.sdk.names import MetricMistake
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import ALIASES_MAX, Census, Window

COUNTER: Final = 0
GAUGE: Final = 1
HISTOGRAM: Final = 2

WAITING_MAX = 10_000
"""Calls that may wait for whoever has the lock. Further ones are dropped as `contended`.

A thread that does nothing else makes as many in one of the interpreter's turns of 5 ms.
"""

CROWDED = WAITING_MAX // 2
"""When so many wait, a call gives up its turn, so that whoever has the lock gets one."""

YIELD_SECS = 0.001
"""For so long at most; less than the interpreter lets others wait for their turns anyway."""

CATCH_UP_MAX = 64
"""Calls of others that one call applies beside its own, so that none takes long."""

DRAIN_SECS = 1.0
"""After so long a lock was left by an interrupt at the wrong instruction, and belongs to nobody."""

_MAX: Final = sys.float_info.max
_LOWEST: Final = (0.0, -_MAX, -_MAX)
_KINDS: Final = ("a counter's increment", "a gauge's value", "an observation")


Call = tuple[int, Any, Mapping[str, Any], float, Any, tuple[float, ...]]
"""What was called: kind, alias, the view's tags, value, unit and a histogram's bounds. The alias is what stands for
those tags, the name, and then each tag of the call alone. A plain tuple, for there may be many.
"""


class Bounds(NamedTuple):
    """What is held at most."""

    series: int
    tag_sets: int
    flush_points: int


class CaughtUp(NamedTuple):
    """What became of calls that were put off."""

    grown: bool
    mistakes: list[MetricMistake]


class Aggregation:
    """Counts what is called until it is drained. Every method from any thread; none raises but where `strict`."""

    def __init__(
        self,
        bounds: Bounds,
        histogram_bounds: Mapping[str, tuple[float, ...]],
        *,
        strict: bool,
        troubles: Troubles,
        on_growth: Callable[[bool], None],
    ) -> None:
        """`on_growth` is called when a series was new in its window, and told whether it is time to flush. Until
        `settle` it is called each time, for nobody drains yet.
        """
        self._bounds = bounds
        self._histogram_bounds = histogram_bounds
        self._strict = strict
        self._troubles = troubles
        self._on_growth = on_growth
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Forgets everything: for the child of a fork, whose parent still has it."""
        self._lock = threading.Lock()
        self._settled = False
        self._waiting: deque[Call] = deque()
        self._census = Census(series_max=self._bounds.series, tag_sets_max=self._bounds.tag_sets)
        self._window = self._new_window()

    def record(
        self,
        kind: int,
        view: Mapping[str, Any],
        place: object,
        name: Any,
        value: Any,
        tags: Mapping[str, Any] | None,
        unit: Any,
        bounds: tuple[float, ...] = (),
    ) -> None:
        """Counts one call. `place` is an object that stands for the tags of `view`, which `tags` are added to."""
        try:
            if type(value) is not int and type(value) is not float:
                value = _number(kind, name, value)
            if not _LOWEST[kind] <= value <= _MAX:
                raise MetricMistake(
                    "invalid_value", f"metric {_name(name)}: {_shown(value)} is not {_KINDS[kind]}; {_EXPECTED[kind]}"
                )
            alias = (place, name, *tags.items()) if tags else (place, name)
            lock = self._lock
            if lock.acquire(False) or (len(self._waiting) >= CROWDED and lock.acquire(timeout=YIELD_SECS)):
                grown, late = False, None
                try:
                    try:
                        grown = self._apply(kind, alias, view, value, unit, bounds)
                    finally:
                        if self._waiting:
                            late = self._catch_up(CATCH_UP_MAX)
                finally:
                    lock.release()
                    if late is not None:
                        self._tell(late)
                if grown:
                    self._grow()
            else:
                self._put_off((kind, alias, view, value, unit, bounds))
        except MetricMistake as mistake:
            self._refused(mistake)
        except Exception as error:  # noqa: BLE001  # whatever a service passes, its own work goes on
            about = f"metric {_name(name)}: "
            if tags is not None and not hasattr(type(tags), "items"):
                about += f"tags are of {type(tags).__name__}; expected a mapping such as {{'country': 'NL'}}: "
            self.mistaken(error, about)

    def mistaken(self, error: Exception, about: str = "") -> None:
        """Counts arguments of the wrong kind. Raises MetricMistake where `strict`, and what is a signal handler's."""
        if is_an_interrupt(error):
            raise error
        self._refused(MetricMistake("invalid_argument", f"{about}{type(error).__name__}: {_name(error)}"))

    def drain(self, holds: Callable[[str], bool] | None = None) -> Window:
        """What was recorded since the last time, but for the series of names that `holds` says are to stay."""
        lock = self._take_lock()
        try:
            late = self._catch_up(len(self._waiting))
            window, self._window = self._window, self._new_window()
            if holds is not None:
                window.hold(holds, self._window)
            self._census.turn()
        finally:
            lock.release()
        # What they made to grow has just been taken.
        self._tell(CaughtUp(False, late.mistakes))
        return window

    def settle(self) -> None:
        """Somebody drains from now on. Waits for nobody: a window that comes between the two knows of it already."""
        self._settled = True
        self._window.remember(self._aliases_max)

    def close(self) -> None:
        """From now on, what is recorded is dropped and counted; what was recorded before is not."""
        lock = self._take_lock()
        try:
            late = self._catch_up(len(self._waiting))
            self._closed = True
        finally:
            lock.release()
        self._tell(late)

    @property
    def points(self) -> int:
        """Points that a flush would make now."""
        return self._window.points

    def _apply(
        self, kind: int, alias: Any, view: Mapping[str, Any], value: float, unit: Any, bounds: tuple[float, ...]
    ) -> bool:
        """Adds to a cell; whether the window has grown. With the lock."""
        window = self._window
        if kind == HISTOGRAM:
            histogram = _find(window.histograms, alias)
            if histogram is not None:
                histogram.add(value)
                return False
            self._check_open()
            before = window.points
            window.histogram(alias, alias[1], {**view, **dict(alias[2:])}, unit, bounds).add(value)
            return window.points > before or not self._settled
        cell = _find(window.counters if kind == COUNTER else window.gauges, alias)
        grown = False
        if cell is None:
            self._check_open()
            before = window.points
            find = window.counter if kind == COUNTER else window.gauge
            cell = find(alias, alias[1], {**view, **dict(alias[2:])}, unit)
            grown = window.points > before or not self._settled
        if kind == COUNTER:
            try:
                cell.value += value
            except OverflowError:  # a sum of whole numbers beyond all doubles, and a fraction
                cell.value = float("inf")
        else:
            cell.value = value
        return grown

    def _check_open(self) -> None:
        if self._closed:
            raise MetricMistake("closed", "a point was recorded after the collector of metrics was closed")

    def _put_off(self, call: Call) -> None:
        if len(self._waiting) >= WAITING_MAX:
            raise MetricMistake("contended", f"{WAITING_MAX} calls wait to be counted already")
        self._waiting.append(call)

    def _catch_up(self, calls_max: int) -> CaughtUp:
        """Applies calls that found the lock taken. With the lock; `_tell` what it returns without."""
        grown = False
        mistakes: list[MetricMistake] = []
        for _ in range(calls_max):
            try:
                call = self._waiting.popleft()
            except IndexError:
                break
            try:
                grown = self._apply(*call) or grown
            except MetricMistake as mistake:
                mistakes.append(mistake)
            except Exception as error:  # somebody else's argument
                if is_an_interrupt(error):
                    raise
                text = f"metric {_name(call[1][1])}: {type(error).__name__}: {_name(error)}"
                mistakes.append(MetricMistake("invalid_argument", text))
        return CaughtUp(grown, mistakes)

    def _tell(self, late: CaughtUp) -> None:
        """Tells what became of others' calls. Without the lock, for a log may block."""
        for mistake in late.mistakes:
            self._count(mistake)
        if late.grown:
            self._grow()

    def _grow(self) -> None:
        window = self._window
        self._on_growth(window.points - window.held >= self._bounds.flush_points)

    def _take_lock(self) -> threading.Lock:
        lock = self._lock
        if not lock.acquire(timeout=DRAIN_SECS):
            lock = self._lock = threading.Lock()
            lock.acquire()
        return lock

    def _new_window(self) -> Window:
        window = Window(self._census, self._histogram_bounds)
        if self._settled:
            window.remember(self._aliases_max)
        return window

    @property
    def _aliases_max(self) -> int:
        return ALIASES_MAX * self._bounds.series

    def _refused(self, mistake: MetricMistake) -> None:
        self._count(mistake)
        if self._strict and mistake.reason.startswith("invalid"):
            raise mistake

    def _count(self, mistake: MetricMistake) -> None:
        self._troubles.count(mistake.reason, 1, str(mistake))


_EXPECTED = ("expected a finite number, not below 0", "expected a finite number", "expected a finite number")


def _find(cells: Mapping[object, Any], alias: object) -> Any:
    try:
        return cells.get(alias)
    except TypeError:
        return None  # a tag's value that cannot be looked up has a text all the same


def _number(kind: int, name: object, value: Any) -> float:
    """What calls itself a number: a bool, a Decimal or Fraction, what NumPy has."""
    if isinstance(value, str | bytes | bytearray):
        raise MetricMistake("invalid_value", f"metric {_name(name)}: {_shown(value)} is text; {_EXPECTED[kind]}")
    try:
        return float(value)
    except (ArithmeticError, TypeError, ValueError) as error:
        text = f"metric {_name(name)}: {_shown(value)} is not {_KINDS[kind]}; {_EXPECTED[kind]}"
        if hasattr(type(value), "items"):
            text += "; did you mean tags=?"
        raise MetricMistake("invalid_value", text) from error


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) > _MAX:
        return f"a whole number of {value.bit_length()} bits"  # its digits are many, or cannot be had
    return repr(value[:80] if isinstance(value, str | bytes) else value)[:80]


def _name(name: object) -> str:
    try:
        return str(name)[:80]
    except Exception:  # noqa: BLE001  # the text of something that has none
        return type(name).__name__
