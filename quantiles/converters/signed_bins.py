"""Exponential histograms free of any format: bins by sign, and the way from there to a sketch and back.

Bins are numbered as in OpenTelemetry: bin k of scale s holds 2**(k / 2**s) < |x| <= 2**((k+1) / 2**s). Halving the
resolution is k >> 1, exact at any scale, so a source finer than scale 8 loses nothing but its resolution.
Invariant: what a converter reads passes sketch_parts.checked before anybody sees it as a sketch.
"""

from dataclasses import dataclass

import numpy as np

from quantiles.array_types import FloatArray, IntArray
from quantiles.bins import LOWEST_OCTAVE, MAX_SCALE, OVERFLOW_OCTAVE, bins_of
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.converters.errors import ConversionError
from quantiles.errors import CorruptSketchError
from quantiles.sketch import Sketch

LARGEST_SHIFT = 63  # a right shift of an int64 by more is not defined, and by so much leaves -1 or 0 as it should


@dataclass(frozen=True, slots=True, eq=False)
class BinCounts:
    """The values of one sign: bins int64[m] ascending, counts int64[m], each at least 1."""

    bins: IntArray
    counts: IntArray

    @staticmethod
    def of(bins: IntArray, counts: IntArray) -> "BinCounts":
        """Bins in any order, also twice or with count 0; counts are not negative and below 2**62 in total."""
        filled = counts > 0
        distinct, place = np.unique(bins[filled], return_inverse=True)
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, place, counts[filled])
        return BinCounts(distinct, total)

    def coarser(self, halvings: int) -> "BinCounts":
        """The same values in bins 2**halvings times as wide (in the logarithm)."""
        return BinCounts.of(self.bins >> min(halvings, LARGEST_SHIFT), self.counts) if halvings else self

    def dense(self) -> tuple[int, IntArray]:
        """The first bin and the counts from there to the last bin, empty ones included; (0, []) without bins."""
        if not len(self.bins):
            return 0, np.zeros(0, np.int64)
        first = int(self.bins[0])
        counts = np.zeros(int(self.bins[-1]) - first + 1, np.int64)
        counts[self.bins - first] = self.counts
        return first, counts


