"""Whatever a service passes, its own work goes on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_collector.agent.sdk import AgentSocket, MetricCollector, MetricMistake, Timer


class Hostile:
    """Fails at whatever is done with it."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("no")

    __str__ = __hash__ = __eq__ = __float__ = __lt__ = __len__ = __iter__ = __bool__ = _fail


anything: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=9),
    st.builds(object),
    st.builds(Hostile),
    st.lists(st.integers(), max_size=3),
    st.complex_numbers(),
)
tags = st.one_of(anything, st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), anything, max_size=4))


@pytest.fixture
def metrics(tmp_path: Path) -> Any:
    metrics = MetricCollector("odd", to=AgentSocket(tmp_path / "nobody.sock"), strict=False)
    yield metrics
    metrics.close(0)


def test_odd_arguments_cost_a_point_and_nothing_else(metrics: MetricCollector) -> None:
    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.just("x.y"), anything), anything, tags, anything)
    def holds(name: Any, value: Any, some: Any, unit: Any) -> None:
        for recorder in (metrics, metrics.with_tags(some)):
            recorder.increment(name, value, some, unit=unit)
            recorder.gauge(name, value, some, unit=unit)
            recorder.histogram(name, value, some, unit=unit)
            recorder.timing(name, value, some)
            with recorder.start_timer(name, some) as timer:
                assert isinstance(timer, Timer)

    holds()
    assert metrics.stats.dropped
    assert not metrics.flush(0.0), "nobody is there to take it"


def test_timers_time_blocks_functions_and_coroutines_and_let_errors_through() -> None:
    timed: list[float] = []
    with Timer(timed.append):
        pass

    @Timer(timed.append)
    def twice(value: int) -> int:
        """Doubles."""
        return 2 * value

    @Timer(timed.append)
    async def waits(value: int) -> int:
        await asyncio.sleep(0)
        return value

    assert (twice(2), twice.__doc__, asyncio.run(waits(7))) == (4, "Doubles.", 7)
    assert len(timed) == 3

    @Timer(timed.append)
    def fails() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        fails()
    with pytest.raises(KeyError), Timer(timed.append):
        raise KeyError("gone")
    timer = Timer(timed.append)
    assert timer.stop() <= timer.stop()
    assert len(timed) == 7
    assert all(0 <= secs < 60 for secs in timed)


def test_generators_are_timed_from_their_first_step_to_their_end() -> None:
    timed: list[float] = []

    @Timer(timed.append)
    def counts() -> Generator[int, str, str]:
        try:
            said = yield 1
            yield len(said)
        except KeyError:
            yield -1
        return "over"

    assert inspect.isgeneratorfunction(counts)
    running = counts()
    assert (next(running), running.send("four"), len(timed)) == (1, 4, 0)
    with pytest.raises(StopIteration, match="over"):
        next(running)
    assert len(timed) == 1
    running = counts()
    assert (next(running), running.throw(KeyError)) == (1, -1)
    running.close()
    assert len(timed) == 2

    @Timer(timed.append)
    async def streams() -> AsyncGenerator[int, str]:
        try:
            said = yield 1
            await asyncio.sleep(0)
            yield len(said)
        except KeyError:
            yield -1

    async def main() -> None:
        assert inspect.isasyncgenfunction(streams)
        running = streams()
        assert (await anext(running), await running.asend("four"), len(timed)) == (1, 4, 2)
        with pytest.raises(StopAsyncIteration):
            await anext(running)
        assert len(timed) == 3
        running = streams()
        assert (await anext(running), await running.athrow(KeyError)) == (1, -1)
        await running.aclose()
        assert len(timed) == 4
        async with asynccontextmanager(streams)() as first:
            assert first == 1
            raise KeyError("the generator hears of it")

    with pytest.raises(RuntimeError, match="didn't stop"):
        asyncio.run(main())
    assert len(timed) == 5


def test_methods_of_classes_are_timed_on_either_side_of_their_kind() -> None:
    timed: list[float] = []

    class Job:
        @classmethod
        @Timer(timed.append)
        def inside(cls) -> str:
            return cls.__name__

        @Timer(timed.append)
        @classmethod
        def outside(cls) -> str:
            return cls.__name__

        @Timer(timed.append)
        @staticmethod
        async def static(value: int) -> int:
            return value

    assert (Job.inside(), Job().outside(), asyncio.run(Job.static(7))) == ("Job", "Job", 7)
    assert len(timed) == 3


