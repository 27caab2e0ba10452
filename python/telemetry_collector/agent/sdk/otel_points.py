"""What OpenTelemetry's SDK for Python measured, as batches of ours.

Sums become counters where they only grow, else gauges; delta and cumulative stay what they are. Exponential histograms
become histograms with explicit bounds: those of their own buckets, merged by pairs until they are few enough.
"""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from telemetry_collector.agent.sdk.names import NODE_TAG, MetricMistake, Tags, check_tags, in_batches
from telemetry_collector.model import MetricType

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from telemetry_collector.sender import Batch

BUCKETS_MAX = 1_024
"""Of one histogram, the open one included, as the wire has it."""
SMALLEST = 5e-324
"""The smallest number above 0: a bucket from behind its negative up to 0 holds 0 alone."""

RESOURCE_TAGS = {
    "service.name": "service",
    "service.version": "version",
    "host.name": NODE_TAG,
    "cloud.region": "region",
    "cloud.availability_zone": "zone",
}
"""Attributes of a resource that are the wire's standard tags."""

COMMON_TAGS_MAX = 32
"""Of a resource's attributes, so that a point may have as many of its own."""

LEFT_OUT = ("telemetry.sdk.",)
"""Attributes of a resource that say nothing of what was measured."""


class Scalar(NamedTuple):
    """A point of a counter or gauge."""

    name: str
    tags: Tags
    unit: str
    kind: MetricType
    delta: bool
    unix_ns: int
    value: float


class Distribution(NamedTuple):
    """A point of a histogram, as `Batch` takes it."""

    name: str
    tags: Tags
    unit: str
    delta: bool
    unix_ns: int
    sum: float
    least: float | None
    greatest: float | None
    bounds: list[float]
    counts: list[int]


class Converted(NamedTuple):
    """Batches, and what could not be one."""

    batches: list[Batch]
    refused: list[str]
    """Why points were left out, one text a point."""

    @property
    def points(self) -> int:
        """Those of the batches."""
        return sum(batch.points for batch in self.batches)


def converted(data: MetricsData, *, points_max: int, node_tag: bool) -> Converted:
    """All points, in batches of at most so many. `node_tag`: whether host.name may name the node (`node_id`)."""
    batches: list[Batch] = []
    refused: list[str] = []
    for resource in data.resource_metrics:
        tags = resource_tags(resource.resource.attributes, node_tag=node_tag)
        points = list(_points(resource.scope_metrics, refused))
        batches.extend(_batch(some, tags) for some in in_batches(points, lambda point: point.tags, points_max))
    return Converted(batches, refused)


def resource_tags(attributes: Mapping[str, Any], *, node_tag: bool) -> Tags:
    """A resource's attributes as common tags: the standard ones under their names, the others under their own.

    What is too long for a tag, and what is beyond `COMMON_TAGS_MAX`, is left out: the points themselves are worth more.
    """
    standard = {tag: attributes[key] for key, tag in RESOURCE_TAGS.items() if key in attributes}
    others = {key: value for key, value in attributes.items() if key not in RESOURCE_TAGS}
    if not node_tag and NODE_TAG in standard:
        others["host.name"] = standard.pop(NODE_TAG)
    tags: list[tuple[str, str]] = []
    for key, value in (*standard.items(), *others.items()):
        if len(tags) < COMMON_TAGS_MAX and not key.startswith(LEFT_OUT):
            with contextlib.suppress(MetricMistake):  # a command line of a kilobyte, say
                tags += check_tags({key: _text(value)})
    return tuple(sorted(tags))


def _points(scopes: Iterable[Any], refused: list[str]) -> Iterator[Scalar | Distribution]:
    for scope in scopes:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                try:
                    yield _point(metric, point)
                except (MetricMistake, ValueError, OverflowError, TypeError) as error:
                    refused.append(f"{metric.name}: {error}")


