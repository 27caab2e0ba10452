"""Readings that wait for later ones to go with them in one batch: next to each other, values take fewer bytes."""

from collections.abc import Iterator, Sequence

from telemetry_collector.sender import Point, TimedPoints


class Gathering:
    """Holds fewer than `readings_max` readings, and at most `points_max` points."""

    def __init__(self, readings_max: int, points_max: int) -> None:
        self._readings_max = readings_max
        self._points_max = points_max
        self._readings: list[TimedPoints] = []
        self._gathered = 0
        self._points = 0

    def add(self, timestamp_unix_ns: int, points: Sequence[Point]) -> Iterator[list[TimedPoints]]:
        """Takes what was read at one time; the readings of each batch that is full now."""
        for start in range(0, len(points), self._points_max):
            some = points[start : start + self._points_max]
            if self._points + len(some) > self._points_max:
                yield self.take()
            self._readings.append((timestamp_unix_ns, some))
            self._points += len(some)
        self._gathered += 1
        if self._gathered >= self._readings_max and self._readings:
            yield self.take()

    def take(self) -> list[TimedPoints]:
        """What is held, for a batch that will not get fuller."""
        readings, self._readings = self._readings, []
        self._gathered = self._points = 0
        return readings
