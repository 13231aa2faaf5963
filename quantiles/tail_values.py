"""Few-k: the k largest values of a set, kept exactly, so that a sparse tail needs no estimate.

A list is float64, descending, with repeated values repeated and no NaN. The k largest of a union are the k largest of
the lists of its parts, so a value at rank r of n (ascending) is known exactly wherever n - r + 1 <= k.
"""

from collections.abc import Iterable
from typing import cast

import numpy as np

from quantiles.array_types import FloatArray, SampleArray

BLOCK = 64  # one maximum per so many values; k of these bound the k largest from below
NO_VALUES = np.empty(0)


def largest(values: SampleArray, k: int, floor: float = -np.inf) -> FloatArray:
    """The k largest of those values that are above `floor`, or all of them when they are fewer.

    Cost: two passes and a sort of the few candidates, also where all values are equal; np.partition takes 10x longer.
    """
    if not k or not len(values):
        return NO_VALUES
    if values.dtype != np.int64 and np.isnan(values.max()):
        values = cast("FloatArray", values[~np.isnan(values)])
    if floor > -np.inf:
        values = values[values > floor]
    blocks = len(values) // BLOCK
    if blocks >= 2 * k:
        maxima = values[: blocks * BLOCK].reshape(blocks, BLOCK).max(axis=1)
        bound = np.partition(maxima, blocks - k)[blocks - k]  # k blocks reach it, so at least k values do
        above = values[values > bound]
        values = np.concatenate([above, np.full(max(0, k - len(above)), bound)])
    return np.sort(values.astype(np.float64, copy=False))[::-1][:k] + 0.0


def merged(lists: Iterable[FloatArray], k: int) -> FloatArray:
    """The k largest of several lists."""
    return np.sort(np.concatenate([NO_VALUES, *lists]))[::-1][:k]
