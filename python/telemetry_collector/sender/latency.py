"""A histogram of durations with fixed memory and a known relative error."""

import math

_SUB_BUCKETS = 32
_EXPONENT_MIN = -20
_EXPONENT_MAX = 15
_BUCKETS = (_EXPONENT_MAX - _EXPONENT_MIN) * _SUB_BUCKETS


class LatencyHistogram:
    """Counts durations between a microsecond and four hours in buckets that are at most 1/32 of their value wide.

    Every power of two is cut into 32 equal buckets, so a quantile is off by 1.6 % at most. Durations outside are
    counted in the first or last bucket.
    """

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0

    @property
    def count(self) -> int:
        """Durations recorded."""
        return self._total

    def record(self, seconds: float) -> None:
        """Counts one duration."""
        self._counts[_bucket(seconds)] += 1
        self._total += 1

    def quantile(self, fraction: float) -> float:
        """The duration in seconds that this fraction (0 to 1) of all recorded ones does not exceed; 0 without any."""
        if self._total == 0:
            return 0.0
        rank = max(1, math.ceil(fraction * self._total))
        passed = 0
        for bucket, count in enumerate(self._counts):
            passed += count
            if passed >= rank:
                return _middle(bucket)
        return _middle(_BUCKETS - 1)


def _bucket(seconds: float) -> int:
    if seconds <= 0:
        return 0
    mantissa, exponent = math.frexp(seconds)  # mantissa from 0.5 up to 1
    place = (exponent - _EXPONENT_MIN) * _SUB_BUCKETS + int((mantissa - 0.5) * 2 * _SUB_BUCKETS)
    return min(max(place, 0), _BUCKETS - 1)


def _middle(bucket: int) -> float:
    exponent, sub_bucket = divmod(bucket, _SUB_BUCKETS)
    return math.ldexp(0.5 + (sub_bucket + 0.5) / (2 * _SUB_BUCKETS), exponent + _EXPONENT_MIN)
