"""An exponential histogram in explicit buckets holds every observation where it was."""

import math
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.agent.sdk.otel_points import BUCKETS_MAX, explicit, resource_tags


class Buckets(NamedTuple):
    offset: int
    bucket_counts: list[int]


class Exponential(NamedTuple):
    scale: int
    zero_count: int
    positive: Buckets
    negative: Buckets


def exponential(values: list[float], scale: int) -> Exponential:
    """What an SDK would have of these values at this scale."""

    def buckets(some: list[float]) -> Buckets:
        indexes = [math.ceil(math.log2(value) * 2.0**scale) - 1 for value in some]
        if not indexes:
            return Buckets(0, [])
        low = min(indexes)
        counts = [0] * (max(indexes) - low + 1)
        for index in indexes:
            counts[index - low] += 1
        return Buckets(low, counts)

    above, below = [v for v in values if v > 0], [-v for v in values if v < 0]
    return Exponential(scale, values.count(0), buckets(above), buckets(below))


# Off the buckets' own bounds, where a logarithm's last bit would decide.
value = st.builds(lambda sign, size: sign * (size + 0.123), st.sampled_from([-1, 1]), st.integers(1, 10**6))


@given(st.lists(st.one_of(value, st.just(0.0)), max_size=30), st.integers(-3, 6))
def test_every_observation_is_between_the_bounds_of_its_bucket(values: list[float], scale: int) -> None:
    bounds, counts = explicit(exponential(values, scale))
    assert len(counts) == len(bounds) + 1 <= BUCKETS_MAX
    assert all(lower < upper for lower, upper in pairwise(bounds))
    edges = [-math.inf, *bounds, math.inf]
    expected = [0] * len(counts)
    for one in values:
        (place,) = (at for at in range(len(counts)) if edges[at] < one <= edges[at + 1])
        expected[place] += 1
    assert counts == expected


def test_zeros_are_not_spread_down_to_the_nearest_negative_bucket() -> None:
    bounds, counts = explicit(exponential([-1000.5, 0.0, 0.0, 1000.5], 0))
    assert [(bounds[at - 1], bounds[at]) for at, count in enumerate(counts) if count == 2] == [(-5e-324, 0.0)]


def test_too_many_buckets_are_merged_and_the_ends_of_doubles_hold() -> None:
    wide = Exponential(20, 1, Buckets(-1_500, [1] * 3_000), Buckets(0, []))
    bounds, counts = explicit(wide)
    assert len(counts) <= BUCKETS_MAX
    assert sum(counts) == 3_001
    huge = Exponential(0, 0, Buckets(1_022, [3, 4]), Buckets(-1_100, [5]))
    bounds, counts = explicit(huge)
    assert sum(counts) == 12
    assert all(math.isfinite(bound) for bound in bounds)
    assert explicit(Exponential(0, 0, Buckets(0, []), Buckets(0, []))) == ([], [0])


def test_a_resource_becomes_the_standard_tags() -> None:
    attributes = {
        "service.name": "s",
        "service.version": "1",
        "host.name": "h",
        "cloud.region": "r",
        "cloud.availability_zone": "z",
        "telemetry.sdk.language": "python",
        "process.command_args": ["a", True],
    }
    tags = dict(resource_tags(attributes, node_tag=True))
    assert tags == {
        "service": "s",
        "version": "1",
        "node_id": "h",
        "region": "r",
        "zone": "z",
        "process.command_args": "a,true",
    }
    assert dict(resource_tags(attributes, node_tag=False))["host.name"] == "h"
    many = {"process.command_line": "x" * 2_000, **{f"k{place}": place for place in range(99)}, **attributes}
    assert len(resource_tags(many, node_tag=True)) == 32
    assert dict(resource_tags(many, node_tag=True))["zone"] == "z", "the standard ones come first"
