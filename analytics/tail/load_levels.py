"""Recorded requests by the load of the time that they came in, so that like is compared with like.

The load of a window is its sequential utilisation: the work that came in it, each request on one thread, as a share of
what the hardware threads could have done. It does not hang on the policy that ran the requests.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.errors import DataError
from analytics.tail.samples import Samples
from analytics.tail.speedup import Float64Array, Int64Array

#: Where the next level begins; the last has no end.
LEVEL_EDGES: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)


@dataclass(frozen=True, slots=True, eq=False)
class LoadLevels:
    """Levels of load; arrays by level, and `level` by request.

    Attributes:
        edges: where the next level begins, ascending; one level more than edges.
        level: int64[n], that of the window in which each request came.
        requests: int64, how many came, weights counted.
        share_of_time: of the windows in which any came; they add up to 1.
        sequential_load: mean load of its windows; 0 where it has none.
    """

    edges: tuple[float, ...]
    level: Int64Array
    requests: Int64Array
    share_of_time: Float64Array
    sequential_load: Float64Array


def load_levels(samples: Samples, threads: int, works_ms: Float64Array, window_ms: float = 10_000.0) -> LoadLevels:
    """The level of each request, by windows of its instance; O(n log n).

    The last window of an instance ends with its last arrival; one of less than half the length joins the one before.

    Args:
        threads: of the hardware, on each instance.
        works_ms: float64[n], time of each on one thread alone (learning.works_ms).
    Raises:
        DataError: no threads, no length of windows, or as many works as requests are not given.
    """
    if threads < 1 or not window_ms > 0:
        raise DataError(f"{threads} threads and windows of {window_ms:g} ms; want at least one thread, and above 0 ms")
    if works_ms.shape != (len(samples),):
        raise DataError(f"works of shape {works_ms.shape} for {len(samples)} requests; want one for each")
    level = np.zeros(len(samples), np.int64)
    levels = len(LEVEL_EDGES) + 1
    time_ms, load_time = np.zeros(levels), np.zeros(levels)
    for instance in np.unique(samples.instances):
        chosen = np.flatnonzero(samples.instances == instance)
        window, length_ms = _windows(samples.arrivals_ms[chosen], window_ms)
        offered = np.bincount(window, weights=works_ms[chosen] * samples.weights[chosen])
        load = offered / (threads * length_ms)
        of_window = np.searchsorted(LEVEL_EDGES, load, side="right")
        level[chosen] = of_window[window]
        np.add.at(time_ms, of_window, length_ms)
        np.add.at(load_time, of_window, length_ms * load)
    requests = np.bincount(level, weights=samples.weights, minlength=levels)
    return LoadLevels(
        LEVEL_EDGES,
        level,
        np.round(requests).astype(np.int64),
        time_ms / max(time_ms.sum(), 1e-9),
        np.divide(load_time, time_ms, out=np.zeros(levels), where=time_ms > 0),
    )


def _windows(arrivals_ms: Float64Array, window_ms: float) -> tuple[Int64Array, Float64Array]:
    """The window of each arrival, numbered without gaps, and how long each window is."""
    begin, end = float(arrivals_ms[0]), float(arrivals_ms[-1])
    last = int((end - begin) // window_ms)
    rest_ms = end - begin - last * window_ms
    if last and rest_ms < window_ms / 2:
        last, rest_ms = last - 1, rest_ms + window_ms
    of_each = np.minimum(((arrivals_ms - begin) // window_ms).astype(np.int64), last)
    present, window = np.unique(of_each, return_inverse=True)
    return window, np.where(present == last, max(rest_ms, 1.0), window_ms)
