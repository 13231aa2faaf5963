"""Exponential histograms as dense bodies, many at a time: what sources put into columns of sketches.

The bins of OpenTelemetry and of Prometheus' native histograms are ours, so nothing is lost; from scale 9 on they come
at scale 8.
What a histogram does not say (NaN) is worked out from its bins: minimum and maximum within the bound of a quantile, the
sum within it times sum|x|. A histogram that no values have is refused with its reason, the others are not touched.
"""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.array_types import BoolArray, ByteArray, FloatArray, IntArray
from quantiles.bins import LOWEST_OCTAVE, MAX_SCALE, OVERFLOW_OCTAVE, bins_of
from quantiles.dense_bodies import VALUES_LIMIT, Histograms, Runs, encode_dense, ranges
from quantiles.errors import SampleError
from quantiles.sketch_parts import offsets_of

#: What a fault of a histogram means, by its number; 0 is none.
FAULTS: Final = (
    "",
    "scale_too_coarse",
    "negative_count",
    "too_many_values",
    "impossible_bucket",
    "impossible_extremes",
    "sum_without_values",
    "bounds_not_ascending",
    "no_bounds",
)
(
    RIGHT, SCALE_TOO_COARSE, NEGATIVE_COUNT, TOO_MANY_VALUES, IMPOSSIBLE_BUCKET, IMPOSSIBLE_EXTREMES,
    SUM_WITHOUT_VALUES, BOUNDS_NOT_ASCENDING, NO_BOUNDS,
) = range(len(FAULTS))  # fmt: skip
_LARGEST_SHIFT: Final = 62
_SMALLEST_NORMAL: Final = sys.float_info.min


class Said(NamedTuple):
    """What n histograms say of themselves beside their buckets; NaN where they do not. float64[n] each."""

    sums: FloatArray
    minima: FloatArray
    maxima: FloatArray

    @staticmethod
    def nothing(n: int) -> "Said":
        """Of n histograms that say nothing."""
        return Said(np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan))


class Bodies(NamedTuple):
    """Dense bodies one behind the other, the size of each, and its fault, a place in FAULTS; with one it has size 0."""

    data: bytes
    lengths: IntArray
    faults: ByteArray

    @staticmethod
    def joined(parts: "Sequence[Bodies]") -> "Bodies":
        """Those of several batches."""
        if not parts:
            return Bodies(b"", np.zeros(0, np.int64), np.zeros(0, np.uint8))
        return Bodies(
            b"".join(one.data for one in parts),
            np.concatenate([one.lengths for one in parts]),
            np.concatenate([one.faults for one in parts]),
        )


def exponential_bodies(
    scales: IntArray,
    negative: Runs,
    positive: Runs,
    zeros: IntArray,
    said: Said,
    zero_thresholds: FloatArray | None = None,
) -> Bodies:
    """Exponential histograms as bodies.

    Args:
        scales: int64[n]; below 0 is refused, above 8 is brought to 8, exactly.
        negative, positive: bins with OpenTelemetry's numbers, whose counts may be 0; `Runs.of_pairs` makes them of
            (histogram, bin, count).
        zeros: int64[n], how many values are 0, or within zero_thresholds of it.
        said: an extreme outside its bucket is moved into it where rounding explains that, else refused.
    Raises:
        SampleError: arrays that do not fit together.
    """
    n = len(scales)
    if any(len(part) != n for part in (negative.firsts, positive.firsts, zeros, *said)):
        raise SampleError(f"parts of {n} histograms have other lengths; wanted one entry of each per histogram")
    faults = np.zeros(n, np.uint8)
    note_fault(faults, scales < 0, SCALE_TOO_COARSE)
    note_fault(faults, zeros < 0, NEGATIVE_COUNT)
    totals = zeros.astype(np.float64)
    for run in (negative, positive):
        if len(run.counts) and int(run.counts.min()) < 0:
            owners = np.repeat(np.arange(n), run.sizes)
            note_fault(faults, np.bincount(owners[run.counts < 0], minlength=n) > 0, NEGATIVE_COUNT)
        filled = run.sizes > 0
        if filled.any():
            totals[filled] += np.add.reduceat(run.counts.astype(np.float64), run.offsets[:-1][filled])
    note_fault(faults, totals >= VALUES_LIMIT, TOO_MANY_VALUES)
    right = faults == RIGHT
    below, above = (
        _trimmed(_coarser(run if right.all() else _only(run, right), np.where(right, scales, 0)))
        for run in (negative, positive)
    )
    own = np.clip(scales, 0, MAX_SCALE)
    found = Histograms(own, below, above, np.where(right, zeros, 0), said.minima, said.maxima, said.sums)
    return bodies_of(found, totals, faults, np.zeros(n) if zero_thresholds is None else zero_thresholds)


def note_fault(faults: ByteArray, wrong: BoolArray, fault: int) -> None:
    """The first fault found of each stands."""
    faults[wrong & (faults == RIGHT)] = fault


