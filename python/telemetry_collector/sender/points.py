"""From readings to batches."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from telemetry_collector._core import Batch
from telemetry_collector.model import MetricType

Tags = tuple[tuple[str, str], ...]


class Point(NamedTuple):
    """One value of a series."""

    name: str
    value: float
    """Not NaN and not infinite: the collector refuses those."""
    type: MetricType
    unit: str
    """UCUM, for example "s", "By", "1"."""
    tags: Tags = ()


TimedPoints = tuple[int, Sequence[Point]]
"""Nanoseconds since 1970, and the points of that time."""


def batch_of(points: Sequence[Point], *, common_tags: Tags, timestamp_unix_ns: int) -> Batch:
    """A batch of points that were read at one time. Raises EncodeError for what cannot be encoded."""
    return batch_of_readings([(timestamp_unix_ns, points)], common_tags=common_tags)


def batch_of_readings(readings: Sequence[TimedPoints], *, common_tags: Tags) -> Batch:
    """A batch of readings, one after the other. Raises EncodeError for what cannot be encoded."""
    places: dict[tuple[str, Tags, int, str], int] = {}
    index, timestamps, values = array("I"), array("q"), array("d")
    for timestamp_unix_ns, points in readings:
        for point in points:
            index.append(places.setdefault((point.name, point.tags, int(point.type), point.unit), len(places)))
            values.append(point.value)
        timestamps.extend(array("q", [timestamp_unix_ns]) * len(points))
    return Batch(
        common_tags=common_tags,
        series=[(name, tags, type_, unit, False) for name, tags, type_, unit in places],
        series_index=index,
        timestamps_unix_ns=timestamps,
        values=values,
    )
