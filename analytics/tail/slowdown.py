"""How threads at work slow each other although each has a hardware thread: caches, memory, cores with two threads.

With T threads at work on N hardware threads, each progresses at min(1, N / T), divided by 1 + slowdown * (busy - 1) /
(N - 1), where busy = min(T, N). That is Gunther's universal scalability law without its coherency term; `slowdown` is
how much longer work takes with all hardware threads busy than with one, 0 where they do not matter to each other.

What the threads of one request do to each other is part of its speed-up, which is told with nobody beside it. So a
request on d threads progresses by own(d) more than that; alone, at 1.
"""

import math

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError
from analytics.tail.speedup import Float64Array, Int64Array


def rate(active: Int64Array, threads: int, slowdown: float) -> Float64Array:
    """By threads at work, how fast each progresses beside one alone, in (0, 1]; 1 where none is at work."""
    active = np.maximum(active, 1)
    return np.asarray(np.minimum(1.0, threads / active) / own(active, threads, slowdown))


def own(degrees: Int64Array | npt.NDArray[np.int32], threads: int, slowdown: float) -> Float64Array:
    """By degree, how much slower so many threads are than one: 1 or more."""
    return np.asarray(1.0 + slowdown * (np.minimum(degrees, threads) - 1) / max(1, threads - 1))


def checked(slowdown: float) -> float:
    """The same.

    Raises:
        DataError: below 0, or no number.
    """
    if not 0 <= slowdown < math.inf:
        raise DataError(f"a slowdown of {slowdown}; want 0 (threads do not slow each other) or more")
    return slowdown
