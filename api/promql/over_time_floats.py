"""The *_over_time functions, changes and resets over numbers. Each answers values and where they exist, [n, c] both."""

from collections.abc import Callable

import numpy as np

from api.promql.range_samples import RangeFloats, reduced, spread_out
from api.promql.samples import BoolArray, Float64Array

Outcome = tuple[Float64Array, BoolArray]
RESCUE = 2.0**-64  # values times it cannot overflow when they are added up, however many there are


def summed(samples: RangeFloats) -> Outcome:
    """sum_over_time"""
    return reduced(np.add, samples.values, samples.windows, samples.interrupt), samples.windows.seen


def averaged(samples: RangeFloats) -> Outcome:
    """avg_over_time; finite values have a finite average, even where their sum overflows."""
    return _means(samples), samples.windows.seen


def smallest(samples: RangeFloats) -> Outcome:
    """min_over_time; NaN only where all are."""
    return reduced(np.fmin, samples.values, samples.windows, samples.interrupt), samples.windows.seen


def largest(samples: RangeFloats) -> Outcome:
    """max_over_time; NaN only where all are."""
    return reduced(np.fmax, samples.values, samples.windows, samples.interrupt), samples.windows.seen


def counted(samples: RangeFloats) -> Outcome:
    """count_over_time"""
    return samples.windows.counts.astype(np.float64), samples.windows.seen


def latest(samples: RangeFloats) -> Outcome:
    """last_over_time"""
    return samples.at(samples.windows.stops - 1), samples.windows.seen


def present(samples: RangeFloats) -> Outcome:
    """present_over_time"""
    return np.ones(samples.windows.seen.shape), samples.windows.seen


def variance(samples: RangeFloats) -> Outcome:
    """stdvar_over_time, of the whole population."""
    means, result = _means(samples).reshape(-1), np.zeros(samples.windows.starts.size)
    with np.errstate(all="ignore"):
        for windows, owners, places in spread_out(samples):
            off = samples.values[places] - means[windows][owners]
            n = windows.stop - windows.start
            result[windows] = np.bincount(owners, weights=off * off, minlength=n)
        shaped = result.reshape(samples.windows.starts.shape) / samples.windows.counts
    return shaped, samples.windows.seen


def deviation(samples: RangeFloats) -> Outcome:
    """stddev_over_time, of the whole population."""
    variances, seen = variance(samples)
    with np.errstate(all="ignore"):
        return np.sqrt(variances), seen


def quantile(samples: RangeFloats) -> Outcome:
    """quantile_over_time, interpolated between the two nearest values; NaN sort below everything."""
    shape = samples.windows.starts.shape
    levels = np.broadcast_to(samples.levels, shape).reshape(-1)
    result = np.full(samples.windows.starts.size, np.nan)
    sizes = samples.windows.counts.reshape(-1)
    for windows, owners, places in spread_out(samples):
        values = samples.values[places]
        nan = np.isnan(values)
        ordered = values[np.lexsort((np.where(nan, -np.inf, values), ~nan, owners))]
        counts = sizes[windows]
        firsts = np.cumsum(counts) - counts
        some = np.flatnonzero(counts)
        result[windows.start + some] = interpolated(ordered, firsts[some], counts[some], levels[windows][some])
    return at_levels(result.reshape(shape), samples.levels), samples.windows.seen


def changes(samples: RangeFloats) -> Outcome:
    """How often the value differs from the one before."""
    before, after = samples.values[:-1], samples.values[1:]
    return _events(samples, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def resets(samples: RangeFloats) -> Outcome:
    """How often the value is below the one before."""
    return _events(samples, samples.values[1:] < samples.values[:-1])


def interpolated(ordered: Float64Array, firsts: np.ndarray, counts: np.ndarray, levels: Float64Array) -> Float64Array:
    """Quantiles of groups of values that lie sorted from `firsts` on, one level each, as Prometheus interpolates."""
    with np.errstate(all="ignore"):
        ranks = np.clip(np.nan_to_num(levels), 0.0, 1.0) * (counts - 1)
        lower = np.floor(ranks).astype(np.int64)
        upper = np.minimum(lower + 1, counts - 1)
        weight = ranks - lower
        return np.asarray(ordered[firsts + lower] * (1 - weight) + ordered[firsts + upper] * weight)


def at_levels(values: Float64Array, levels: Float64Array) -> Float64Array:
    """The quantiles, with Prometheus' answers to levels that are none: -Inf below 0, +Inf above 1, NaN for NaN."""
    outside = np.where(levels < 0, -np.inf, np.where(levels > 1, np.inf, np.nan))
    return np.where((levels >= 0) & (levels <= 1), values, outside)


def _means(samples: RangeFloats) -> Float64Array:
    counts = samples.windows.counts
    with np.errstate(all="ignore"):
        means = reduced(np.add, samples.values, samples.windows, samples.interrupt) / counts
        if np.isinf(means).any():
            small = reduced(np.add, samples.values * RESCUE, samples.windows, samples.interrupt) / counts / RESCUE
            means = np.where(np.isinf(means), small, means)
    return means


def _events(samples: RangeFloats, happened: BoolArray) -> Outcome:
    """How many events lie between two neighbouring samples of each window; happened[i] is behind sample i."""
    running = np.concatenate([[0], np.cumsum(happened)])
    first = np.minimum(samples.windows.starts, len(running) - 1)
    last = np.clip(samples.windows.stops - 1, 0, len(running) - 1)
    return (running[last] - running[first]).astype(np.float64), samples.windows.seen


FUNCTIONS: dict[str, Callable[[RangeFloats], Outcome]] = {
    "sum_over_time": summed,
    "avg_over_time": averaged,
    "min_over_time": smallest,
    "max_over_time": largest,
    "count_over_time": counted,
    "last_over_time": latest,
    "present_over_time": present,
    "stdvar_over_time": variance,
    "stddev_over_time": deviation,
    "quantile_over_time": quantile,
    "changes": changes,
    "resets": resets,
}
