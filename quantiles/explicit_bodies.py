"""Histograms with explicit bounds as dense bodies, many at a time: Prometheus' classic ones and OpenTelemetry's.

Only the bounds of their values are known. They are spread evenly over each bucket, as Prometheus does when it
interpolates, so that an answer lies in the bucket that holds the true value: it is off by less than the bucket is
wide. Counts stay whole, and a known minimum and maximum are kept.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, ByteArray, FloatArray, IntArray
from quantiles.bins import bins_of
from quantiles.dense_bodies import VALUES_LIMIT, Histograms, Runs, ranges
from quantiles.errors import SampleError
from quantiles.histogram_bodies import (
    BOUNDS_NOT_ASCENDING,
    IMPOSSIBLE_EXTREMES,
    NEGATIVE_COUNT,
    NO_BOUNDS,
    RIGHT,
    TOO_MANY_VALUES,
    Bodies,
    Said,
    bodies_of,
    note_fault,
)

# Pieces of this scale are 4.4 % wide, far less than any bucket.
SPREAD_SCALE: Final = 4
# So many octaves below the upper bound are told apart; an even spread puts a thousandth further down.
_MOST_PIECES: Final = 10 << SPREAD_SCALE
_AT_ZERO: Final = -(1 << 40)  # no bin


def explicit_bodies(bounds: npt.ArrayLike, counts: npt.ArrayLike, offsets: npt.ArrayLike, said: Said) -> Bodies:
    """Histograms as bodies: a bucket holds the values above the bound before it and up to its own.

    Args:
        bounds, counts: float64[m] and int64[m], the buckets of histogram i at offsets[i]:offsets[i + 1]; the last
            bound of each is +Inf. Counts are those of each bucket alone, not cumulative.
        said: what is known of each beside that.
    What lies above the last finite bound is spread up to the maximum, or put at that bound where none is known. The
    first bucket begins at the minimum; where none is known at 0, if it ends above that, else all of it is put at its
    bound.
    Raises:
        SampleError: arrays that do not fit together.
    """
    upper, amounts, places = np.asarray(bounds, np.float64), np.asarray(counts, np.int64), np.asarray(offsets, np.int64)
    n = len(places) - 1
    if len(upper) != len(amounts) or any(len(part) != n for part in said) or int(places[-1]) != len(amounts):
        raise SampleError(f"bounds and counts do not fit {n} histograms; wanted one bound per count, +Inf the last")
    sizes = np.diff(places)
    owners, lower = np.repeat(np.arange(n), sizes), np.concatenate([[-np.inf], upper])[:-1]
    lower[places[:-1][sizes > 0]] = -np.inf
    faults = np.zeros(n, np.uint8)
    note_fault(faults, _any(owners, ~(upper > lower), n), BOUNDS_NOT_ASCENDING)
    ended = sizes > 0
    ended[ended] = upper[places[1:][ended] - 1] == np.inf
    note_fault(faults, ~ended & (sizes > 0), BOUNDS_NOT_ASCENDING)
    note_fault(faults, _any(owners, amounts < 0, n), NEGATIVE_COUNT)
    totals = np.bincount(owners, amounts, n).astype(np.float64)
    note_fault(faults, totals >= VALUES_LIMIT, TOO_MANY_VALUES)
    said = _of_single_values(said, totals)
    filled = (amounts > 0) & (faults[owners] == RIGHT)
    buckets = _Buckets(owners[filled], lower[filled], upper[filled], amounts[filled])
    buckets = _narrowed(buckets, said, said.sums / np.maximum(totals, 1), faults)
    found = _spread(buckets, said, totals, n)
    return bodies_of(found, totals, faults, np.zeros(n))


class _Buckets(NamedTuple):
    """Buckets that hold values, in order: whose, from where to where, how many."""

    owners: IntArray
    low: FloatArray
    high: FloatArray
    counts: IntArray


def _any(owners: IntArray, wrong: BoolArray, n: int) -> BoolArray:
    """Which histograms own something wrong."""
    return np.bincount(owners[wrong], minlength=n) > 0


def _of_single_values(said: Said, totals: FloatArray) -> Said:
    """A lone value is its minimum and its maximum, whichever is known."""
    single = totals == 1
    known = np.where(np.isnan(said.minima), said.maxima, said.minima)
    return Said(said.sums, np.where(single, known, said.minima), np.where(single, known, said.maxima))


def _narrowed(buckets: _Buckets, said: Said, means: FloatArray, faults: ByteArray) -> _Buckets:
    """With finite ends, within minimum and maximum; those of faulty histograms are left out."""
    owners, low, high, counts = buckets
    least, most = said.minima[owners], said.maxima[owners]
    # An end that is not known is not beyond the one that is.
    bottom = np.where(np.isnan(least), np.fmin(np.where(high > 0, 0.0, high), most), least)
    first = np.isneginf(low)
    top = np.where(np.isnan(most), np.fmax(np.where(first, means[owners], low), least), most)
    last = np.isposinf(high)
    # All values are in one bucket without bounds: what is known beside it are at most the extremes and the mean.
    lost = first & last
    new_low = np.where(first, np.where(lost & np.isnan(least), top, bottom), low)
    new_high = np.where(last, top, high)
    missing = ~np.isfinite(new_low) | ~np.isfinite(new_high)
    note_fault(faults, _any(owners, missing, len(faults)), NO_BOUNDS)
    beyond = (least > high) | (most < low) | (least > most)
    note_fault(faults, _any(owners, beyond, len(faults)), IMPOSSIBLE_EXTREMES)
    new_low, new_high = np.fmax(new_low, least), np.fmin(new_high, most)
    note_fault(faults, _any(owners, new_low > new_high, len(faults)), IMPOSSIBLE_EXTREMES)
    right = faults[owners] == RIGHT
    return _Buckets(owners[right], new_low[right], new_high[right], counts[right])


def _spread(buckets: _Buckets, said: Said, totals: FloatArray, n: int) -> Histograms:
    """Every bucket's values over the bins of SPREAD_SCALE, a value of each histogram at its extremes where known."""
    owners, low, high, counts = buckets
    first, last = np.diff(owners, prepend=-1) > 0, np.diff(owners, append=n) > 0
    several = totals[owners] > 1
    at_least = (first & ~np.isnan(said.minima[owners])).astype(np.int64)
    at_most = (last & several & ~np.isnan(said.maxima[owners])).astype(np.int64)
    # Of a bucket around 0 the part below is one of negative values.
    across = (low < 0) & (high > 0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        below = np.rint(counts * np.where(across, -low / (high - low), 0.0))
    below = np.where(across, np.clip(np.nan_to_num(below), at_least, counts - at_most), np.where(high <= 0, counts, 0))
    below = np.where((low == 0) & (high == 0), 0, below).astype(np.int64)
    above = counts - below
    negative, positive = np.flatnonzero(below), np.flatnonzero(above)
    zeros = np.zeros(n, np.int64)
    runs: list[Runs] = []
    for rows, held, near, far, at_near, at_far in (
        (negative, below, -np.minimum(high, 0.0), -low, at_most, at_least),
        (positive, above, np.maximum(low, 0.0), high, at_least, at_most),
    ):
        # The part of a bucket around 0 that ends there has no extreme at that end.
        inner = across[rows]
        bins, amounts, parts = _pieces(
            near[rows], far[rows], held[rows], np.where(inner, 0, at_near[rows]), at_far[rows]
        )
        pieces_of = owners[rows][parts]
        at_zero = bins == _AT_ZERO
        np.add.at(zeros, pieces_of[at_zero], amounts[at_zero])
        runs.append(Runs.of_pairs(pieces_of[~at_zero], bins[~at_zero], amounts[~at_zero], n))
    return Histograms(np.full(n, SPREAD_SCALE), runs[0], runs[1], zeros, said.minima, said.maxima, said.sums)


def _pieces(
    near: FloatArray, far: FloatArray, counts: IntArray, at_near: IntArray, at_far: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Bins, counts and place of the interval of each piece of intervals of magnitudes, near <= far; _AT_ZERO is 0.

    at_near, at_far: how many of the values are at the very ends; the others are spread evenly.
    """
    bins = bins_of(SPREAD_SCALE)
    first, last = (kernels().cells_of(ends, bins).astype(np.int64) - bins.first_cell for ends in (near, far))
    start = np.where(far == 0, last, np.maximum(first, last - _MOST_PIECES))
    sizes = last - start + 1
    stops, every = np.cumsum(sizes), np.arange(len(sizes))
    parts, rest = np.repeat(every, sizes), counts - at_near - at_far
    pieces = ranges(start, sizes)
    uppers = _uppers(pieces)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.nan_to_num((uppers - near[parts]) / (far - near)[parts])
    reached = np.rint(np.clip(shares, 0.0, 1.0) * rest[parts]).astype(np.int64)
    reached[stops - 1] = rest
    before = np.concatenate([[0], reached])[:-1]
    before[stops - sizes] = 0
    amounts = np.concatenate([reached - before, at_near, at_far])
    owners = np.concatenate([parts, every, every])
    places = np.concatenate([np.where((far == 0)[parts], _AT_ZERO, pieces), _or_zero(first, near), _or_zero(last, far)])
    found = amounts > 0
    return places[found], amounts[found], owners[found]


def _uppers(pieces: IntArray) -> FloatArray:
    """Upper bounds of bins; those of one batch repeat, and are worked out once each where that is less work."""
    bins = bins_of(SPREAD_SCALE)
    low, high = (int(pieces.min()), int(pieces.max())) if len(pieces) else (0, 0)
    if high - low >= len(pieces):
        return bins.bounds(pieces + bins.first_cell)[1]
    return bins.bounds(np.arange(low, high + 1) + bins.first_cell)[1][pieces - low]


def _or_zero(bins: IntArray, ends: FloatArray) -> IntArray:
    return np.where(ends == 0, _AT_ZERO, bins)
