"""Prometheus native histograms, schema 0 to 8: our bounds, with every bucket number one higher than ours.

Bucket i of schema s holds gamma**(i-1) < x <= gamma**i, which is bin i - 1. The bucket after the one of the largest
float64 holds the infinities. NaN are in the count and in no bucket, and they make the sum NaN. A zero bucket holds
|x| <= zero_threshold. Minimum and maximum are not kept. The JSON of the HTTP API is in prometheus_json.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import cast

import numpy as np

from quantiles.array_types import IntArray
from quantiles.bins import OVERFLOW_OCTAVE
from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.converters.errors import ConversionError
from quantiles.converters.outcomes import ReadSketch
from quantiles.converters.reading import sketch_of_bins
from quantiles.converters.signed_bins import BinCounts, SignedBins, readable_scale, signed_bins, whole_counts
from quantiles.errors import CorruptSketchError
from quantiles.sketch import Sketch

INDEX_SHIFT = 1  # a bucket's index less the number of the bin with its bounds
FINEST_SCHEMA, COARSEST_SCHEMA = 52, -9  # what Prometheus keeps for exponential schemas; it uses -4..8 itself
CUSTOM_BUCKETS = -53
INT32 = 1 << 31

# Float histograms come from arithmetic on counts: how far their count may be off the sum of their buckets, relatively.
COUNT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets in a row: `offset` empty ones before it (the first span: its first index), then `length` buckets."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A native histogram, fields as in Prometheus' own messages.

    It is an integer histogram if count is an int: buckets are then in *_deltas, each the difference to the one before,
    and *_counts are empty. With a float count it is a float histogram, buckets in *_counts, *_deltas empty.
    Negative buckets are numbered by magnitude, as the positive ones.
    """

    schema: int
    count: int | float
    sum: float
    zero_threshold: float = 0.0
    zero_count: int | float = 0
    negative_spans: tuple[Span, ...] = ()
    negative_deltas: tuple[int, ...] = ()
    negative_counts: tuple[float, ...] = ()
    positive_spans: tuple[Span, ...] = ()
    positive_deltas: tuple[int, ...] = ()
    positive_counts: tuple[float, ...] = ()

    @property
    def is_float(self) -> bool:
        """Whether counts are floats, and so may be fractional."""
        return isinstance(self.count, float)


def to_prometheus(sketch: Sketch, scale: int | None = None, as_float: bool = False) -> NativeHistogram:
    """The sketch as a native histogram; nothing is left out but minimum and maximum, and the sum where there are NaN.

    Args:
        scale: coarser than the sketch's, for servers that limit buckets; None for its own.
        as_float: a float histogram; its counts are exact up to 2**53.
    Raises:
        ConversionError: a scale finer than the sketch's.
    """
    bins = signed_bins(sketch, scale)
    overflow = OVERFLOW_OCTAVE << bins.scale
    negative_indexes, negative = _indexes(bins.negative, overflow, bins.minus_infinite)
    positive_indexes, positive = _indexes(bins.positive, overflow, bins.plus_infinite)
    count = bins.finite_count + bins.minus_infinite + bins.plus_infinite + bins.nan_count
    histogram = NativeHistogram(
        bins.scale, count, math.nan if bins.nan_count else cast("float", bins.total), 0.0, bins.zero_count,
        negative_spans=spans_of(negative_indexes), positive_spans=spans_of(positive_indexes),
    )  # fmt: skip
    if as_float:
        return replace(
            histogram, count=float(count), zero_count=float(bins.zero_count),
            negative_counts=tuple(map(float, negative)), positive_counts=tuple(map(float, positive)),
        )  # fmt: skip
    return replace(histogram, negative_deltas=_deltas(negative), positive_deltas=_deltas(positive))


def from_prometheus(
    histogram: NativeHistogram, scale: int | None = None, count_factor: float | None = None
) -> ReadSketch:
    """The sketch of a native histogram; its sum is a float sum, its minimum and maximum are estimates.

    Args:
        scale: of the sketch; None for the schema, or 8 where that is finer. Finer than the schema adds error.
        count_factor: what to multiply counts and sum by before counts are rounded to whole ones: 1 for the result of
            increase(), the seconds of the range for that of rate(). None takes whole counts only.
    Raises:
        ConversionError: a schema coarser than 0, custom buckets, or counts that are not whole.
        CorruptSketchError: spans, buckets and counts that do not fit together.
    Guarantee: exact up to the schema, the zero threshold and the rounding of counts; what is not is in the result.
    """
    if histogram.schema == CUSTOM_BUCKETS:
        raise ConversionError("schema is -53, custom buckets: a sketch has exponential bins only; query the buckets")
    if not COARSEST_SCHEMA <= histogram.schema <= FINEST_SCHEMA:
        raise CorruptSketchError(f"schema is {histogram.schema}, wanted 0 to 8: the histogram is damaged or newer")
    readable_scale(histogram.schema, "the schema")
    if not 0 <= histogram.zero_threshold < math.inf:
        raise CorruptSketchError(f"zero_threshold is {histogram.zero_threshold!r}, wanted a finite number from 0 on")
    if count_factor is None and not histogram.is_float:
        counts, rank_error = _integer_counts(histogram), 0.0
    else:
        counts, rank_error = _rounded_counts(histogram, count_factor)
    negative_bins = _bins_of_spans(histogram.negative_spans, len(counts.negative), "negative")
    positive_bins = _bins_of_spans(histogram.positive_spans, len(counts.positive), "positive")
    overflow = OVERFLOW_OCTAVE << histogram.schema
    minus, plus = negative_bins == overflow, positive_bins == overflow
    source = SignedBins(
        histogram.schema,
        BinCounts.of(negative_bins[~minus], counts.negative[~minus]),
        BinCounts.of(positive_bins[~plus], counts.positive[~plus]),
        counts.zero,
        int(counts.negative[minus].sum()),
        int(counts.positive[plus].sum()),
        counts.nan,
        total=None if math.isnan(histogram.sum) else histogram.sum * (1.0 if count_factor is None else count_factor),
    )
    return sketch_of_bins(source, scale, histogram.zero_threshold, rank_error)


