"""What the answer to a question should be, told by plain loops over plain points: nothing here knows SQL."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tests.support.blocks import Point

from telemetry_collector.query import Aggregation, Operator, Query, Series, TagMatcher, Value


@dataclass(frozen=True)
class Stored:
    """A point, and where it stands among others of its time."""

    point: Point
    received_ns: int
    sequence: int


Group = tuple[tuple[str, ...], int]
"""Name and tags, and a window."""


def answer(query: Query, rows: Sequence[Stored]) -> list[Series]:
    found: dict[tuple[str, ...], list[Value]] = defaultdict(list)
    for (key, window), values in sorted(_aggregated(query, rows).items()):
        found[key].append(Value(query.start_ns + window * query.window_ns, values))
    return [
        Series(key[0], tuple((tag, value) for tag, value in zip(query.group_by, key[1:], strict=True) if value), values)
        for key, values in found.items()
    ]


def _aggregated(query: Query, rows: Sequence[Stored]) -> dict[Group, tuple[float, ...]]:
    aggregation = query.aggregation
    chosen = [row for row in rows if _is_selected(query, row.point)]
    if aggregation is Aggregation.RATE:
        gained = _grouped(query, _gains(_counters(chosen), _counter_gained))
        return {group: (sum(gains) / _window_secs(query, group[1]),) for group, gains in gained.items()}
    if aggregation.value.startswith("histogram"):
        gained = _grouped(query, _gains([row for row in chosen if row.point.histogram], _histogram_gained))
        found = {group: _of_histograms(query, gains) for group, gains in gained.items()}
        return {group: values for group, values in found.items() if values is not None}
    points = _grouped(query, ((row, row) for row in chosen if row.point.value is not None))
    return {group: _of_points(query, some) for group, some in points.items()}


def _of_points(query: Query, rows: list[Stored]) -> tuple[float, ...]:
    values = [row.point.value or 0.0 for row in rows]
    newest = max(rows, key=_order)
    plain: dict[Aggregation, Callable[[], float]] = {
        Aggregation.AVG: lambda: fmean(values),
        Aggregation.MIN: lambda: min(values),
        Aggregation.MAX: lambda: max(values),
        Aggregation.SUM: lambda: math.fsum(values),
        Aggregation.COUNT: lambda: float(len(values)),
        Aggregation.LAST: lambda: newest.point.value or 0.0,
    }
    if query.aggregation in plain:
        return (plain[query.aggregation](),)
    return tuple(_between(sorted(values), quantile) for quantile in query.quantiles)


def _between(values: list[float], quantile: float) -> float:
    place = quantile * (len(values) - 1)
    low = math.floor(place)
    high = math.ceil(place)
    return values[low] + (values[high] - values[low]) * (place - low)


def _of_histograms(query: Query, gains: list[Mapping[str, Any]]) -> tuple[float, ...] | None:
    count, total = sum(gain["count"] for gain in gains), math.fsum(gain["sum"] for gain in gains)
    if query.aggregation is Aggregation.HISTOGRAM_COUNT:
        return (float(count),)
    if query.aggregation is Aggregation.HISTOGRAM_SUM:
        return (total,)
    if count == 0:
        return None
    if query.aggregation is Aggregation.HISTOGRAM_AVG:
        return (total / count,)
    buckets: dict[float, int] = defaultdict(int)
    for gain in gains:
        for bound, gained in zip([*gain["bounds"], math.inf], gain["counts"], strict=True):
            buckets[bound] += gained
    values = [_bucket_quantile(sorted(buckets.items()), quantile) for quantile in query.quantiles]
    return None if None in values else tuple(value for value in values if value is not None)


def _bucket_quantile(buckets: list[tuple[float, int]], quantile: float) -> float | None:
    rank = quantile * sum(count for _, count in buckets)
    below, begin = 0, None
    for bound, count in buckets:
        if count and below + count >= rank:
            if bound == math.inf:
                return begin
            low = begin if begin is not None else min(bound, 0.0)
            return low + (bound - low) * max(rank - below, 0.0) / count
        below, begin = below + count, bound
    raise AssertionError


def _counters(rows: list[Stored]) -> list[Stored]:
    return [row for row in rows if row.point.type == "counter" and row.point.value is not None]


def _gains(rows: list[Stored], gained: Callable[[Point | None, Point], Any]) -> Iterator[tuple[Stored, Any]]:
    """Each point with what its series gained by it, where that can be said."""
    series: dict[Any, list[Stored]] = defaultdict(list)
    for row in rows:
        series[row.point.name, tuple(sorted(row.point.tags.items())), row.point.delta].append(row)
    for some in series.values():
        some.sort(key=_order)
        befores = [None, *(row.point for row in some)]
        for before, row in zip(befores, some, strict=False):
            gain = gained(before, row.point)
            if gain is not None:
                yield row, gain


def _counter_gained(before: Point | None, point: Point) -> float | None:
    value = point.value or 0.0
    if point.delta:
        return value
    if before is None:
        return None
    old = before.value or 0.0
    return value if value < old else value - old


def _histogram_gained(before: Point | None, point: Point) -> Mapping[str, Any] | None:
    now = point.histogram or {}
    if point.delta:
        return now
    if before is None:
        return None
    old = before.histogram or {}
    differences = [new - known for new, known in zip(now["counts"], old["counts"], strict=False)]
    if now["bounds"] != old["bounds"] or now["count"] < old["count"] or min(differences) < 0:
        return now
    return {
        "count": now["count"] - old["count"],
        "sum": now["sum"] - old["sum"],
        "bounds": now["bounds"],
        "counts": differences,
    }


def _grouped(query: Query, rows: Iterator[tuple[Stored, Any]]) -> dict[Group, list[Any]]:
    groups: dict[Group, list[Any]] = defaultdict(list)
    for row, what in rows:
        key = (row.point.name, *(row.point.tags.get(tag, "") for tag in query.group_by))
        groups[key, (row.point.timestamp_ns - query.start_ns) // query.window_ns].append(what)
    return groups


def _window_secs(query: Query, window: int) -> float:
    begin = query.start_ns + window * query.window_ns
    return (min(begin + query.window_ns, query.end_ns) - begin) / 1e9


def _order(row: Stored) -> tuple[int, int, int, float]:
    return row.point.timestamp_ns, row.received_ns, row.sequence, row.point.value or 0.0


def _is_selected(query: Query, point: Point) -> bool:
    name = re.compile(".*".join(map(re.escape, query.selection.name.split("*"))))
    return (
        query.start_ns <= point.timestamp_ns < query.end_ns
        and name.fullmatch(point.name) is not None
        and all(_fits(matcher, point.tags.get(matcher.key, "")) for matcher in query.selection.matchers)
    )


def _fits(matcher: TagMatcher, value: str) -> bool:
    if matcher.operator is Operator.EQUAL:
        return value == matcher.value
    if matcher.operator is Operator.NOT_EQUAL:
        return value != matcher.value
    matches = re.fullmatch(matcher.value, value) is not None
    return matches if matcher.operator is Operator.MATCHES else not matches
