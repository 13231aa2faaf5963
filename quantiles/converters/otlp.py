"""OTLP exponential histogram data points: bins have the same bounds and numbers as ours.

Needs the extra `otlp`; protobuf is imported when the first data point is written, not with this module. A data point
keeps the 64-bit counts, the sum as a float64, and minimum and maximum; it has no place for NaN and infinities.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from quantiles.cell_tokens import COUNT_LIMIT
from quantiles.converters.errors import ConversionError, MissingExtraError
from quantiles.converters.outcomes import ReadSketch, Written
from quantiles.converters.reading import sketch_of_bins
from quantiles.converters.signed_bins import BinCounts, SignedBins, readable_scale, signed_bins
from quantiles.errors import CorruptSketchError
from quantiles.sketch import Sketch

if TYPE_CHECKING:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

NO_RECORDED_VALUE = 1  # the bit of DataPointFlags that marks a gap in a series


def to_otlp(
    sketch: Sketch, start_time_ns: int = 0, time_ns: int = 0, scale: int | None = None
) -> "Written[ExponentialHistogramDataPoint]":
    """The sketch as a data point without attributes.

    Args:
        start_time_ns, time_ns: the window in ns UTC.
        scale: coarser than the sketch's, for receivers that limit buckets; None for its own.
    Returns:
        The point, and how many NaN and infinities it does not hold: they are in no bucket and not in the count. Where
        there were infinities the point has no sum, and no minimum or maximum on their side.
    Raises:
        MissingExtraError: opentelemetry-proto is not installed.
        ConversionError: a scale finer than the sketch's.
    Cost: buckets are dense, so their number grows with the span from the smallest to the largest magnitude.
    """
    try:
        from opentelemetry.proto.metrics.v1 import metrics_pb2  # noqa: PLC0415  # optional, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            f"OTLP needs a package that is missing ({error}): install tailwatch with its extra, tailwatch[otlp]"
        ) from error
    bins = signed_bins(sketch, scale)
    infinite = bins.minus_infinite + bins.plus_infinite
    point = metrics_pb2.ExponentialHistogramDataPoint(
        start_time_unix_nano=start_time_ns,
        time_unix_nano=time_ns,
        count=bins.finite_count,
        scale=bins.scale,
        zero_count=bins.zero_count,
        sum=None if infinite else bins.total,
        min=None if bins.minus_infinite or not bins.finite_count else bins.minimum,
        max=None if bins.plus_infinite or not bins.finite_count else bins.maximum,
    )
    for side, buckets in ((bins.positive, point.positive), (bins.negative, point.negative)):
        buckets.offset, counts = side.dense()
        buckets.bucket_counts.extend(counts.tolist())
    return Written(point, bins.nan_count + infinite)


def from_otlp(point: "ExponentialHistogramDataPoint", scale: int | None = None) -> ReadSketch:
    """The sketch of a data point; its sum is a float sum.

    Args:
        scale: of the sketch; None for the point's own, or 8 where that is finer. Finer than the point's adds error.
    Raises:
        ConversionError: the point is coarser than scale 0, or says that nothing was recorded.
        CorruptSketchError: counts, bounds or extremes that no values have.
    Guarantee: exact up to the point's scale and zero threshold; what is not is in the result.
    """
    if point.flags & NO_RECORDED_VALUE:
        raise ConversionError("the data point says that no value was recorded: it marks a gap, leave it out")
    readable_scale(point.scale, "the data point's scale")
    if not 0 <= point.zero_threshold < math.inf:
        raise CorruptSketchError(f"zero_threshold is {point.zero_threshold!r}, wanted a finite number from 0 on")
    counted = point.zero_count + sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts)
    if counted != point.count or counted >= COUNT_LIMIT:
        raise CorruptSketchError(
            f"count is {point.count} and the buckets hold {counted}; wanted the same number, below 2**62"
        )
    total = point.sum if point.HasField("sum") and not math.isnan(point.sum) else None
    if not counted and total:
        raise CorruptSketchError(f"sum is {total!r} without values, wanted 0: the data point is damaged")
    return sketch_of_bins(
        SignedBins(
            point.scale,
            _side(point.negative),
            _side(point.positive),
            point.zero_count,
            minimum=point.min if point.HasField("min") else None,
            maximum=point.max if point.HasField("max") else None,
            total=total,
        ),
        scale,
        point.zero_threshold,
    )


def _side(buckets: "ExponentialHistogramDataPoint.Buckets") -> BinCounts:
    counts = np.array(buckets.bucket_counts, np.int64)
    return BinCounts.of(buckets.offset + np.arange(len(counts)), counts)
