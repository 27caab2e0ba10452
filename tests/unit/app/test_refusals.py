"""Whatever is refused is logged: at once when it begins, then once in a while, and nothing is left untold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from telemetry_collector.app.refusals import INTERVAL_SECS, OFFENDERS_TOLD_MAX, Refusals
from telemetry_collector.clock import ManualClock

Lines = list[MutableMapping[str, Any]]


class Counts:
    """The core's counters, set by the test."""

    def __init__(self) -> None:
        self.malformed = 0
        self.refused = {"cardinality_limit": 0, "invalid_name": 0}
        self.retries = {"journal_full": 0, "quota_points": 0}
        self.over_series = 0
        self.worst: list[tuple[str, str, int]] = []
        self.worst_over_quota: list[tuple[str, str, int]] = []

    def stats(self) -> Mapping[str, Any]:
        return {
            "batches_malformed": self.malformed,
            "quota_series_refused": self.over_series,
            "points_refused": dict(self.refused),
            "retries_asked": dict(self.retries),
        }

    def offenders(self) -> list[tuple[str, str, int]]:
        return self.worst

    def quota_offenders(self) -> list[tuple[str, str, int]]:
        return self.worst_over_quota


class Stand:
    def __init__(self) -> None:
        self.counts, self.clock = Counts(), ManualClock()
        self.refusals = Refusals(self.counts, self.clock)

    def look_after(self, secs: float) -> None:
        self.clock.advance(secs)
        self.refusals.look()


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as captured:
        yield captured


def test_nothing_refused_is_nothing_told(stand: Stand, lines: Lines) -> None:
    stand.refusals.look()
    stand.look_after(INTERVAL_SECS)
    stand.refusals.finish()
    assert lines == []


def test_the_first_is_told_at_once_with_its_reason(stand: Stand, lines: Lines) -> None:
    stand.counts.refused["invalid_name"] = 7
    stand.counts.malformed = 2
    stand.counts.retries["journal_full"] = 3
    stand.refusals.look()
    assert lines == [
        {"event": "batches_malformed", "log_level": "warning", "batches": 2},
        {"event": "points_refused", "log_level": "warning", "reason": "invalid_name", "points": 7},
        {"event": "retries_asked", "log_level": "warning", "cause": "journal_full", "batches": 3},
    ]


def test_later_ones_are_told_once_an_interval_with_how_many(stand: Stand, lines: Lines) -> None:
    for _ in range(10):
        stand.counts.refused["invalid_name"] += 1
        stand.look_after(INTERVAL_SECS / 10)
    assert [line["points"] for line in lines] == [1]
    stand.counts.refused["invalid_name"] += 1
    stand.look_after(INTERVAL_SECS / 10)
    assert [line["points"] for line in lines] == [1, 10]


def test_the_last_word_tells_the_rest(stand: Stand, lines: Lines) -> None:
    stand.counts.refused["invalid_name"] = 1
    stand.refusals.look()
    stand.counts.refused["invalid_name"] = 5
    stand.refusals.finish()
    assert [line["points"] for line in lines] == [1, 4]


def test_the_worst_offenders_against_the_cardinality_limit_are_named(stand: Stand, lines: Lines) -> None:
    stand.counts.refused["cardinality_limit"] = 100
    stand.counts.worst = [(f"spiffe://fleet/node/{place}", "m", 50 - place) for place in range(20)]
    stand.refusals.look()
    (line,) = lines
    assert (line["event"], line["points"]) == ("cardinality_limit_exceeded", 100)
    assert len(line["worst_offenders"]) == OFFENDERS_TOLD_MAX
    assert line["worst_offenders"][0] == {"identity": "spiffe://fleet/node/0", "metric": "m", "points_refused": 50}


def test_who_is_over_a_quota_is_named_for_that_quota(stand: Stand, lines: Lines) -> None:
    stand.counts.retries["quota_points"] = 7
    stand.counts.over_series = 3
    stand.counts.worst_over_quota = [("a", "quota_points", 6), ("b", "quota_series", 3), ("c", "quota_points", 1)]
    stand.refusals.look()
    told = {line["quota"]: line for line in lines if line["event"] == "quota_exceeded"}
    assert told["quota_points"]["batches"] == 7
    assert [one["identity"] for one in told["quota_points"]["worst_offenders"]] == ["a", "c"]
    assert told["quota_series"]["points"] == 3
    assert told["quota_series"]["worst_offenders"] == [{"identity": "b", "amount": 3}]