class Now:
    """In place of the module `time`: it passes when it is told to."""

    def __init__(self) -> None:
        self.secs = 0.0

    def perf_counter(self) -> float:
        return self.secs


def test_a_shared_timer_times_each_task_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Now()
    monkeypatch.setattr("telemetry_collector.agent.sdk.timer.time", clock)
    timed: dict[str, float] = {}
    now: ContextVar[str] = ContextVar("now")
    shared = Timer(lambda secs: timed.update({now.get(): secs}))

    async def block(name: str, goes_on: asyncio.Event) -> None:
        now.set(name)
        with shared:
            await goes_on.wait()

    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        long = asyncio.create_task(block("long", second))
        await asyncio.sleep(0)
        clock.secs = 5.0
        short = asyncio.create_task(block("short", first))
        await asyncio.sleep(0)
        clock.secs = 7.0
        second.set()
        await long
        clock.secs = 8.0
        first.set()
        await short

    asyncio.run(main())
    assert timed == {"long": 7.0, "short": 3.0}


def test_tags_in_the_wrong_place_or_of_the_wrong_kind_are_told_as_such(tmp_path: Path) -> None:
    strict = MetricCollector(to=AgentSocket(tmp_path / "nobody.sock"), strict=True)
    with pytest.raises(MetricMistake, match=r"\{'country': 'NL'\} is not a counter's increment.*did you mean tags=\?"):
        strict.increment("a.b", {"country": "NL"})  # type: ignore[arg-type]
    with pytest.raises(MetricMistake, match=r"metric a\.b: tags are of str; expected a mapping"):
        strict.increment("a.b", 1, "NL")  # type: ignore[arg-type]


def test_development_is_told_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TELEMETRY_COLLECTOR_DEV", "1")
    strict = MetricCollector(to=AgentSocket(tmp_path / "nobody.sock"))
    with pytest.raises(MetricMistake, match="did you mean 'orders_placed'"):
        strict.increment("ordersPlaced")
    monkeypatch.setenv("TELEMETRY_COLLECTOR_DEV", "0")
    MetricCollector(to=AgentSocket(tmp_path / "nobody.sock")).increment("ordersPlaced")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"flush_secs": 0}, "flush_secs = 0"),
        ({"flush_secs": "10"}, "flush_secs = '10': expected a finite number above 0"),
        ({"points_max": 0}, "points_max = 0"),
        ({"exit_secs": None}, "exit_secs = None"),
        ({"sampling": 5}, "sampling = 5: expected a list of Rule"),
        ({"bounds": [1, 2]}, r"bounds = \[1, 2\]: expected a mapping"),
        ({"bounds": {"x": ["a"]}}, r"bounds of x = \['a'\]: expected 1 to 1,023 numbers"),
        ({"bounds": {"x": None}}, "bounds of x = None"),
        ({"tags": "country"}, "tags = 'country': expected a mapping"),
        ({"exit_secs": -1}, "exit_secs = -1"),
        ({"to": "/run/agent.sock"}, r"to = '/run/agent.sock': expected AgentSocket\(path\)"),
        ({"sampling": ["orders.*"]}, r"'orders\.\*': expected Rule\(pattern, importance\)"),
        ({"bounds": {"x": [2, 1]}}, "bounds of x"),
        ({"bounds": {"Bad": [1]}}, "did you mean 'bad'"),
        ({"tags": {"a": "x\n"}}, "tag a"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        MetricCollector(**arguments)


class Failing(logging.Handler):
    """As a service may have made its log."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError(f"no room for {record.getMessage()}")


def test_a_log_that_fails_costs_nothing_else(metrics: MetricCollector) -> None:
    log, handler = logging.getLogger("telemetry_collector.sdk"), Failing()
    log.addHandler(handler)
    try:
        metrics.increment("Bad.Name")
    finally:
        log.removeHandler(handler)
    assert metrics.stats.dropped == {"invalid_name": 1}


def test_what_is_told_is_told_seldom(metrics: MetricCollector, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        metrics.increment("Bad.Name")
    told = [record for record in caplog.records if "invalid_name" in record.getMessage()]
    assert len(told) == 1
    assert metrics.stats.dropped == {"invalid_name": 100}
