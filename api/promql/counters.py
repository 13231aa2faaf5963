"""rate, increase and their like over numbers: readings are compared and extrapolated, deltas are added up.

Extrapolation is Prometheus 3's: the change between the first and the last sample of a range is stretched to the
range's ends where they are near, by half a sample interval where they are not, and for counters never below zero.
"""

from collections.abc import Callable

import numpy as np

from api.promql.over_time_floats import Outcome, summed
from api.promql.range_samples import RangeFloats, reduced, spread_out
from api.promql.samples import Float64Array
from api.promql.selecting import Windows

NEAR = 1.1  # an end of the range is near while it is no further than this many sample intervals


def increase(samples: RangeFloats) -> Outcome:
    """By how much counters grew; deltas added up."""
    return _added_or(samples, _extrapolated(samples, is_counter=True))


def rate(samples: RangeFloats) -> Outcome:
    """`increase` per second of the range."""
    values, present = increase(samples)
    return values / (samples.range_ns / 1e9), present


def delta(samples: RangeFloats) -> Outcome:
    """By how much gauges changed."""
    return _extrapolated(samples, is_counter=False)


def instant_rate(samples: RangeFloats) -> Outcome:
    """irate: growth per second between the last two samples; of deltas the last one per second since the one before."""
    change, seconds, present = _last_two(samples)
    latest = samples.at(samples.windows.stops - 1)
    before = samples.at(samples.windows.stops - 2)
    grown = np.where(samples.delta | (latest < before), latest, change)
    with np.errstate(all="ignore"):
        return grown / seconds, present


def instant_delta(samples: RangeFloats) -> Outcome:
    """idelta: the difference between the last two samples."""
    change, _, present = _last_two(samples)
    return change, present


def slope(samples: RangeFloats) -> Outcome:
    """deriv: slope per second of the least-squares line."""
    counts = samples.windows.counts
    result = np.full(counts.size, np.nan)
    ends = np.broadcast_to(samples.ends_ns, counts.shape).reshape(-1)
    with np.errstate(all="ignore"):
        for windows, owners, places in spread_out(samples):
            n = windows.stop - windows.start
            sizes = counts.reshape(-1)[windows]
            x = (samples.times_ns[places] - ends[windows][owners]) / 1e9
            y = samples.values[places]
            x = x - (np.bincount(owners, weights=x, minlength=n) / sizes)[owners]
            y = y - (np.bincount(owners, weights=y, minlength=n) / sizes)[owners]
            moved = np.bincount(owners, weights=x * y, minlength=n)
            result[windows] = moved / np.bincount(owners, weights=x * x, minlength=n)
    return result.reshape(counts.shape), counts > 1


def _added_or(samples: RangeFloats, readings: Outcome) -> Outcome:
    """The sum where a series tells of deltas, the outcome given where it is a series of readings."""
    if not samples.delta.any():
        return readings
    sums, seen = summed(samples)
    return np.where(samples.delta, sums, readings[0]), np.where(samples.delta, seen, readings[1])


def _extrapolated(samples: RangeFloats, is_counter: bool) -> Outcome:
    windows = samples.windows
    present = windows.counts > 1
    first, last = samples.at(windows.starts), samples.at(windows.stops - 1)
    start, end = samples.seconds_at(windows.starts), samples.seconds_at(windows.stops - 1)
    with np.errstate(all="ignore"):
        change = last - first
        if is_counter:
            change = change + _lost_to_resets(samples)
        sampled = end - start
        between = sampled / (windows.counts - 1)
        to_start = start + samples.range_ns / 1e9
        to_start = np.where(to_start >= between * NEAR, between / 2, to_start)
        if is_counter:
            to_zero = np.where((change > 0) & (first >= 0), sampled * (first / change), to_start)
            to_start = np.minimum(to_start, to_zero)
        to_end = np.where(-end >= between * NEAR, between / 2, -end)
        return change * ((sampled + to_start + to_end) / sampled), present


def _lost_to_resets(samples: RangeFloats) -> Float64Array:
    """What counters held when they fell, added up within each window."""
    before, after = samples.values[:-1], samples.values[1:]
    fallen = np.where(after < before, before, 0.0)
    if not fallen.any():
        return np.zeros(samples.windows.starts.shape)
    behind_first = Windows(np.minimum(samples.windows.starts + 1, samples.windows.stops), samples.windows.stops)
    lost = reduced(np.add, np.append(0.0, fallen), behind_first, samples.interrupt)
    return np.where(behind_first.seen, lost, 0.0)


def _last_two(samples: RangeFloats) -> tuple[Float64Array, Float64Array, np.ndarray]:
    last, before = samples.windows.stops - 1, samples.windows.stops - 2
    seconds = samples.seconds_at(last) - samples.seconds_at(before)
    with np.errstate(all="ignore"):
        change = samples.at(last) - samples.at(before)
    return change, seconds, (samples.windows.counts > 1) & (seconds > 0)


FUNCTIONS: dict[str, Callable[[RangeFloats], Outcome]] = {
    "rate": rate,
    "increase": increase,
    "delta": delta,
    "irate": instant_rate,
    "idelta": instant_delta,
    "deriv": slope,
}
