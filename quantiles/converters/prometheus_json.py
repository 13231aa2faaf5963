"""Native histograms as the JSON of the Prometheus HTTP API: {"count", "sum", "buckets": [[rule, low, high, n], ...]}.

Numbers are strings. The rule says which ends belong to a bucket: 0 the upper one, 1 the lower one, 2 none, 3 both, and
3 marks the zero bucket. The JSON does not name the schema, so reading finds it from the ends; a bucket that the zero
bucket overlaps has its inner end cut to the zero threshold, so there only the outer one counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

import numpy as np

from quantiles._kernels.choice import kernels
from quantiles.bins import DEFAULT_SCALE, MAX_SCALE, Bins, bins_of
from quantiles.converters.errors import ConversionError
from quantiles.converters.prometheus import INDEX_SHIFT, NativeHistogram, Span, spans_of
from quantiles.converters.signed_bins import readable_scale
from quantiles.errors import CorruptSketchError

UPPER_INSIDE, LOWER_INSIDE, NONE_INSIDE, BOTH_INSIDE = range(4)
BUCKET_FIELDS = 4
FIXED_FROM, FIXED_TO = 1e-6, 1e21  # magnitudes that Prometheus writes without an exponent

# Ends are powers of two rounded to a float64, here downwards and there to the nearest: they agree to an ulp or two.
END_TOLERANCE = 4 * 2.0**-52


def to_prometheus_json(histogram: NativeHistogram) -> dict[str, Any]:
    """A histogram as the HTTP API answers it: buckets with values only, ascending.

    Args:
        histogram: of schema 0 to 8, valid, such as `to_prometheus` makes.
    """
    bins, threshold = bins_of(histogram.schema), histogram.zero_threshold
    rows: list[list[Any]] = []
    negative = histogram.negative_counts if histogram.is_float else tuple(accumulate(histogram.negative_deltas))
    positive = histogram.positive_counts if histogram.is_float else tuple(accumulate(histogram.positive_deltas))
    for (inner, outer), count in reversed(list(zip(_ends(histogram.negative_spans, bins), negative, strict=True))):
        rows.append([LOWER_INSIDE, _text(-outer), _text(-max(inner, threshold)), count])
    rows.append([BOTH_INSIDE, _text(-threshold), _text(threshold), histogram.zero_count])
    for (inner, outer), count in zip(_ends(histogram.positive_spans, bins), positive, strict=True):
        rows.append([UPPER_INSIDE, _text(max(inner, threshold)), _text(outer), count])
    answer: dict[str, Any] = {"count": _text(histogram.count), "sum": _text(histogram.sum)}
    filled = [[*row[:-1], _text(row[-1])] for row in rows if row[-1]]
    return {**answer, "buckets": filled} if filled else answer


def from_prometheus_json(data: Mapping[str, Any], schema: int | None = None) -> NativeHistogram:
    """The histogram of an API answer, as a float histogram; `from_prometheus` makes it a sketch.

    Args:
        data: the object under "histogram", or one of "histograms", of an answer.
        schema: needed only where the zero bucket cuts the only bucket; else found from the ends.
    Raises:
        ConversionError: ends that are not those of a schema from 0 to 8, such as custom buckets.
        CorruptSketchError: data of another shape, or numbers that are none.
    """
    rows = data.get("buckets", [])
    if not isinstance(rows, list):
        raise CorruptSketchError(f"buckets are {type(rows).__name__}, wanted a list of [rule, low, high, count]")
    zero_count, zero_threshold = 0.0, 0.0
    sides: dict[str, list[_Row]] = {"negative": [], "positive": []}
    for row in rows:
        rule, low, high, count = _checked_row(row)
        if rule == BOTH_INSIDE and -math.inf < low <= 0 <= high < math.inf:
            zero_count, zero_threshold = zero_count + count, max(zero_threshold, -low, high)
        elif rule == LOWER_INSIDE and high <= 0:
            sides["negative"].append(_Row(abs(high), -low, count))
        elif rule == UPPER_INSIDE and low >= 0:
            sides["positive"].append(_Row(low, high, count))
        else:
            raise ConversionError(f"bucket {row!r} is none of an exponential schema; a sketch cannot hold it")
    everything = sides["negative"] + sides["positive"]
    found = _schema(everything, zero_threshold) if schema is None else schema
    bins = bins_of(readable_scale(found, "the schema"))
    spans, counts = {}, {}
    for sign, side in sides.items():
        indexed = sorted((_index(row, bins, zero_threshold), row.count) for row in side)
        indexes = [index for index, _ in indexed]
        if len(set(indexes)) < len(indexes):
            raise CorruptSketchError(f"two {sign} buckets have the same ends; wanted each once")
        spans[sign], counts[sign] = spans_of(indexes), tuple(count for _, count in indexed)
    return NativeHistogram(
        bins.scale, _number(data.get("count")), _number(data.get("sum")), zero_threshold, zero_count,
        negative_spans=spans["negative"], negative_counts=counts["negative"],
        positive_spans=spans["positive"], positive_counts=counts["positive"],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    """A bucket of either sign by magnitude: inner < |x| <= outer."""

    inner: float
    outer: float
    count: float


def _checked_row(row: object) -> tuple[int, float, float, float]:
    if not isinstance(row, list) or len(row) != BUCKET_FIELDS or row[0] not in range(4):
        raise CorruptSketchError(f"a bucket is {row!r}, wanted [rule, low, high, count] with a rule from 0 to 3")
    low, high, count = (_number(text) for text in row[1:])
    if not (low <= high and 0 <= count < math.inf):
        raise CorruptSketchError(f"bucket {row!r} is no range, or its count no number from 0 on; it is damaged")
    return int(row[0]), low, high, count


def _schema(rows: list[_Row], zero_threshold: float) -> int:
    """The schema of the largest bucket whose ends are both its own; among the subnormals rounding bends the width."""
    whole = [row for row in rows if row.outer < math.inf and row.inner > zero_threshold]
    if whole:
        largest = max(whole, key=lambda row: row.outer)
        return round(-math.log2(math.log2(largest.outer) - math.log2(largest.inner) or 1.0))
    if any(row.outer < math.inf for row in rows):
        raise ConversionError("the zero bucket cuts the only bucket, so its schema is not known: pass `schema`")
    return DEFAULT_SCALE  # infinities and zeros are the same in all


def _index(row: _Row, bins: Bins, zero_threshold: float) -> int:
    """The number of a bucket of this schema."""
    outer_cell = int(kernels().cells_of(np.array([row.outer]), bins)[0])
    for cell in (outer_cell, outer_cell - 1):  # an outer end that was rounded up lies in the next cell
        inner, outer = (float(end[0]) for end in bins.bounds(np.array([cell])))
        cut = row.inner == zero_threshold and inner <= zero_threshold
        if _same(outer, row.outer) and (cut or _same(inner, row.inner)):
            return cell - bins.first_cell + INDEX_SHIFT
    raise ConversionError(
        f"a bucket from {row.inner!r} to {row.outer!r} is none of schema {bins.scale}, wanted one of schema 0 to "
        f"{MAX_SCALE}; a sketch cannot hold custom buckets"
    )


def _same(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= END_TOLERANCE * a


def _ends(spans: tuple[Span, ...], bins: Bins) -> list[tuple[float, float]]:
    """Inner and outer end of each bucket, by magnitude."""
    indexes: list[int] = []
    following = 0
    for span in spans:
        first = following + span.offset
        following = first + span.length
        indexes.extend(range(first, following))
    inner, outer = bins.bounds(np.array(indexes, np.int64) - INDEX_SHIFT + bins.first_cell)
    return list(zip(inner.tolist(), outer.tolist(), strict=True))


def _number(text: object) -> float:
    try:
        if isinstance(text, str):
            return float(text)
    except ValueError:
        pass
    raise CorruptSketchError(f"a number is {text!r}, wanted text such as '0.25', '+Inf' or 'NaN'")


def _text(number: float) -> str:
    """A number as Prometheus writes it: the shortest digits that give it back, with an exponent at the extremes."""
    value = float(number)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value and not FIXED_FROM <= abs(value) < FIXED_TO:
        return repr(value)
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
