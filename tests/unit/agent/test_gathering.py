"""Readings wait for each other, and not for too long."""

from telemetry_collector.agent.gathering import Gathering
from telemetry_collector.model import MetricType
from telemetry_collector.sender import Point, TimedPoints, batch_of_readings


def points(count: int) -> list[Point]:
    return [Point(f"m{place}", float(place), MetricType.GAUGE, "1") for place in range(count)]


def shape(batches: list[list[TimedPoints]]) -> list[list[tuple[int, int]]]:
    """The times of each batch, and how many points each has."""
    return [[(time, len(some)) for time, some in readings] for readings in batches]


def test_each_reading_goes_by_itself_unless_told_otherwise() -> None:
    assert shape(list(Gathering(1, 100).add(5, points(3)))) == [[(5, 3)]]


def test_a_batch_is_full_with_its_readings() -> None:
    gathering = Gathering(3, 100)
    assert [shape(list(gathering.add(time, points(2)))) for time in range(1, 7)] == [
        [], [], [[(1, 2), (2, 2), (3, 2)]],
        [], [], [[(4, 2), (5, 2), (6, 2)]],
    ]  # fmt: skip
    assert gathering.take() == []


def test_a_batch_has_no_more_points_than_it_may() -> None:
    gathering = Gathering(10, 5)
    assert shape(list(gathering.add(1, points(3)))) == []
    assert shape(list(gathering.add(2, points(3)))) == [[(1, 3)]]
    assert shape(list(gathering.add(3, points(12)))) == [[(2, 3)], [(3, 5)], [(3, 5)]]
    assert shape([gathering.take()]) == [[(3, 2)]]


def test_a_batch_of_readings_has_all_their_points() -> None:
    batch = batch_of_readings([(1, points(2)), (2, points(3))], common_tags=())
    assert batch.points == 5
