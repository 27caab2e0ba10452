"""Quantiles from buckets, by hand."""

from math import inf

import pytest

from telemetry_collector.query.buckets import quantile


@pytest.mark.parametrize(
    ("wanted", "bounds", "counts", "found"),
    [
        (0.5, [1.0, 2.0, inf], [2, 2, 0], 1.0),
        (0.75, [1.0, 2.0, inf], [2, 2, 0], 1.5),
        (0.25, [1.0, 2.0, inf], [2, 2, 0], 0.5),
        (0.0, [1.0, 2.0, inf], [0, 2, 0], 1.0),
        (1.0, [1.0, 2.0, inf], [1, 1, 0], 2.0),
        (0.99, [1.0, 2.0, inf], [1, 1, 98], 2.0),
        (0.5, [-1.0, inf], [4, 0], -1.0),
        (0.5, [inf], [4], None),
        (0.5, [1.0, inf], [0, 0], None),
        (1.0, [1.0, 2.0, inf], [2**63 - 1, 2**63 - 1, 0], 2.0),
    ],
)
def test_observations_lie_evenly_within_their_bucket(
    wanted: float, bounds: list[float], counts: list[int], found: float | None
) -> None:
    assert quantile(wanted, bounds, counts) == found
