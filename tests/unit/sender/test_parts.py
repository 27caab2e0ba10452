"""Latency histogram, backoff, numbers of the wire, points to batches."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.model import MetricType, Outcome
from telemetry_collector.sender import Point, batch_of, wire
from telemetry_collector.sender.backoff import Backoff
from telemetry_collector.sender.latency import LatencyHistogram


@given(st.lists(st.floats(2e-6, 10_000), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_off_by_less_than_two_percent(values: list[float], fraction: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(values)
    rank = max(1, -int(-fraction * len(values) // 1))
    assert histogram.quantile(fraction) == pytest.approx(ordered[rank - 1], rel=0.02)
    assert histogram.count == len(values)


def test_durations_outside_are_counted_at_the_ends() -> None:
    histogram = LatencyHistogram()
    assert histogram.quantile(0.5) == 0
    for value in (-1.0, 0.0, 1e-12):
        histogram.record(value)
    assert histogram.quantile(1) < 1e-6
    histogram.record(1e9)
    assert 10_000 < histogram.quantile(1) < 20_000


def test_waits_double_up_to_the_bound_with_jitter_and_start_over() -> None:
    backoff = Backoff(min_secs=1, max_secs=8, random=Random(7))
    waits = [backoff.next_secs() for _ in range(6)]
    for wait, span in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert span / 2 <= wait <= span
    assert len(set(waits)) == 6
    backoff.reset()
    assert backoff.next_secs() <= 1


@pytest.mark.parametrize("number", [0, 6, 99, -1])
def test_unknown_outcomes_are_retry_later(number: int) -> None:
    assert wire.outcome_of(number) is Outcome.RETRY_LATER


def test_numbers_of_later_versions_have_words_too() -> None:
    assert wire.reason_label(1) == "cardinality_limit"
    assert wire.reason_label(99) == "reason_99"
    assert wire.close_label(8) == "shutting_down"
    assert wire.close_label(99) == "close_code_99"


def test_a_batch_has_every_point() -> None:
    points = [Point("a", 1.0, MetricType.GAUGE, "1"), Point("a", 2.0, MetricType.GAUGE, "1", (("k", "v"),))]
    assert batch_of(points * 3, common_tags=(("node_id", "n"),), timestamp_unix_ns=5).points == 6
