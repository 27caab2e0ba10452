"""What is called is what is drained: exactly, whoever calls and whenever it is drained."""

from __future__ import annotations

import signal
import sys
import threading
from array import array
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_collector.agent.sdk import aggregation
from telemetry_collector.agent.sdk.aggregation import COUNTER, GAUGE, HISTOGRAM, Aggregation, Bounds
from telemetry_collector.agent.sdk.names import MetricMistake
from telemetry_collector.agent.sdk.troubles import Troubles
from telemetry_collector.agent.sdk.window import IDLE_WINDOWS, Cell, HistogramCell, Window

NO_TAGS: dict[str, Any] = {}


class Recording:
    """An aggregation and what it said."""

    def __init__(self, *, series: int = 10_000, tag_sets: int = 1_000, flush_points: int = 1_000, strict: bool = False):
        self.troubles = Troubles()
        self.growth: list[bool] = []
        self.of = Aggregation(
            Bounds(series, tag_sets, flush_points),
            {"own.bounds": (1.0, 2.0)},
            strict=strict,
            troubles=self.troubles,
            on_growth=self.growth.append,
        )
        self.of.settle()

    def increment(self, name: Any, value: Any = 1, **tags: Any) -> None:
        self.of.record(COUNTER, NO_TAGS, self, name, value, tags, "")

    def gauge(self, name: Any, value: Any, **tags: Any) -> None:
        self.of.record(GAUGE, NO_TAGS, self, name, value, tags, "")

    def histogram(self, name: Any, value: Any, **tags: Any) -> None:
        self.of.record(HISTOGRAM, NO_TAGS, self, name, value, tags, "", (10.0, 20.0))


def sums(window: Window) -> Counter[tuple[str, Any]]:
    found: Counter[tuple[str, Any]] = Counter()
    for cell in window.cells("counter"):
        assert isinstance(cell, Cell)
        found[cell.name, cell.tags] += cell.value  # type: ignore[assignment]
    return found


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns after a few instructions rather than after 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


calls = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1_000)), max_size=60)


@pytest.mark.usefixtures("quick_switches")
def test_sums_are_exact_over_any_interleaving_of_threads_and_flushes() -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(calls, min_size=2, max_size=5), st.integers(0, 12))
    def holds(threads: list[list[tuple[str, int]]], drains: int) -> None:
        recording = Recording()
        begin = threading.Barrier(len(threads) + 1)

        def call(some: list[tuple[str, int]]) -> None:
            begin.wait()
            for name, value in some:
                recording.increment(f"x.{name}", value)
                recording.histogram(f"h.{name}", value, of="all")

        started = [threading.Thread(target=call, args=(some,)) for some in threads]
        for thread in started:
            thread.start()
        begin.wait()
        windows = [recording.of.drain() for _ in range(drains)]
        for thread in started:
            thread.join()
        windows.append(recording.of.drain())
        expected: Counter[tuple[str, Any]] = Counter()
        observed: Counter[str] = Counter()
        for name, value in (one for some in threads for one in some):
            expected[f"x.{name}", ()] += value
            observed[f"h.{name}"] += 1
        total = sum((sums(window) for window in windows), Counter())
        assert total == +expected
        cells = [cell for window in windows for cell in window.cells("histogram")]
        counted: Counter[str] = Counter()
        for cell in cells:
            assert isinstance(cell, HistogramCell)
            counted[cell.name] += sum(cell.counts)
        assert counted == observed
        assert sum(cell.sum for cell in cells if isinstance(cell, HistogramCell)) == sum(expected.values())
        assert recording.troubles.counts == {}

    holds()


class Unwaited:
    """A lock that may be tried and not waited for."""

    def __init__(self) -> None:
        self.held = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        assert not blocking or not self.held.locked(), "a call waited"
        return self.held.acquire(blocking, timeout)

    def release(self) -> None:
        self.held.release()


