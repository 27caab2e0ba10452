"""What is read on a node: one file a source. docs/metrics.md lists names, types, units and tags.

A source is called from a thread of its own, one call at a time. It raises whatever went wrong; the sampler counts that
and goes on with the other sources. Values that are not finite are left out by the sampler.
"""

from collections.abc import Iterable
from typing import Protocol

from telemetry_collector.model import MetricType
from telemetry_collector.sender import Point

DIGITS = 6
"""Decimals of shares and of times in seconds. What lies beyond is the noise of a division, and takes bytes to send."""


class Source(Protocol):
    """Something that can be read again and again."""

    name: str
    """In configuration, logs and the tag `source`."""

    def read(self) -> Iterable[Point]:
        """The points of this moment."""


def gauge(name: str, value: float, unit: str, **tags: str) -> Point:
    """A value as it is now."""
    return Point(name, float(value), MetricType.GAUGE, unit, tuple(tags.items()))


def counter(name: str, value: float, unit: str, **tags: str) -> Point:
    """A total that only grows, until whatever counts it starts anew."""
    return Point(name, float(value), MetricType.COUNTER, unit, tuple(tags.items()))


def ratio(part: float, whole: float) -> float:
    """A share from 0 to 1, to a millionth; 0 of nothing is 0."""
    return round(min(max(part / whole, 0.0), 1.0), DIGITS) if whole > 0 else 0.0
