"""boost-histogram with a logarithmic axis: not a sketch, because its range has to be known beforehand.

The axis covers 2**-20 to 2**44 at 1 %, as many doublings as the dense part of our sketch. Values outside are counted,
no more. It keeps no sum, minimum or maximum. Its bytes are those of pickle, the way it documents.
"""

import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

import boost_histogram as bh
import numpy as np

from benchmarks.quantiles.peers.method import HISTOGRAM, Method
from quantiles.array_types import FloatArray, IntArray

LOW, HIGH = 2.0**-20, 2.0**44
BINS = int(
    np.ceil(np.log(HIGH / LOW) / np.log(1.01 / 0.99))
)  # neighbouring bounds 1.01/0.99 apart: 1 % from the middle


def methods() -> list[Method]:
    """One histogram, or one with a second axis for the series."""
    return [
        Method(
            name=HISTOGRAM, package="boost-histogram", kind="histogram", guarantee="value error",
            promise="1 % inside a range known beforehand; no sum, min, max", takes="array", most_values=4_000_000,
            new=_new, add=bh.Histogram.fill, quantiles=_quantiles, to_bytes=partial(pickle.dumps, protocol=5),
            merge=_merged, merge_bodies=_merged_bodies, new_groups=_new_groups, add_groups=_add_groups,
        )
    ]  # fmt: skip


def _axis() -> Any:
    return bh.axis.Regular(BINS, LOW, HIGH, transform=bh.axis.transform.log)


def _new() -> Any:
    return bh.Histogram(_axis(), storage=bh.storage.Double())  # 10 % faster to fill than Int64


def _quantiles(histogram: Any, levels: Sequence[float]) -> list[float]:
    below, edges = np.cumsum(histogram.view()), histogram.axes[0].edges
    ranks = np.maximum(1, np.ceil(np.round(np.asarray(levels) * below[-1], 6)))
    found = np.searchsorted(below, ranks)
    low, high = edges[found], edges[found + 1]
    return [float(x) for x in 2 * low * high / (low + high)]


def _merged(histograms: Sequence[Any]) -> Any:
    total = _new()
    for histogram in histograms:
        total += histogram
    return total


def _merged_bodies(bodies: Sequence[bytes]) -> Any:
    total = _new()
    for body in bodies:
        total += pickle.loads(body)
    return total


def _new_groups(n_series: int) -> Any:
    series = bh.axis.Integer(0, n_series, underflow=False, overflow=False)
    return bh.Histogram(series, _axis(), storage=bh.storage.Double())


def _add_groups(histogram: Any, values: FloatArray, codes: IntArray) -> None:
    histogram.fill(codes, values)
