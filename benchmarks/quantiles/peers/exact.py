"""Exact answers by np.sort and np.partition, and np.sum as the bound that memory sets.

Sorting and partitioning are timed batch by batch, which is less work than an exact answer over all batches needs.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.quantiles.peers.method import LEVELS, Method
from quantiles.array_types import FloatArray

SORT, PARTITION, SUM = "np.sort", "np.partition", "np.sum"
State = list[FloatArray]


def methods() -> list[Method]:
    """The exact methods keep references to all batches, and their answers are exact; np.sum has none."""
    return [
        Method(
            name=SORT, package="numpy", kind="exact", guarantee="exact", promise="exact; keeps every value",
            takes="array", most_values=4_000_000, new=list, add=_sort, quantiles=_exact,
        ),
        Method(
            name=PARTITION, package="numpy", kind="exact", guarantee="exact", promise="exact; keeps every value",
            takes="array", new=list, add=_partition, quantiles=_exact,
        ),
        Method(
            name=SUM, package="numpy", kind="bound", guarantee="none", promise="no quantiles: the memory bound",
            takes="array", most_values=4_000_000, new=list, add=_sum,
        ),
    ]  # fmt: skip


def _sort(state: State, batch: FloatArray) -> None:
    state.append(batch)
    np.sort(batch)


def _partition(state: State, batch: FloatArray) -> None:
    state.append(batch)
    np.partition(batch, [min(int(q * len(batch)), len(batch) - 1) for q in LEVELS])


def _sum(_: State, batch: FloatArray) -> None:
    np.sum(batch)


def _exact(state: State, levels: Sequence[float]) -> list[float]:
    values = np.sort(np.concatenate(state))
    return [float(values[max(1, int(np.ceil(round(q * len(values), 6)))) - 1]) for q in levels]