def test_more_calls_than_may_wait_are_dropped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "WAITING_MAX", 3)
    recording = Recording()
    lock = Unwaited()
    monkeypatch.setattr(recording.of, "_lock", lock)
    with lock.held:
        for _ in range(8):
            recording.increment("x")
        assert recording.troubles.counts == {"contended": 5}
    recording.increment("x", 10)
    assert sums(recording.of.drain()) == {("x", ()): 13}


class Crowded(Unwaited):
    """A lock whose holder releases it when it gets a turn."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking and timeout == aggregation.YIELD_SECS:
            self.held.release()
        return self.held.acquire(blocking=False)


def test_in_a_crowd_a_call_lets_whoever_has_the_lock_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "CROWDED", 3)
    recording = Recording()
    lock = Crowded()
    monkeypatch.setattr(recording.of, "_lock", lock)
    lock.held.acquire()
    for waiting in range(1, 4):
        recording.increment("x")
        assert len(recording.of._waiting) == waiting
    recording.increment("x")
    assert not recording.of._waiting
    assert not lock.held.locked()
    assert sums(recording.of.drain()) == {("x", ()): 4}


def test_threads_that_do_nothing_else_lose_no_call() -> None:
    recording = Recording()

    def call() -> None:
        for _ in range(100_000):
            recording.increment("x")

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recording.troubles.counts == {}
    assert sums(recording.of.drain()) == {("x", ()): 300_000}


def test_a_call_from_inside_a_call_is_counted() -> None:
    recording = Recording()

    class Chatty:
        def __str__(self) -> str:
            recording.increment("inner")
            return "said"

    recording.increment("outer", tag=Chatty())
    assert sums(recording.of.drain()) == {("outer", (("tag", "said"),)): 1, ("inner", ()): 1}


@pytest.mark.usefixtures("quick_switches")
def test_a_signal_handler_may_record() -> None:
    recording, handled = Recording(), Counter[str]()

    def handler(*_: object) -> None:
        handled["signals"] += 1
        recording.increment("x")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    called = 0
    try:
        while handled["signals"] < 50:
            recording.increment("x")
            called += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sums(recording.of.drain()) == {("x", ()): called + handled["signals"]}


class TimeIsUp(Exception):
    """As a time limit is told."""


class Limited:
    """A number, or a tag's value, in whose making the time is up."""

    def __float__(self) -> float:
        signal.raise_signal(signal.SIGALRM)
        return 1.0

    def __str__(self) -> str:
        return str(float(self))

    def handle(self, *_: object) -> None:
        raise TimeIsUp


@pytest.mark.parametrize("bound", [False, True])
def test_what_a_signal_handler_raises_reaches_the_service(bound: bool) -> None:
    def handle(*_: object) -> None:
        raise TimeIsUp

    recording, limited = Recording(), Limited()
    before = signal.signal(signal.SIGALRM, limited.handle if bound else handle)
    try:
        with pytest.raises(TimeIsUp):
            recording.increment("x", limited)
        with recording.of._lock:
            recording.increment("x", 10, tag=limited)
        with pytest.raises(TimeIsUp):
            recording.increment("x", 100)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert recording.troubles.counts == {}
    assert sums(recording.of.drain()) == {("x", ()): 100}, "the call itself had been counted"


def test_what_found_the_lock_taken_is_applied_by_who_has_it_next() -> None:
    recording = Recording()
    recording.increment("x")
    with recording.of._lock:
        recording.increment("x", 10)
        recording.increment("Bad")
    assert (len(recording.of._waiting), recording.troubles.counts) == (2, {})
    recording.increment("x", 100)
    assert (len(recording.of._waiting), recording.troubles.counts) == (0, {"invalid_name": 1})
    assert sums(recording.of.drain()) == {("x", ()): 111}


