"""Rules in which Prometheus 2 and 3 differ, one value at a time, from the definitions in Prometheus' documentation.

Quantiles and fractions: inside a bucket that does not reach zero, values are taken to be spread evenly on a logarithmic
scale. A quantile below the middle is looked for from the lowest bucket upwards, any other from the highest downwards;
buckets are as the HTTP API lists them, (lower bound, upper bound, count), ascending and none empty.
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


def increase(samples: Sequence[tuple[float, float]], start_s: float, end_s: float, release: int) -> float:
    """As increase of Prometheus 2 or 3, of (time in s, value) of a counter that does not fall, in (start_s, end_s].

    The growth is stretched to an end of the range that is within 1.1 sample intervals, and by half an interval where it
    is further away; at the start never to before the counter was zero. Release 2 first moves the start to there, and
    then asks how far away it is; release 3 the other way round.
    """
    inside = [(time_s, value) for time_s, value in samples if start_s < time_s <= end_s]
    (first_s, first), (last_s, last) = inside[0], inside[-1]
    sampled_s, grown = last_s - first_s, last - first
    interval_s = sampled_s / (len(inside) - 1)
    zero_s = sampled_s * first / grown if grown > 0 else math.inf
    before_s, after_s = first_s - start_s, end_s - last_s
    if release == 2:
        before_s = min(before_s, zero_s)
    before_s = before_s if before_s < 1.1 * interval_s else interval_s / 2
    if release == 3:
        before_s = min(before_s, zero_s)
    after_s = after_s if after_s < 1.1 * interval_s else interval_s / 2
    return grown * (before_s + sampled_s + after_s) / sampled_s


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