def spans_of(indexes: list[int]) -> tuple[Span, ...]:
    """The spans of buckets with these numbers, int32 and ascending; neighbours share one."""
    spans: list[Span] = []
    following = 0
    for index in indexes:
        if spans and index == following:
            spans[-1] = Span(spans[-1].offset, spans[-1].length + 1)
        else:
            spans.append(Span(index - following, 1))
        following = index + 1
    return tuple(spans)


@dataclass(frozen=True, slots=True)
class _Counts:
    """The absolute counts of a histogram; the arrays belong to its spans, int64."""

    negative: IntArray
    positive: IntArray
    zero: int
    nan: int


def _integer_counts(histogram: NativeHistogram) -> _Counts:
    negative, positive = (_absolute(histogram, sign) for sign in ("negative", "positive"))
    zero = int(histogram.zero_count)
    nan = int(histogram.count) - zero - int(sum(negative) + sum(positive))
    if nan < 0 or (nan and not math.isnan(histogram.sum)):
        raise CorruptSketchError(
            f"count is {histogram.count} and buckets hold {histogram.count - nan}; wanted the same number, or a larger "
            "count and NaN as the sum"
        )
    if zero < 0 or histogram.count >= COUNT_LIMIT:
        raise CorruptSketchError(f"zero count is {zero}, count {histogram.count}; wanted both in 0..2**62")
    return _Counts(np.array(negative, np.int64), np.array(positive, np.int64), zero, nan)


def _rounded_counts(histogram: NativeHistogram, count_factor: float | None) -> tuple[_Counts, float]:
    negative, positive = (_absolute(histogram, sign) for sign in ("negative", "positive"))
    buckets = np.array([histogram.zero_count, *negative, *positive], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        surplus = float(histogram.count - buckets.sum())
    if math.isfinite(surplus) and abs(surplus) <= COUNT_TOLERANCE * abs(histogram.count):
        surplus = 0.0
    elif not math.isnan(histogram.sum):
        raise CorruptSketchError(
            f"count is {histogram.count} and buckets hold {float(buckets.sum())}; wanted the same number, or a larger "
            "count and NaN as the sum"
        )
    whole, rank_error = whole_counts(np.append(buckets, surplus), count_factor)
    split = 1 + len(negative)
    return _Counts(whole[1:split], whole[split:-1], int(whole[0]), int(whole[-1])), rank_error


def _absolute(histogram: NativeHistogram, sign: str) -> Sequence[int | float]:
    """Bucket counts of one sign, deltas added up; those of an integer histogram are from 0 on and below 2**62."""
    deltas = histogram.negative_deltas if sign == "negative" else histogram.positive_deltas
    counts = histogram.negative_counts if sign == "negative" else histogram.positive_counts
    if deltas if histogram.is_float else counts:
        raise CorruptSketchError(f"{sign} buckets are both deltas and counts; wanted counts if the count is a float")
    if histogram.is_float:
        return counts
    absolute = list(accumulate(deltas))
    if absolute and not 0 <= min(absolute) <= max(absolute) < COUNT_LIMIT:
        raise CorruptSketchError(f"{sign} deltas add up to {min(absolute)}..{max(absolute)}, wanted 0..2**62")
    return absolute


def _bins_of_spans(spans: Sequence[Span], buckets: int, sign: str) -> IntArray:
    """The bin of each bucket; nothing is allocated before the lengths are known to add up to the buckets there are."""
    for position, span in enumerate(spans):
        lowest = 0 if position else -INT32
        if not lowest <= span.offset < INT32 or span.length < 0:
            raise CorruptSketchError(f"{sign} span {position} is {span}, wanted an int32 offset from {lowest} on")
    lengths = [span.length for span in spans]
    if sum(lengths) != buckets:
        raise CorruptSketchError(f"{sign} spans hold {sum(lengths)} buckets and {buckets} are given; wanted as many")
    before = accumulate([span.offset for span in spans])  # the empty buckets up to each span
    gaps = np.repeat(np.array(list(before), np.int64), np.array(lengths, np.int64))
    return gaps + np.arange(buckets) - INDEX_SHIFT


def _indexes(side: BinCounts, overflow: int, infinite: int) -> tuple[list[int], list[int]]:
    """Bucket numbers and counts, the infinities in the bucket after the last finite one."""
    bins, counts = side.bins.tolist(), side.counts.tolist()
    if infinite:
        bins, counts = [*bins, overflow], [*counts, infinite]
    return [index + INDEX_SHIFT for index in bins], counts


def _deltas(counts: list[int]) -> tuple[int, ...]:
    return tuple(count - before for before, count in pairwise([0, *counts]))