def test_a_lock_that_an_interrupt_left_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "DRAIN_SECS", 0.01)
    recording = Recording()
    recording.of._lock.acquire()
    recording.increment("x")
    assert sums(recording.of.drain()) == {("x", ()): 1}
    recording.increment("x")
    assert sums(recording.of.drain()) == {("x", ()): 1}


def test_a_gauge_is_its_last_value_and_a_histogram_its_buckets() -> None:
    recording = Recording()
    for value in (5, -2.5, 10, 10.5, 25):
        recording.gauge("level", value)
        recording.histogram("size", value)
        recording.histogram("own.bounds", value)
    window = recording.of.drain()
    (level,) = window.cells("gauge")
    assert isinstance(level, Cell)
    assert level.value == 25
    size, own = window.cells("histogram")
    assert isinstance(size, HistogramCell)
    assert isinstance(own, HistogramCell)
    assert (size.bounds, size.counts) == ((10.0, 20.0), [3, 1, 1])
    assert (size.sum, size.least, size.greatest) == (48, -2.5, 25)
    assert (own.bounds, own.counts) == ((1.0, 2.0), [1, 0, 4])
    assert recording.of.drain().points == 0


def test_the_order_of_tags_does_not_matter_and_their_texts_do() -> None:
    recording = Recording()
    recording.increment("x", a="1", b="2")
    recording.increment("x", b="2", a="1")
    recording.increment("x", a=1, b="2")
    recording.increment("x", a=True, b=[2])
    recording.increment("x", a=True, b=[2])
    assert sums(recording.of.drain()) == {
        ("x", (("a", "1"), ("b", "2"))): 3,
        ("x", (("a", "True"), ("b", "[2]"))): 2,
    }


def test_tag_sets_of_a_name_are_bounded_and_others_are_free() -> None:
    recording = Recording(tag_sets=3)
    for user in range(10):
        recording.increment("x", user=user)
    recording.increment("y", user=9)
    assert recording.of.drain().points == 4
    assert recording.troubles.counts == {"tag_sets": 7}
    recording.increment("x", user=0)
    recording.increment("x", user=3)
    assert sums(recording.of.drain()) == {("x", (("user", "0"),)): 1}, "what is known goes on, over windows"


def test_series_are_bounded_in_all_and_come_free_when_unused() -> None:
    recording = Recording(series=3)
    for place in range(5):
        recording.increment(f"x{place}")
    assert recording.of.drain().points == 3
    assert recording.troubles.counts == {"series": 2}
    for _ in range(2 * IDLE_WINDOWS):
        recording.increment("x0")
        recording.of.drain()
    recording.increment("x4")
    assert recording.of.drain().points == 1


def test_a_large_window_asks_to_be_flushed() -> None:
    recording = Recording(flush_points=3)
    for place in range(4):
        recording.increment(f"x{place}")
        recording.increment(f"x{place}")
    assert recording.growth == [False, False, True, True]


def test_after_the_end_points_are_dropped_and_counted() -> None:
    recording = Recording(strict=True)
    recording.of.close()
    recording.increment("x")
    assert recording.of.drain().points == 0
    assert recording.troubles.counts == {"closed": 1}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Bad", 1, "invalid_name"),
        ("x", -1, "invalid_value"),
        ("x", float("nan"), "invalid_value"),
        ("x", float("inf"), "invalid_value"),
        ("x", 10**400, "invalid_value"),
        pytest.param("x", 10**5_000, "invalid_value", id="more digits than Python writes"),
        ("x", Fraction(10**400), "invalid_value"),
        ("x", Decimal("1e400"), "invalid_value"),
        ("x", Decimal("sNaN"), "invalid_value"),
        ("x", "many", "invalid_value"),
        ("x", None, "invalid_value"),
        ("x", 1j, "invalid_value"),
    ],
)
def test_a_mistake_is_counted_and_raised_in_development_only(name: str, value: Any, reason: str) -> None:
    quiet, strict = Recording(), Recording(strict=True)
    quiet.increment(name, value)
    with pytest.raises(MetricMistake, match="expected") as raised:
        strict.increment(name, value)
    assert len(str(raised.value)) < 250, "it can be read"
    assert quiet.troubles.counts == strict.troubles.counts == {reason: 1}