def _only(run: Runs, kept: BoolArray) -> Runs:
    """The runs of some histograms, and empty ones of the others."""
    sizes = np.where(kept, run.sizes, 0)
    return Runs(np.where(kept, run.firsts, 0), offsets_of(sizes), run.counts[np.repeat(kept, run.sizes)])


def _coarser(run: Runs, scales: IntArray) -> Runs:
    """Runs of scales above 8 at scale 8."""
    shifts = np.clip(scales - MAX_SCALE, 0, _LARGEST_SHIFT)
    if not shifts.any() or not len(run.counts):
        return run
    firsts = run.firsts >> shifts
    lasts = (run.firsts + np.maximum(run.sizes, 1) - 1) >> shifts
    offsets = offsets_of(np.where(run.sizes > 0, lasts - firsts + 1, 0))
    bins = ranges(run.firsts, run.sizes) >> np.repeat(shifts, run.sizes)
    places = bins + np.repeat(offsets[:-1] - firsts, run.sizes)
    return Runs(firsts, offsets, np.bincount(places, run.counts, int(offsets[-1])).astype(np.int64))


def _trimmed(run: Runs) -> Runs:
    """Without empty bins at either end."""
    filled = run.sizes > 0
    if not len(run.counts):
        return run
    begins, stops = run.offsets[:-1][filled], run.offsets[1:][filled]
    if run.counts[begins].all() and run.counts[stops - 1].all():
        return run
    counted = np.flatnonzero(run.counts)
    first, last = np.searchsorted(counted, run.offsets[:-1]), np.searchsorted(counted, run.offsets[1:]) - 1
    left = last >= first
    begin, stop = np.zeros(len(left), np.int64), np.zeros(len(left), np.int64)
    begin[left], stop[left] = counted[first[left]], counted[last[left]] + 1
    sizes = stop - begin
    firsts = np.where(left, run.firsts + begin - run.offsets[:-1], 0)
    return Runs(firsts, offsets_of(sizes), run.counts[ranges(begin, sizes)])


def bodies_of(found: Histograms, totals: FloatArray, faults: ByteArray, zero_thresholds: FloatArray) -> Bodies:
    """The bodies of those without a fault, once what they say is found to fit their bins."""
    lowest, highest = (1 - LOWEST_OCTAVE << found.scales) - 1, (OVERFLOW_OCTAVE << found.scales) - 1
    for run in (found.negative, found.positive):
        outside = (run.firsts < lowest) | (run.firsts + run.sizes - 1 > highest)
        note_fault(faults, (run.sizes > 0) & outside, IMPOSSIBLE_BUCKET)
    note_fault(faults, (totals == 0) & ~np.isnan(found.sums) & (found.sums != 0), SUM_WITHOUT_VALUES)
    usable = (faults == RIGHT) & (totals > 0)
    minima, maxima = _extremes(found, totals, usable, faults, zero_thresholds)
    right = faults == RIGHT
    sums = np.where(usable & np.isfinite(found.sums), found.sums, 0.0)
    guessed = right & usable & ~np.isfinite(found.sums)
    if guessed.any():
        sums[guessed] = _sums_of_bins(found, guessed)[guessed]
    kept = Histograms(
        found.scales, found.negative, found.positive, found.zeros,
        np.where(usable, minima, np.nan), np.where(usable, maxima, np.nan), sums,
    )  # fmt: skip
    if right.all():
        return Bodies(*encode_dense(kept), faults)
    data, sizes = encode_dense(_taken(kept, right))
    lengths = np.zeros(len(right), np.int64)
    lengths[right] = sizes
    return Bodies(data, lengths, faults)


def _taken(found: Histograms, kept: BoolArray) -> Histograms:
    negative, positive = (_only(run, kept) for run in (found.negative, found.positive))
    return Histograms(
        found.scales[kept],
        Runs(negative.firsts[kept], offsets_of(negative.sizes[kept]), negative.counts),
        Runs(positive.firsts[kept], offsets_of(positive.sizes[kept]), positive.counts),
        found.zeros[kept],
        found.minima[kept],
        found.maxima[kept],
        found.sums[kept],
    )


