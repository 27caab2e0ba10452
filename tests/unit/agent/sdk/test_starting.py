"""A service without a file or thread to spare keeps its points, and is not told that it made a mistake."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from tests.support.waiting import until

from telemetry_collector.agent.sdk import AgentSocket, Collectors, MetricCollector
from telemetry_collector.agent.sdk.collector import START_AGAIN_SECS
from telemetry_collector.clock import ManualClock
from telemetry_collector.config import Address


def exhausted(_: threading.Thread) -> None:
    """As `Thread.start` where there are as many threads as there may be."""
    raise RuntimeError("can't start new thread")


def test_what_cannot_be_started_is_tried_again_and_nobody_s_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    metrics = MetricCollector("full", to=AgentSocket(tmp_path / "nobody.sock"), strict=True, clock=clock)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", exhausted)
        for _ in range(9):
            metrics.increment("a.b")
        assert metrics.stats.failures == 1, "not at each call"
        assert not metrics.flush(0.1)
    assert metrics.stats.dropped == {}
    assert metrics.stats.points_waiting == 1
    metrics.increment("a.b")
    assert metrics.stats.failures == 2, "it is not time yet"
    clock.advance(START_AGAIN_SECS)
    metrics.increment("a.b")
    assert not metrics.close(0.0)
    # It was started, and no new series was needed.
    asyncio.run(until(lambda: metrics.stats.dropped == {"stopped": 1}))


def test_points_that_nothing_was_started_for_are_counted_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", exhausted)
    metrics = MetricCollector("full", to=AgentSocket(tmp_path / "nobody.sock"), strict=True)
    metrics.increment("a.b")
    assert not metrics.close(0.1)
    assert metrics.stats.dropped == {"not_started": 1}


def test_what_was_recorded_while_there_was_no_room_is_counted_at_the_end(tmp_path: Path) -> None:
    metrics = MetricCollector("slow", to=AgentSocket(tmp_path / "nobody.sock"), points_max=1, flush_secs=0.01)
    metrics.increment("a.b")
    asyncio.run(until(lambda: metrics.stats.points_pending == 1))
    for name in ("c.d", "e.f", "g.h"):
        metrics.increment(name)
    assert not metrics.close(0.0)
    assert not metrics.close(0.0), "to ask again changes nothing"
    assert not metrics.flush(0.0)
    asyncio.run(until(lambda: metrics.stats.dropped == {"stopped": 4}))
    assert metrics.stats.points_waiting == 0


def test_a_signal_handler_may_close_whoever_is_just_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry_collector.agent.sdk.collector.STARTING_SECS_MAX", 0.01)
    metrics = MetricCollector("brief", to=AgentSocket(tmp_path / "nobody.sock"))
    start, started = threading.Thread.start, list[threading.Thread]()

    def noted(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", noted)
        assert not metrics.close(0.0)
        noted(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    metrics.increment("a.b")
    for thread in started:
        thread.join(10)
    assert [thread.is_alive() for thread in started] == [False, False]
    assert set(metrics.stats.dropped) == {"stopped"}


@pytest.mark.parametrize("address", ["h:1", "collector-a.example.org:5001", "[::1]:5001", "10.0.0.1:65535"])
def test_an_address_that_is_one_is_taken(address: str) -> None:
    Collectors(addresses=address, cert_path="c", key_path="k", ca_path="a")
    assert str(Address.parse(address)) == address


@pytest.mark.parametrize(
    "address", ["", "h", "h:", ":1", "::1:1", "h:x", "h:0", "h:65536", "a b:1", "u@h:1", "h:\u0661"]
)
@pytest.mark.parametrize("several", [False, True])
def test_an_address_that_is_none_is_told_at_the_start(address: str, several: bool) -> None:
    addresses = ["h:1", address] if several else address
    with pytest.raises(ValueError, match="expected host:port"):
        Collectors(addresses=addresses, cert_path="c", key_path="k", ca_path="a")


def test_no_address_at_all_is_told_at_the_start() -> None:
    with pytest.raises(ValueError, match="one host:port at least"):
        Collectors(addresses=[], cert_path="c", key_path="k", ca_path="a")


def test_one_name_may_have_as_many_sets_of_tags_as_there_may_be_series(tmp_path: Path) -> None:
    metrics = MetricCollector("wide", to=AgentSocket(tmp_path / "nobody.sock"), flush_points=100_000)
    for number in range(10_001):
        metrics.increment("a.b", tags={"shard": str(number)})
    assert metrics.stats.dropped == {"series": 1}
    metrics.close(0.0)


@pytest.mark.parametrize("secs", [0.0, float("inf"), float("nan")])
def test_windows_end(secs: float) -> None:
    with pytest.raises(ValueError, match="flush_secs"):
        MetricCollector("slow", flush_secs=secs)
