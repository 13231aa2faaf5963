"""Sketches as bytes that cost little to write and to read: what a column of sketches in a stream holds.

A dense body (FORMAT.md draws it) is a head of 56 bytes and two runs of counts, of the values below zero and above, in
the smallest of four widths: histograms of OpenTelemetry and Prometheus are such runs. Written and read together they
take about a third of what bodies of codec.py take, which are smaller and have one form only, and therefore are what is
stored. A body counts fewer than 2**40 values, so that no number of them adds up to more than a sketch can count.
No step loops over bodies in Python.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quantiles.array_types import FloatArray, IntArray, as_groups
from quantiles.bins import MAX_SCALE, bins_of
from quantiles.errors import SampleError
from quantiles.sketch_parts import offsets_of

FORM: Final = 0xD1  # no body of codec.py begins so: that would be half a varint
VALUES_LIMIT: Final = 1 << 40
HEAD: Final = np.dtype(
    [
        ("form", "u1"), ("scale", "u1"), ("width", "u1"), ("spare", "u1"),
        ("negative_first", "<i4"), ("negative", "<u4"), ("positive_first", "<i4"), ("positive", "<u4"),
        ("spares", "<u4"), ("zeros", "<i8"), ("minimum", "<f8"), ("maximum", "<f8"), ("sum", "<f8"),
    ]
)  # fmt: skip
_NO_BIN: Final = 1 << 40
_MOST_BINS: Final = 2 * bins_of(MAX_SCALE).infinity_cell
WIDTHS: Final = (1, 2, 4, 8)
ALIGNED: Final = 8
_MOST_OF_WIDTHS: Final = np.array([0xFF, 0xFFFF, 0xFFFFFFFF])


class Runs(NamedTuple):
    """Counts of one sign: sketch i has counts[offsets[i]:offsets[i + 1]], int64, of the bins from firsts[i] on.

    Bins are those of the magnitudes, numbered as in OpenTelemetry: bin k of scale s holds 2**(k / 2**s) < |x| <=
    2**((k + 1) / 2**s).
    """

    firsts: IntArray
    offsets: IntArray
    counts: IntArray

    @staticmethod
    def none(n: int) -> "Runs":
        """No counts of n sketches."""
        return Runs(np.zeros(n, np.int64), np.zeros(n + 1, np.int64), np.zeros(0, np.int64))

    @staticmethod
    def of_pairs(owners: IntArray, bins: IntArray, counts: IntArray, n: int) -> "Runs":
        """Counts of n sketches told one by one: which sketch, which bin, how many; in any order, also twice.

        Raises:
            SampleError: a sketch outside 0..n-1, or bins further apart than those of any scale can be.
        """
        codes = as_groups(owners, len(bins), n)
        low, high = np.full(n, _NO_BIN), np.full(n, -_NO_BIN)
        np.minimum.at(low, codes, bins)
        np.maximum.at(high, codes, bins)
        sizes = np.maximum(high - low + 1, 0)
        if sizes.max(initial=0) > _MOST_BINS:
            raise SampleError(f"bins of one sketch are {int(sizes.max())} apart; no scale has as many")
        firsts, offsets = np.where(sizes > 0, low, 0), offsets_of(sizes)
        found = np.zeros(int(offsets[-1]), np.int64)
        np.add.at(found, bins + (offsets[:-1] - firsts)[codes], counts)
        return Runs(firsts, offsets, found)

    @property
    def sizes(self) -> IntArray:
        """How many bins each run has."""
        return np.diff(self.offsets)


class Histograms(NamedTuple):
    """n sketches as runs of bins; no run begins or ends with 0. Extremes are NaN and sums 0 where there is no value.

    scales: int64[n], each 0..8.
    """

    scales: IntArray
    negative: Runs
    positive: Runs
    zeros: IntArray
    minima: FloatArray
    maxima: FloatArray
    sums: FloatArray


def encode_dense(histograms: Histograms) -> tuple[bytes, IntArray]:
    """The bodies one behind the other, and their sizes in bytes, int64[n]; the caller vouches for the histograms."""
    negative, positive = histograms.negative, histograms.positive
    most = np.maximum(_largest(negative), _largest(positive))
    places = np.searchsorted(_MOST_OF_WIDTHS, most)
    widths = np.array(WIDTHS)[places]
    counted = (negative.sizes + positive.sizes) * widths
    sizes = HEAD.itemsize + -(-counted // ALIGNED) * ALIGNED
    starts = np.cumsum(sizes) - sizes
    heads = np.zeros(len(sizes), HEAD)
    heads["form"], heads["scale"], heads["width"] = FORM, histograms.scales, widths
    heads["negative_first"], heads["negative"] = negative.firsts, negative.sizes
    heads["positive_first"], heads["positive"] = positive.firsts, positive.sizes
    heads["zeros"], heads["sum"] = histograms.zeros, histograms.sums
    heads["minimum"], heads["maximum"] = histograms.minima, histograms.maxima
    words = np.zeros(int(sizes.sum()) // ALIGNED, np.int64)
    of_heads = HEAD.itemsize // ALIGNED
    words[(starts // ALIGNED)[:, None] + np.arange(of_heads)] = heads.view(np.int64).reshape(-1, of_heads)
    begins = starts + HEAD.itemsize
    for place, width in enumerate(WIDTHS):
        rows = np.flatnonzero(places == place)
        if len(rows):
            target = words.view(f"<u{width}")
            for run, begin in ((negative, begins), (positive, begins + negative.sizes * widths)):
                _put(target, begin[rows] // width, run, rows)
    return words.tobytes(), sizes


def _largest(run: Runs) -> IntArray:
    """The largest count of each run, 0 of none."""
    largest = np.zeros(len(run.firsts), np.int64)
    filled = run.sizes > 0
    if len(run.counts):
        largest[filled] = np.maximum.reduceat(run.counts, run.offsets[:-1][filled])
    return largest


def _put(target: npt.NDArray[np.unsignedinteger], begins: IntArray, run: Runs, rows: IntArray) -> None:
    """The runs of some rows, in order, into places that begin there."""
    sizes = run.sizes[rows]
    if not sizes.any():
        return
    counts = run.counts if len(rows) == len(run.firsts) else run.counts[ranges(run.offsets[:-1][rows], sizes)]
    target[ranges(begins, sizes)] = counts


def ranges(begins: IntArray, sizes: IntArray, step: int = 1) -> IntArray:
    """begins[i], begins[i] + step, ... of each i, sizes[i] numbers."""
    ends = np.cumsum(sizes)
    places = np.repeat(begins - (ends - sizes) * step, sizes)
    steps = np.arange(len(places))
    places += steps if step == 1 else steps * step
    return places