def _extremes(
    found: Histograms, totals: FloatArray, usable: BoolArray, faults: ByteArray, zero_thresholds: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum of each: as they are said, moved into their bins, or worked out from these."""
    to_cell = (LOWEST_OCTAVE << found.scales) + 1
    (below, above), zeros = (found.negative, found.positive), found.zeros > 0
    first = np.where(zeros | (above.sizes == 0), 0, above.firsts + to_cell)
    first = np.where(below.sizes > 0, -(below.firsts + below.sizes - 1 + to_cell), first)
    last = np.where(zeros | (below.sizes == 0), 0, -(below.firsts + to_cell))
    last = np.where(above.sizes > 0, above.firsts + above.sizes - 1 + to_cell, last)
    settled = []
    for cells, values in ((first, found.minima), (last, found.maxima)):
        ends = _floats_in(np.where(usable, cells, 0), found.scales)
        note_fault(faults, usable & (ends[0] > ends[1]), IMPOSSIBLE_BUCKET)
        settled.append(_settled(cells, ends, values, found.scales, usable, faults, zero_thresholds))
    low, high = settled
    low_said, high_said = ~np.isnan(found.minima), ~np.isnan(found.maxima)
    single = totals == 1
    note_fault(faults, usable & single & low_said & high_said & (low != high), IMPOSSIBLE_EXTREMES)
    high = np.where(~high_said & (single & low_said | (high < low)), low, high)  # an estimate gives way
    low = np.where(~low_said & (single | (low > high)), high, low)
    note_fault(faults, usable & (low > high), IMPOSSIBLE_EXTREMES)
    return low, high


def _settled(
    cells: IntArray,
    ends: tuple[FloatArray, FloatArray],
    values: FloatArray,
    scales: IntArray,
    usable: BoolArray,
    faults: ByteArray,
    zero_thresholds: FloatArray,
) -> FloatArray:
    """One extreme of each: within its cell."""
    lowest, highest = ends
    said = ~np.isnan(values)
    out = usable & said & ((values < lowest) | (values > highest))
    settled = np.where(said, values, 0.0) + 0.0  # never -0.0
    if out.any():
        rows = np.flatnonzero(out)
        own = _at_scales(values[rows], scales[rows])
        # Logarithms are rounded; subnormals may be kept with the smallest normal number, and small values at zero.
        near = np.abs(own - cells[rows]) <= 1
        smallest = _at_scales(np.full(len(rows), _SMALLEST_NORMAL), scales[rows])
        subnormal = (np.abs(values[rows]) < _SMALLEST_NORMAL) & (np.abs(cells[rows]) == smallest)
        at_zero = (cells[rows] == 0) & (np.abs(values[rows]) <= zero_thresholds[rows])
        wrong = ~(near | subnormal | at_zero) | np.isinf(values[rows])
        bad = np.zeros(len(out), np.bool_)
        bad[rows[wrong]] = True
        note_fault(faults, bad, IMPOSSIBLE_EXTREMES)
        settled[rows] = np.clip(values[rows], lowest[rows], highest[rows])
    unsaid = np.flatnonzero(usable & ~said)
    if len(unsaid):
        middles = _representatives(cells[unsaid], scales[unsaid])
        settled[unsaid] = np.clip(middles, lowest[unsaid], np.maximum(lowest, highest)[unsaid]) + 0.0
    return settled


def _floats_in(cells: IntArray, scales: IntArray) -> tuple[FloatArray, FloatArray]:
    """The smallest and the largest float64 of each cell; the wrong way round where there is none."""
    low, high = np.zeros(len(cells)), np.zeros(len(cells))
    for scale in np.unique(scales).tolist():
        rows = np.flatnonzero((scales == scale) & (cells != 0))
        below, upper = bins_of(scale).bounds(np.abs(cells[rows]))
        lowest = np.nextafter(below, np.inf)
        positive = cells[rows] > 0
        low[rows], high[rows] = np.where(positive, lowest, -upper), np.where(positive, upper, -lowest)
    return low, high


def _at_scales(values: FloatArray, scales: IntArray) -> IntArray:
    """The cell of each value at its scale."""
    cells = np.zeros(len(values), np.int64)
    for scale in np.unique(scales).tolist():
        rows = np.flatnonzero(scales == scale)
        cells[rows] = kernels().cells_of(values[rows], bins_of(scale))
    return cells


def _representatives(cells: IntArray, scales: IntArray) -> FloatArray:
    values = np.zeros(len(cells))
    for scale in np.unique(scales).tolist():
        rows = np.flatnonzero(scales == scale)
        values[rows] = bins_of(scale).representatives(cells[rows])
    return values


def _sums_of_bins(found: Histograms, wanted: BoolArray) -> FloatArray:
    """What the values of the wanted ones add up to if each is its bin's representative."""
    n = len(found.scales)
    sums = np.zeros(n)
    for sign, run in ((-1.0, found.negative), (1.0, found.positive)):
        for scale in np.unique(found.scales[wanted & (run.sizes > 0)]).tolist():
            mine = wanted & (run.sizes > 0) & (found.scales == scale)
            only, bins = _only(run, mine), bins_of(scale)
            low, high = int(run.firsts[mine].min()), int((run.firsts + run.sizes)[mine].max())
            # Bins of one batch repeat: each one's representative is worked out once.
            middles = bins.representatives(np.arange(low, high) + bins.first_cell)
            values = middles[ranges(only.firsts - low, only.sizes)]
            with np.errstate(over="ignore", invalid="ignore"):  # beyond all floats, perhaps on both sides
                values *= only.counts
                sums[mine] += sign * np.add.reduceat(values, only.offsets[:-1][mine])
    return np.nan_to_num(sums)
