"""The reference data set, against a literal reading of its description."""

from __future__ import annotations

import statistics
from collections import Counter

import pytest

from telemetry_collector.bench.reference import NAMES, Fleet, Readings

START_MS = 1_700_000_000_000


def tags_of(readings: Readings, point: int) -> dict[str, str]:
    return dict(readings.definitions[readings.places[point]][1])


def test_a_batch_of_a_hundred_series_is_ten_readings_the_oldest_first() -> None:
    readings = Fleet(1_000, 100, 1_000, START_MS).readings(7)
    assert len(readings.values) == len(readings.places) == len(readings.timestamps_ms) == 1_000
    assert list(readings.timestamps_ms) == [START_MS + 1_000 * (point // 100) for point in range(1_000)]
    assert list(readings.places) == list(range(100)) * 10


def test_batch_b_is_of_node_b_mod_agents_and_goes_on_where_the_one_before_ended() -> None:
    fleet = Fleet(1_000, 100, 1_000, START_MS)
    assert {tags_of(fleet.readings(2_007), point)["node_id"] for point in range(1_000)} == {"node-00007"}
    assert fleet.readings(2_007).timestamps_ms[0] == START_MS + 2 * 10 * 1_000


def test_twenty_names_of_five_services_each_with_five_tags() -> None:
    for node in (0, 5, 999):
        readings = Fleet(1_000, 100, 1_000, START_MS).readings(node)
        for place, (name, tags, *_) in enumerate(readings.definitions):
            service = place % 5
            region = node % 4
            assert name == NAMES[place // 5]
            assert dict(tags) == {
                "node_id": f"node-{node:05}",
                "region": f"region-{region}",
                "zone": f"region-{region}-{'abc'[node % 3]}",
                "service": f"service-{service}",
                "version": f"1.{service}.0",
            }
    assert len(set(NAMES)) == 20


def test_values_have_three_decimals_and_lie_about_the_base_of_their_series() -> None:
    node = 42
    values = Fleet(1_000, 100, 100_000, START_MS).readings(node).values
    assert all(round(value, 3) == value for value in values)
    for place in range(100):
        base = (37 * (100 * node + place) % 97) + 1
        own = [value / base for value in values[place::100]]
        assert statistics.mean(own) == pytest.approx(1, abs=0.01)
        assert statistics.stdev(own) == pytest.approx(0.05, rel=0.2)


def test_the_same_batch_is_the_same_each_time_and_another_is_another() -> None:
    first, again = (Fleet(10, 100, 1_000, START_MS).readings(3) for _ in range(2))
    assert first == again
    assert first.values != Fleet(10, 100, 1_000, START_MS).readings(13).values


@pytest.mark.parametrize(("series", "batch_points"), [(1, 10), (7, 20), (30, 1_000), (250, 100), (3_000, 1_000)])
def test_any_number_of_series_is_read_whole_and_in_order(series: int, batch_points: int) -> None:
    fleet = Fleet(3, series, batch_points, START_MS)
    batches = -(-2 * series // batch_points)
    seen: Counter[tuple[str, object, int]] = Counter()
    moments: list[int] = []
    for of_node in range(batches):
        readings = fleet.readings(of_node * 3 + 1)
        moments += readings.timestamps_ms
        for place, moment in zip(readings.places, readings.timestamps_ms, strict=True):
            name, tags, *_ = readings.definitions[place]
            seen[name, tags, moment] += 1
    assert moments == sorted(moments)
    assert set(seen.values()) == {1}, "no series is read twice at one moment"
    whole = [moment for moment in set(moments) if sum(key[2] == moment for key in seen) == series]
    assert len(whole) >= 2 if series <= batch_points else len(whole) >= 1