class Reading:
    """As NumPy's scalars, whose class is none of Python's."""

    def __float__(self) -> float:
        return 0.25


@pytest.mark.parametrize("value", [Decimal("0.25"), Fraction(1, 4), Reading()])
def test_whatever_calls_itself_a_number_is_one(value: Any) -> None:
    recording = Recording(strict=True)
    for _ in range(2):
        recording.increment("a.b", value)
        recording.increment("a.b", True)
    assert sums(recording.of.drain()) == {("a.b", ()): 2.5}


@pytest.mark.parametrize("rest", [1.5, 10**308, 1e308])
def test_a_sum_beyond_all_doubles_is_nobody_s_mistake(rest: float) -> None:
    recording = Recording(strict=True)
    for value in (10**308, 10**308, rest, 1.5):
        recording.increment("a.b", value)
        recording.histogram("c.d", value)
    window = recording.of.drain()
    (counter, histogram) = (*window.cells("counter"), *window.cells("histogram"))
    assert isinstance(counter, Cell)
    assert isinstance(histogram, HistogramCell)
    for total in (counter.value, histogram.sum):
        with pytest.raises(OverflowError):
            array("q", [int(total)])
    assert (sum(histogram.counts), histogram.least) == (4, 1.5)


def test_a_name_of_several_kinds_is_several_series() -> None:
    recording = Recording(series=2)
    recording.increment("x")
    recording.gauge("x", 1)
    recording.histogram("x", 1)
    assert recording.of.drain().points == 2
    assert recording.troubles.counts == {"series": 1}


def test_until_somebody_drains_each_call_asks_for_it() -> None:
    recording = Recording()
    recording.of.renew()
    for _ in range(3):
        recording.increment("x")
        recording.histogram("y", 1)
    assert len(recording.growth) == 6
    recording.of.settle()
    for _ in range(3):
        recording.increment("x")
        recording.histogram("y", 1)
    assert len(recording.growth) == 6
    assert sums(recording.of.drain()) == {("x", ()): 6}


@pytest.mark.parametrize("text", ["7", b"7", bytearray(b"7")])
def test_text_is_no_number_even_where_it_could_be_read_as_one(text: Any) -> None:
    recording = Recording()
    recording.increment("a.b", text)
    assert recording.of.points == 0
    assert recording.troubles.counts == {"invalid_value": 1}


def put_off(recording: Recording, name: str, value: float = 1) -> None:
    """As from a thread that finds the lock taken."""
    recording.of._lock.acquire()
    recording.increment(name, value)
    recording.of._lock.release()


def test_a_series_of_a_call_that_was_put_off_is_growth_too() -> None:
    recording = Recording()
    recording.increment("a.b")
    put_off(recording, "c.d")
    recording.increment("a.b")
    assert recording.growth == [False, False]


def test_a_refused_call_applies_those_that_were_put_off_all_the_same() -> None:
    recording = Recording()
    put_off(recording, "a.b")
    recording.increment("Not A Name")
    assert recording.of.points == 1
    assert recording.growth == [False]


def test_mistakes_of_calls_that_were_put_off_are_told_without_the_lock() -> None:
    recording = Recording()
    told_with_lock: list[bool] = []
    count = recording.troubles.count

    def watched(reason: str, amount: int, text: str) -> None:
        told_with_lock.append(recording.of._lock.locked())
        count(reason, amount, text)

    recording.troubles.count = watched  # type: ignore[method-assign]
    for apply in (lambda: recording.increment("a.b"), recording.of.drain, recording.of.close):
        put_off(recording, "Not A Name")
        apply()
    assert told_with_lock == [False, False, False]