NO_BINS = BinCounts(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class SignedBins:
    """A histogram: finite values by sign, and what fits no bin. None where a source does not say.

    scale: 0 or more, and above 8 only on the way in.
    """

    scale: int
    negative: BinCounts = NO_BINS
    positive: BinCounts = NO_BINS
    zero_count: int = 0
    minus_infinite: int = 0
    plus_infinite: int = 0
    nan_count: int = 0
    minimum: float | None = None
    maximum: float | None = None
    total: float | None = None

    @property
    def finite_count(self) -> int:
        """Values other than NaN and the infinities."""
        return self.zero_count + int(self.negative.counts.sum()) + int(self.positive.counts.sum())

    @property
    def count_bound(self) -> float:
        """All values, NaN too, in floats that cannot wrap: what to compare with the most that a sketch counts."""
        sides = self.negative.counts.sum(dtype=np.float64) + self.positive.counts.sum(dtype=np.float64)
        return float(sides) + self.zero_count + self.minus_infinite + self.plus_infinite + self.nan_count

    def at_scale(self, scale: int) -> "SignedBins":
        """The same at this scale or a coarser one."""
        halvings = self.scale - scale
        return SignedBins(
            scale, self.negative.coarser(halvings), self.positive.coarser(halvings), self.zero_count,
            self.minus_infinite, self.plus_infinite, self.nan_count, self.minimum, self.maximum, self.total,
        )  # fmt: skip

    def cells(self) -> BinCounts:
        """All values but NaN in the cells of bins.py, from -Inf to +Inf.

        Raises:
            CorruptSketchError: a bin in which no float64 lies.
        """
        bins = bins_of(self.scale)
        for side, sign in ((self.negative, "negative"), (self.positive, "positive")):
            refuse_unreachable(side.bins, self.scale, sign)
        middle = np.array([-bins.infinity_cell, 0, bins.infinity_cell], np.int64)
        apart = np.array([self.minus_infinite, self.zero_count, self.plus_infinite], np.int64)
        return BinCounts.of(
            np.concatenate([-(self.negative.bins + bins.first_cell), middle, self.positive.bins + bins.first_cell]),
            np.concatenate([self.negative.counts, apart, self.positive.counts]),
        )


def signed_bins(sketch: Sketch, scale: int | None) -> SignedBins:
    """What a sketch holds, at its own scale or a coarser one; minimum, maximum and total as it has them.

    Raises:
        ScaleError: the scale is not an integer in 0..8.
        ConversionError: the scale is finer than the sketch's.
    """
    column = sketch.column()
    wanted = sketch.scale if scale is None else bins_of(scale).scale
    if wanted > sketch.scale:
        raise ConversionError(f"scale {wanted} is finer than the sketch's {sketch.scale}; wanted at most that")
    first, infinite = bins_of(sketch.scale).first_cell, bins_of(sketch.scale).infinity_cell
    cells, counts = column.cells.astype(np.int64), column.counts
    below, above = (cells < 0) & (cells > -infinite), (cells > 0) & (cells < infinite)
    return SignedBins(
        sketch.scale,
        BinCounts(-cells[below][::-1] - first, counts[below][::-1]),
        BinCounts(cells[above] - first, counts[above]),
        int(counts[cells == 0].sum()),
        int(counts[cells == -infinite].sum()),
        int(counts[cells == infinite].sum()),
        sketch.nan_count,
        sketch.min if sketch.count else None,
        sketch.max if sketch.count else None,
        float(sketch.sum),
    ).at_scale(wanted)


def refuse_unreachable(bins: IntArray, scale: int, sign: str) -> None:
    """Refuses a bin in which no float64 lies; `scale` is at most 8.

    Raises:
        CorruptSketchError: naming the bin.
    """
    lowest, highest = ((1 - LOWEST_OCTAVE) << scale) - 1, (OVERFLOW_OCTAVE << scale) - 1
    wrong = bins[(bins < lowest) | (bins > highest)]
    if len(wrong):
        raise CorruptSketchError(
            f"{sign} bin {int(wrong[0])} of scale {scale} counts values, but no float64 lies in it; "
            f"wanted bins {lowest} to {highest}: its index, offset or scale is wrong"
        )


def readable_scale(scale: int, what: str) -> int:
    """The scale at which a histogram of this scale is read: itself, or 8 if it is finer.

    Raises:
        ConversionError: it is coarser than 0.
    """
    if scale < 0:
        raise ConversionError(f"{what} is {scale}, wanted 0 or more: a sketch has no bins so coarse; raise it there")
    return min(scale, MAX_SCALE)


def whole_counts(counts: FloatArray, factor: float | None) -> tuple[IntArray, float]:
    """Counts as integers, and the share of all values by which rounding may have moved a rank.

    Args:
        counts: float64[n] as a source gives them.
        factor: None if they must be whole already, else what to multiply them by before they are rounded.
    Raises:
        CorruptSketchError: a count is negative or not finite, or they are 2**62 and more in total.
        ConversionError: a count is not whole and no factor was given, or nothing is left of the counts by rounding.
    """
    if not np.all((counts >= 0) & (counts < np.inf)):
        wrong = float(counts[np.argmin((counts >= 0) & (counts < np.inf))])
        raise CorruptSketchError(f"a count is {wrong}, wanted a finite number from 0 on: the histogram is damaged")
    if factor is not None and not 0 < factor < np.inf:
        raise ConversionError(f"count_factor is {factor}, wanted a finite number above 0")
    with np.errstate(over="ignore"):
        scaled = counts if factor is None else counts * factor
        total = float(scaled.sum())
    if total >= COUNT_LIMIT:
        raise CorruptSketchError(f"counts add up to {total:.3e}, wanted less than 2**62: the histogram is damaged")
    whole = np.rint(scaled)
    change = float(np.abs(whole - scaled).sum())
    if change and factor is None:
        part = float(scaled[np.argmax(whole != scaled)])
        raise ConversionError(f"a count is {part}, wanted whole ones: pass count_factor (1, or the seconds of a rate)")
    if total and not whole.any():
        raise ConversionError(f"counts of {total:.3g} in total round to nothing: pass a larger count_factor")
    return whole.astype(np.int64), change / total if total else 0.0
