"""Quantiles and fractions of native histograms one bucket at a time, from the definition in Prometheus' documentation.

Inside a bucket that does not reach zero, values are taken to be spread evenly on a logarithmic scale. A quantile below
the middle is looked for from the lowest bucket upwards, any other from the highest downwards; buckets are as the HTTP
API lists them, (lower bound, upper bound, count), ascending and none empty.
"""

import math
from collections.abc import Sequence

Bucket = tuple[float, float, float]


def quantile(level: float, buckets: Sequence[Bucket], count: float) -> float:
    """As histogram_quantile of Prometheus 3."""
    if not buckets or math.isnan(level):
        return math.nan
    if not 0 <= level <= 1:
        return math.copysign(math.inf, level)
    upwards = level < 0.5
    left = (level if upwards else 1 - level) * count
    found, passed = buckets[0], 0.0
    for found in buckets if upwards else reversed(buckets):
        if passed + found[2] >= left:
            break
        passed += found[2]
    inside = min((left - passed) / found[2], 1.0)
    return _point(found, inside if upwards else 1 - inside)


def fraction(low: float, high: float, buckets: Sequence[Bucket], count: float) -> float:
    """As histogram_fraction of Prometheus 3."""
    if not count or math.isnan(low) or math.isnan(high):
        return math.nan
    if low >= high:
        return 0.0
    return sum((_share_below(high, bucket) - _share_below(low, bucket)) * bucket[2] for bucket in buckets) / count


def _point(bucket: Bucket, inside: float) -> float:
    low, high, _ = bucket
    if low <= 0 <= high:
        return low + (high - low) * inside
    sign = math.copysign(1, low)
    return sign * math.exp(math.log(abs(low)) + (math.log(abs(high)) - math.log(abs(low))) * inside)


def _share_below(value: float, bucket: Bucket) -> float:
    low, high, _ = bucket
    if value <= low:  # first, for the bucket of zero is no wider than that: its values count as not below zero
        return 0.0
    if value >= high:
        return 1.0
    if low <= 0 <= high:
        return (value - low) / (high - low)
    return math.log(value / low) / math.log(high / low)
