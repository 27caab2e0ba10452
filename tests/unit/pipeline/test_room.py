"""How long the journal's room lasts at the present rate, and when what it keeps is too old to be silent about."""

from __future__ import annotations

import math
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.delivery import Stand

from telemetry_collector.clock import ManualClock
from telemetry_collector.pipeline.fanout import FanOut
from telemetry_collector.pipeline.room import JournalRoom, Rate

MIB = 1 << 20


class Site:
    """A journal of 100 MiB on a disk with as much room as is set, looked at once a second."""

    def __init__(self, max_age_secs: float | None = None) -> None:
        self.clock = ManualClock()
        self.stand = Stand(clock=self.clock)
        self.fanout = FanOut([self.stand.consumer])
        self.free_bytes = 1 << 40
        self.stats: dict[str, Any] = {
            "journal_bytes": 0,
            "journal_bytes_max": 100 * MIB,
            "journal_bytes_committed": 0,
            "points_committed": 0,
        }
        self.room = JournalRoom(
            lambda: self.stats, lambda: self.free_bytes, max_age_secs, self.clock, segment_bytes=MIB
        )

    def run(self, seconds: int, bytes_per_sec: int = 0, points_per_sec: int = 0) -> list[Any]:
        """So much time passes; what was logged."""
        with capture_logs() as logs:
            for _ in range(seconds):
                self.clock.advance(1)
                self.stats["journal_bytes_committed"] += bytes_per_sec
                self.stats["journal_bytes"] += bytes_per_sec
                self.stats["points_committed"] += points_per_sec
                self.room.look(self.fanout)
        return logs

    def metric(self, name: str) -> float:
        values = {family.name: family.samples[0].value for family in self.room.collect()}
        return values[f"telemetry_collector_journal_{name}"]


def test_room_is_what_the_bound_leaves_or_the_disk_if_that_is_less() -> None:
    site = Site()
    site.run(10, bytes_per_sec=MIB)
    assert site.metric("room_bytes") == 90 * MIB
    assert site.metric("outage_covered_seconds") == pytest.approx(90, rel=0.01)
    site.free_bytes = 30 * MIB
    site.run(1)
    assert site.metric("room_bytes") == 30 * MIB
    assert site.metric("outage_covered_seconds") == pytest.approx(30, rel=0.15)
    site.stats["journal_bytes"] = 200 * MIB
    site.run(1)
    assert site.metric("outage_covered_seconds") == 0


def test_a_disk_without_room_for_a_segment_is_told_of_now_and_again() -> None:
    site = Site()
    site.free_bytes = MIB
    assert site.run(10) == []
    site.free_bytes = MIB - 1
    told = site.run(901)
    assert [line["event"] for line in told] == ["journal_disk_nearly_full"] * 2
    assert (told[0]["free_bytes"], told[0]["segment_bytes"]) == (MIB - 1, MIB)


def test_where_nothing_comes_in_any_outage_is_covered() -> None:
    site = Site()
    assert site.metric("outage_covered_seconds") == math.inf
    site.run(10)
    assert site.metric("outage_covered_seconds") == math.inf
    assert site.room.report() == {
        "room_bytes": 100 * MIB,
        "outage_covered_secs": None,
        "unwritten_age_secs": 0.0,
    }
    site.run(60, bytes_per_sec=1000)
    assert site.room.report()["outage_covered_secs"] > 0
    site.run(3600)
    assert site.metric("outage_covered_seconds") == math.inf


def test_a_rate_is_right_from_the_second_reading_and_follows_a_change() -> None:
    rate = Rate(60)
    assert rate.per_sec == 0
    total = 0.0
    for second in range(600):
        rate.read(total, second)
        if second:
            assert rate.per_sec == pytest.approx(50)
        total += 50
    for second in range(600, 900):
        rate.read(total, second)
        total += 500
    assert rate.per_sec == pytest.approx(500, rel=0.02)


def test_points_a_second_are_known_to_who_has_to_keep_up_with_them() -> None:
    site = Site()
    site.run(120, points_per_sec=700)
    assert site.room.points_per_sec == pytest.approx(700)


def test_what_is_too_old_is_told_once_and_then_every_quarter_of_an_hour_and_never_dropped() -> None:
    site = Site(max_age_secs=100)
    site.stand.cursor.commit()
    assert site.run(100) == []
    (line,) = site.run(800)
    assert (line["event"], line["log_level"], line["writer"]) == ("journal_data_old", "warning", "fake")
    assert line["age_secs"] == 101
    assert line["max_age_secs"] == 100
    assert len(site.run(1_000)) == 1
    assert site.metric("unwritten_age_seconds") == 1_900
    assert (site.stand.cursor.lag_points, site.stand.events.told) == (1, [])
    site.stand.cursor.store(100)
    assert site.run(1_000) == []
    assert site.metric("unwritten_age_seconds") == 0


def test_no_age_is_too_old_where_none_is_set() -> None:
    site = Site(max_age_secs=None)
    site.stand.cursor.commit()
    assert site.run(10_000) == []