def _point(metric: Any, point: Any) -> Scalar | Distribution:
    data, unit = metric.data, metric.unit or ""
    tags = check_tags({key: _text(value) for key, value in (point.attributes or {}).items()})
    # OpenTelemetry's enum is 1 for delta and 2 for cumulative.
    delta = getattr(data, "aggregation_temporality", 2) == 1
    if hasattr(point, "value"):
        counts_up = getattr(data, "is_monotonic", False)
        kind = MetricType.COUNTER if counts_up else MetricType.GAUGE
        return Scalar(metric.name, tags, unit, kind, delta, point.time_unix_nano, _finite(point.value))
    if hasattr(point, "scale"):
        bounds, counts = explicit(point)
    else:
        bounds, counts = list(map(float, point.explicit_bounds)), list(point.bucket_counts)
    if not counts:
        counts = [point.count]
    least, greatest = (_extreme(point, name) for name in ("min", "max"))
    return Distribution(
        metric.name, tags, unit, delta, point.time_unix_nano, _finite(point.sum), least, greatest, bounds, counts
    )


def explicit(point: Any) -> tuple[list[float], list[int]]:
    """The buckets of an exponential histogram, with upper bounds.

    A bucket with index i holds what is above base^i and at most base^(i+1), base being 2^(2^-scale); the negative ones
    are its mirror, whose lower bound counts to it, which is told as if the upper one did.
    """
    scale, positive, negative = point.scale, point.positive, point.negative
    zero = float(getattr(point, "zero_threshold", 0.0))
    while True:
        step = 2.0**-scale
        bounds: list[float] = []
        counts: list[int] = []
        if below := negative.bucket_counts:
            _add(bounds, counts, -_power(step * (negative.offset + len(below))), 0)
            for place in range(len(below) - 1, -1, -1):
                _add(bounds, counts, -_power(step * (negative.offset + place)), below[place])
        if below and point.zero_count:
            # Or what counts as zero would seem to lie anywhere down to the nearest negative bucket.
            _add(bounds, counts, -(zero or SMALLEST), 0)
        if below or point.zero_count:
            _add(bounds, counts, zero, point.zero_count)
        if above := positive.bucket_counts:
            _add(bounds, counts, _power(step * positive.offset), 0)
            for place, count in enumerate(above):
                _add(bounds, counts, _power(step * (positive.offset + place + 1)), count)
        if len(counts) < BUCKETS_MAX:
            return bounds, [*counts, 0]
        positive, negative, scale = _halved(positive), _halved(negative), scale - 1


class _Buckets(NamedTuple):
    offset: int
    bucket_counts: list[int]


def _halved(buckets: Any) -> _Buckets:
    """At the next lower scale, where each bucket is two of before."""
    offset = buckets.offset >> 1
    counts: list[int] = []
    for place, count in enumerate(buckets.bucket_counts):
        at = ((buckets.offset + place) >> 1) - offset
        counts.extend([0] * (at + 1 - len(counts)))
        counts[at] += count
    return _Buckets(offset, counts)


def _add(bounds: list[float], counts: list[int], bound: float, count: int) -> None:
    """Adds a bucket; one whose bound is not above the last, for doubles end somewhere, goes into that."""
    if bounds and bound <= bounds[-1]:
        counts[-1] += count
    else:
        bounds.append(bound)
        counts.append(count)


def _power(exponent: float) -> float:
    return math.ldexp(1.0, 1023) if exponent >= 1023 else 2.0**exponent


def _extreme(point: Any, name: str) -> float | None:
    value = getattr(point, name, None)
    # Where it was not measured, it is None or the extreme that nothing was beyond.
    return None if value is None or not math.isfinite(value) else float(value)


def _finite(value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return str(value)


def _batch(points: Sequence[Scalar | Distribution], common_tags: Tags) -> Batch:
    from telemetry_collector.sender import Batch

    scalars = [point for point in points if isinstance(point, Scalar)]
    return Batch(
        common_tags=common_tags,
        series=[(one.name, one.tags, int(one.kind), one.unit, one.delta) for one in scalars],
        series_index=array("I", range(len(scalars))),
        timestamps_unix_ns=array("q", (one.unix_ns for one in scalars)),
        values=array("d", (one.value for one in scalars)),
        histograms=[one for one in points if isinstance(one, Distribution)],
    )
