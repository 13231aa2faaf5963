"""The numbers that range functions work on, and the two ways to go over the windows of all series and instants at once.

Simple reductions run on overlapping slices without copying them; what needs each sample beside its window is done in
chunks, so that a long range over many steps takes time but no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from api.promql.samples import BoolArray, Float64Array, FloatSamples, Int64Array, Interrupt
from api.promql.selecting import Selected, Windows, is_stale, windows_of

CHUNK = 1 << 20  # samples beside their windows at a time: some 25 MB with everything made from them
REDUCED_AT_ONCE = 1 << 28  # samples of windows put together at a time: a tenth of a second


@dataclass(frozen=True, slots=True)
class RangeFloats:
    """Samples of n series of numbers without stale marks, and the windows of c instants over them.

    delta: bool[n, 1], whether a series' values tell of their own window only.
    ends_ns: int64[c], where each window ends; each is range_ns long.
    levels: float64[c], the argument of quantile_over_time.
    """

    times_ns: Int64Array
    values: Float64Array
    delta: BoolArray
    windows: Windows
    ends_ns: Int64Array
    range_ns: int
    levels: Float64Array
    interrupt: Interrupt

    def at(self, places: Int64Array) -> Float64Array:
        """Values at these places; any where a place is outside."""
        if not len(self.values):
            return np.zeros(places.shape)
        return self.values[np.clip(places, 0, len(self.values) - 1)]

    def seconds_at(self, places: Int64Array) -> Float64Array:
        """Times in seconds since the end of the window, at these places, float64[n, c]."""
        if not len(self.values):
            return np.zeros(places.shape)
        times = self.times_ns[np.clip(places, 0, len(self.values) - 1)]
        return (times - self.ends_ns) / 1e9


def range_floats(samples: FloatSamples, found: Selected, levels: Float64Array, interrupt: Interrupt) -> RangeFloats:
    """The samples of a range selector, ready for range functions."""
    series, times_ns, values = samples.series, samples.times_ns, samples.values
    stale = is_stale(values)
    if stale.any():
        series, times_ns, values = series[~stale], times_ns[~stale], values[~stale]
    windows = windows_of(series, times_ns, len(samples.labels), found)
    return RangeFloats(
        times_ns, values, samples.delta[:, None], windows, found.grid.times(), found.range_ns, levels, interrupt
    )


def reduced(operation: np.ufunc, values: Float64Array, windows: Windows, interrupt: Interrupt) -> Float64Array:
    """The values of each window put together, float64[n, c]; anything where there are none.

    Cost: the sum of the windows' sizes, no memory for it: reduceat takes overlapping slices, of which every other one
    is the gap between two windows.
    """
    ends = np.empty(2 * windows.starts.size, np.int64)
    ends[0::2], ends[1::2] = windows.starts.reshape(-1), windows.stops.reshape(-1)
    result = np.empty(windows.starts.size)
    padded = np.append(values, 0.0)
    spent = np.cumsum(np.maximum(windows.counts.reshape(-1), 1))
    first = 0
    while first < len(result):
        interrupt()
        before = int(spent[first - 1]) if first else 0
        last = max(int(np.searchsorted(spent, before + REDUCED_AT_ONCE, side="right")), first + 1)
        # The gap behind the last of them must not reach to the end of all values.
        some = np.append(ends[2 * first : 2 * last], len(values))
        with np.errstate(all="ignore"):
            result[first:last] = operation.reduceat(padded, some)[0:-1:2]
        first = last
    return result.reshape(windows.starts.shape)


def spread_out(samples: RangeFloats) -> Iterator[tuple[slice, Int64Array, Int64Array]]:
    """Every sample beside its window, in chunks.

    Yields:
        Which windows (of the flattened n * c); per sample its window, counted from the first of them; its place.
    """
    starts, sizes = samples.windows.starts.reshape(-1), samples.windows.counts.reshape(-1)
    before = np.concatenate([[0], np.cumsum(sizes)])
    first = 0
    while first < len(sizes):
        samples.interrupt()
        last = max(int(np.searchsorted(before, before[first] + CHUNK, side="right")) - 1, first + 1)
        lengths = sizes[first:last]
        owners = np.repeat(np.arange(last - first), lengths)
        inside = np.arange(int(lengths.sum())) - np.repeat(before[first:last] - before[first], lengths)
        yield slice(first, last), owners, inside + np.repeat(starts[first:last], lengths)
        first = last
