"""The exponential histogram of OpenTelemetry's Python SDK, at its default of 160 buckets, one value a call.

Values go straight to the aggregation, past instrument and attributes, which would only be slower. The SDK answers no
quantiles: they are read off its buckets here. It offers neither bytes nor merging of its own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from opentelemetry.sdk.metrics._internal import aggregation
from opentelemetry.sdk.metrics._internal.aggregation import AggregationTemporality

from benchmarks.quantiles.peers.method import Method
from quantiles.array_types import FloatArray


def methods() -> list[Method]:
    """The aggregation alone."""
    return [
        Method(
            name="OTel SDK exp. histogram 160", package="opentelemetry-sdk", kind="sketch", guarantee="value error",
            promise="depends on the range: 160 buckets over it", takes="one value a call (list)", most_values=30_000,
            new=_new, add=_add, quantiles=_quantiles,
        )
    ]  # fmt: skip


class _Measurement:
    """All that the aggregation reads of a measurement; one object is used again and again."""

    __slots__ = ("value",)
    value: float


def _new() -> Any:
    kind: Any = aggregation._ExponentialBucketHistogramAggregation
    return kind(None, _no_reservoir, AggregationTemporality.CUMULATIVE, 0)


def _no_reservoir(**_: object) -> None:
    return None


def _add(histogram: Any, batch: FloatArray) -> None:
    aggregate, measurement = histogram.aggregate, _Measurement()
    for value in batch.tolist():
        measurement.value = value
        aggregate(measurement, False)


def _quantiles(histogram: Any, levels: Sequence[float]) -> list[float]:
    buckets, scale = histogram._value_positive, histogram._mapping.scale
    counts = np.array([buckets[i] for i in range(len(buckets.counts))])
    below, answers = np.cumsum(counts), []
    base = 2.0 ** (2.0**-scale)
    for q in levels:
        rank = max(1, int(np.ceil(round(q * below[-1], 6))))
        low = base ** (buckets.offset + int(np.searchsorted(below, rank)))
        answers.append(float(2 * low * base / (1 + base)))
    return answers
