"""Quantiles of a histogram, which knows of its observations only in which bucket they fell."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(wanted: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The value below which a share `wanted` of the observations lies; None when that cannot be said.

    `bounds` are the buckets' upper bounds, ascending, the last infinite, and `counts` how many fell into each.
    Within a bucket observations are taken to lie evenly. The first bucket begins at 0 where its bound is above 0, else
    at its bound; in the last, which has no end, the answer is where it begins. So has Prometheus' histogram_quantile.
    """
    total = sum(counts)
    if total == 0:
        return None
    rank = min(wanted * total, total)  # beyond 2^53 a product may be rounded up
    below = 0
    for place, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
        if count and below + count >= rank:
            if math.isinf(bound):
                return bounds[place - 1] if place else None
            begin = bounds[place - 1] if place else min(bound, 0.0)
            return begin + (bound - begin) * max(rank - below, 0.0) / count
        below += count
    raise AssertionError("the counts add up to the total")
