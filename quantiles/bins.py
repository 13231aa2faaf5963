"""Exponential bins at scale s: the map between a value and its cell, the one ordered integer per bin.

Bin k holds 2**(k / 2**s) < x <= 2**((k+1) / 2**s), so with gamma = 2**(2**-s) each x in it lies within a
relative (gamma-1)/(gamma+1) of the bin's representative: 0.5415 % at s = 6. Bounds and numbering are those
of the OpenTelemetry exponential histogram. Cells put all values in one order:

    cell(0) = 0,   cell(x) = k + 1075 * 2**s + 1 >= 1 for x > 0,   cell(-x) = -cell(x),   cell(+Inf) = 2099 * 2**s + 1

Every bound comes from integer square roots, never from libm's pow, so that all machines agree on it.
Invariant: x < y implies cell(x) <= cell(y). Elsewhere: the loops over values live in _kernels/.
"""

from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import cast

import numpy as np

from quantiles.array_types import CellArray, FloatArray, IntArray
from quantiles.errors import ScaleError

MIN_SCALE, MAX_SCALE, DEFAULT_SCALE = 0, 8, 6

MANTISSA_BITS = 52
HIDDEN_BIT = 1 << MANTISSA_BITS
EXPONENT_BIAS = 1023
LOWEST_OCTAVE = 1075  # the smallest subnormal is 2**-1074: the upper end of octave -1075
OVERFLOW_OCTAVE = 1024  # +Inf sits in the first bin of it
MAX_FINITE_BITS = (2047 << MANTISSA_BITS) - 1
CORE_FIRST_OCTAVE, CORE_OCTAVES = -20, 64  # where telemetry lies: counted in a dense table, see dense_counts.py
CORE_LOW, CORE_HIGH = 2.0**CORE_FIRST_OCTAVE, 2.0 ** (CORE_FIRST_OCTAVE + CORE_OCTAVES)  # open below, closed above
REPRESENTATIVE_BITS = 64  # working precision of the representatives, 11 bits more than a float64 keeps


@dataclass(frozen=True, slots=True)
class Bins:
    """The tables of one scale; get them from `bins_of`, which builds each once.

    mantissas[j], j in 0..2**s: the largest 52-bit fraction of a float64 that is <= 2**(j / 2**s).
    sub_bins[c], thresholds[c], c in 0..2**(s+1)-1: a slice c of the mantissa range (its top s+1 bits) holds at most
    one bin bound, because the narrowest bin is ln(2) / 2**s wide and a slice 1 / 2**(s+1). A mantissa m of slice c
    lies in sub-bin sub_bins[c] + (m >= thresholds[c]).
    """

    scale: int
    mantissas: IntArray
    sub_bins: IntArray
    thresholds: IntArray
    middles: FloatArray
    error_bound: float

    @property
    def slice_shift(self) -> int:
        """Right shift that leaves exponent and slice of a float64's bits."""
        return MANTISSA_BITS - self.scale - 1

    @property
    def first_cell(self) -> int:
        """Cell of bin 0: what to add to a bin number k to get its cell."""
        return (LOWEST_OCTAVE << self.scale) + 1

    @property
    def core_cell(self) -> int:
        """The lowest cell of the core."""
        return (CORE_FIRST_OCTAVE << self.scale) + self.first_cell

    @property
    def infinity_cell(self) -> int:
        """Cell of +Inf: the largest there is."""
        return (OVERFLOW_OCTAVE << self.scale) + self.first_cell

    def bounds(self, cells: CellArray | IntArray) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of each cell, float64[n] each, as floats not above the true magnitudes.

        For a positive cell the lower end is outside and the upper one inside, for a negative cell the reverse.
        Cell 0 is (0, 0); the infinite cells run from the largest finite value to infinity.
        """
        bins = np.abs(cells.astype(np.int64)) - self.first_cell
        infinite = bins == OVERFLOW_OCTAVE << self.scale
        small, large = self._edges(bins), np.where(infinite, np.inf, self._edges(bins + 1))
        negative = cells < 0  # cell 0 needs no case: its bin is below the smallest subnormal, so both its ends are 0
        return np.where(negative, -large, small), np.where(negative, -small, large)

    def _edges(self, bins: IntArray) -> FloatArray:
        """The largest finite float64 <= 2**(k / 2**s) for each k."""
        octave, sub_bin = bins >> self.scale, bins & ((1 << self.scale) - 1)
        significand = HIDDEN_BIT + self.mantissas[sub_bin]
        lost_bits = np.clip(1 - EXPONENT_BIAS - octave, 0, MANTISSA_BITS + 1)  # > 0 among the subnormals only
        raised = np.maximum(octave + EXPONENT_BIAS - 1, 0) << MANTISSA_BITS  # the hidden bit adds the missing one
        bits: IntArray = np.minimum(raised + (significand >> lost_bits), MAX_FINITE_BITS)
        return bits.view(np.float64)

    def representatives(self, cells: CellArray | IntArray) -> FloatArray:
        """The value that stands for each cell: the harmonic mean 2*lo*hi/(lo+hi) of its ends, float64[n].

        It is within `error_bound` (relative) of every value of the cell; among the subnormals rounding to one
        adds up to 2**-1075.
        """
        bins = np.abs(cells.astype(np.int64)) - self.first_cell
        octave = (bins >> self.scale).astype(np.int32)
        with np.errstate(over="ignore", under="ignore"):  # +Inf overflows to itself, cell 0 underflows to 0
            middle = np.ldexp(self.middles[bins & ((1 << self.scale) - 1)], octave)
        return cast("FloatArray", np.copysign(middle, cells))


@cache
def bins_of(scale: int) -> Bins:
    """The bins of a scale, built on first use.

    Raises:
        ScaleError: the scale is not an integer in 0..8.
    """
    if scale not in range(MIN_SCALE, MAX_SCALE + 1):
        raise ScaleError(f"scale is {scale!r}, wanted an integer from {MIN_SCALE} to {MAX_SCALE}; 6 is the usual one")
    n = 1 << scale
    mantissas = np.array([_root_of_two(j, scale, MANTISSA_BITS) - HIDDEN_BIT for j in range(n + 1)], np.int64)
    slice_starts = np.arange(2 * n, dtype=np.int64) << (MANTISSA_BITS - scale - 1)
    sub_bins = np.searchsorted(mantissas, slice_starts, side="right") - 1
    one = 1 << REPRESENTATIVE_BITS
    gamma = _root_of_two(1, scale, REPRESENTATIVE_BITS)
    middles = [2 * _root_of_two(j, scale, REPRESENTATIVE_BITS) * gamma / ((one + gamma) << 64) for j in range(n)]
    return Bins(scale, mantissas, sub_bins, mantissas[sub_bins + 1], np.array(middles), (gamma - one) / (gamma + one))


def _root_of_two(j: int, scale: int, bits: int) -> int:
    """floor(2**(j / 2**scale) * 2**bits): a 2**scale-th root is `scale` square roots, and floors nest."""
    root = 1 << (j + (bits << scale))
    for _ in range(scale):
        root = isqrt(root)
    return root
