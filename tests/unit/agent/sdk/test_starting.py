"""A service without a file or thread to spare keeps its points, and is not told that it made a mistake."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from telemetry_collector.agent.sdk import AgentSocket, MetricCollector


def exhausted(_: threading.Thread) -> None:
    """As `Thread.start` where there are as many threads as there may be."""
    raise RuntimeError("can't start new thread")


def test_what_cannot_be_started_is_tried_again_and_nobody_s_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = MetricCollector("full", to=AgentSocket(tmp_path / "nobody.sock"), strict=True)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", exhausted)
        metrics.increment("a.b")
        assert not metrics.flush(0.1)
    assert metrics.stats.dropped == {}
    assert metrics.stats.points_waiting == 1
    metrics.increment("c.d")
    assert metrics._flusher is not None
    metrics.close(0.0)


def test_points_that_nothing_was_started_for_are_counted_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", exhausted)
    metrics = MetricCollector("full", to=AgentSocket(tmp_path / "nobody.sock"), strict=True)
    metrics.increment("a.b")
    assert not metrics.close(0.1)
    assert metrics.stats.dropped == {"not_started": 1}


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
