"""Histograms of OpenTelemetry, many at a time: bucket counts off the wire, and what makes them bodies of sketches.

Bounded in memory: a block holds so many bytes of counts, and bounds far apart are refused before they are spread.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quantiles.array_types import BoolArray, FloatArray, IntArray
from quantiles.dense_bodies import VALUES_LIMIT, Runs
from quantiles.explicit_bodies import SPREAD_SCALE, explicit_bodies
from quantiles.histogram_bodies import Bodies, Said, exponential_bodies
from quantiles.sketch_parts import offsets_of

#: Counts of one sign, or of an explicit histogram, in bytes on the wire.
LONGEST_COUNTS: Final = 2**17
_LONGEST_VARINT: Final = 10
_INFINITY: Final = np.array([np.inf]).tobytes()
_OF_EIGHT: Final = 8
# A bucket is spread over at most ten octaves below its bound (quantiles/explicit_bodies.py).
_SPREAD_OCTAVES: Final = 10
MOST_SPREAD: Final = 2**15


class Exponential(NamedTuple):
    """n exponential histograms; arrays of n, runs of n."""

    scales: IntArray
    negative: Runs
    positive: Runs
    zeros: IntArray
    counts: IntArray
    said: Said
    zero_thresholds: FloatArray

    def unlike_their_counts(self) -> BoolArray:
        """Those whose buckets do not hold what their count says, or what no histogram can hold."""
        held, wrong = self.zeros.copy(), (self.zeros < 0) | (self.counts < 0) | (self.counts >= VALUES_LIMIT)
        for run in (self.negative, self.positive):
            held += sums_of(run.counts, run.offsets)
            # Read as unsigned, negative ones are large: a sum of none that is cannot have wrapped around.
            if len(run.counts) and int(run.counts.view(np.uint64).max()) > VALUES_LIMIT // LONGEST_COUNTS:
                wrong |= sums_of(run.counts.view(np.uint64).astype(np.float64), run.offsets) >= VALUES_LIMIT
        differ: BoolArray = held != self.counts
        return wrong | differ

    def bodies(self) -> Bodies:
        """Bodies, or the fault of each."""
        return exponential_bodies(
            self.scales, self.negative, self.positive, self.zeros, self.said, self.zero_thresholds
        )


class Explicit(NamedTuple):
    """n histograms with explicit bounds, +Inf the last of each; `offsets` into bounds and counts."""

    bounds: FloatArray
    counts: IntArray
    offsets: IntArray
    said: Said

    def bodies(self) -> Bodies:
        """Bodies, or the fault of each."""
        return explicit_bodies(self.bounds, self.counts, self.offsets, self.said)


def varint_runs(firsts: Sequence[int], chunks: Sequence[bytes]) -> tuple[Runs, BoolArray]:
    """Packed counts as runs, and which of the chunks are no varints; those are empty."""
    counts, sizes, wrong = _varints(chunks)
    return Runs(np.array(firsts, np.int64), offsets_of(sizes), counts), wrong


def sums_of(values: IntArray | FloatArray, offsets: IntArray) -> npt.NDArray[Any]:
    """What the values of each run add up to."""
    sums = np.zeros(len(offsets) - 1, values.dtype)
    filled = offsets[1:] > offsets[:-1]
    if len(values):
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled])
    return sums


def explicit_parts(count: int, counts: bytes, bounds: bytes) -> tuple[bytes, bytes] | None:
    """Counts and bounds of one explicit histogram, +Inf the last bound; None where they do not fit."""
    if not counts and not bounds:
        return count.to_bytes(_OF_EIGHT, "little"), _INFINITY
    if len(counts) % _OF_EIGHT or len(bounds) % _OF_EIGHT:
        return None
    if len(counts) == len(bounds) + _OF_EIGHT:
        return counts, bounds + _INFINITY
    return (counts, bounds) if len(counts) == len(bounds) and bounds.endswith(_INFINITY) else None


def spread_of(bounds: bytes) -> int:
    """About how many bins the bounds of one histogram span, an upper bound of what it takes in memory."""
    values = np.abs(np.frombuffer(bounds, "<f8"))
    values = values[(values > 0) & np.isfinite(values)]
    if not len(values):
        return 1
    octaves = int(np.frexp(values.max())[1]) - int(np.frexp(values.min())[1])
    return 2 * (octaves + _SPREAD_OCTAVES + 1) << SPREAD_SCALE


def _varints(chunks: Sequence[bytes]) -> tuple[IntArray, IntArray, BoolArray]:
    data = np.frombuffer(b"".join(chunks), np.uint8)
    lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
    stops = np.cumsum(lengths)
    is_last = data < 128
    ends = np.flatnonzero(is_last)
    wrong = np.zeros(len(chunks), np.bool_)
    filled = lengths > 0
    wrong[filled] = ~is_last[stops[filled] - 1]
    widths = ends.copy()
    widths[1:] -= ends[:-1]
    widths[:1] += 1
    if not wrong.any() and len(widths) and int(widths.max()) > _LONGEST_VARINT:
        wrong[np.searchsorted(stops, ends[widths > _LONGEST_VARINT], side="right")] = True
    if wrong.any():
        counts, sizes, _ = _varints([b"" if bad else chunk for bad, chunk in zip(wrong.tolist(), chunks, strict=True)])
        return counts, sizes, wrong
    sizes = np.diff(np.searchsorted(ends, stops), prepend=0)
    return _values(data, ends, widths), sizes, wrong


def _values(data: np.ndarray[tuple[int], np.dtype[np.uint8]], ends: IntArray, widths: IntArray) -> IntArray:
    """One pass a byte position, each over those numbers that are as long."""
    if len(ends) == len(data):
        return data.astype(np.int64)
    values = data[ends].astype(np.int64)
    rows = np.flatnonzero(widths > 1)
    places, left = ends[rows] - 1, widths[rows] - 1
    while len(rows):
        values[rows] = (values[rows] << 7) | (data[places] & 127)
        more = left > 1
        rows, places, left = rows[more], places[more] - 1, left[more] - 1
    return values
