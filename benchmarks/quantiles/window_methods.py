"""The methods that the window experiment compares, behind one interface: add a period's values, ask for quantiles.

Each method answers for the newest window / period closed sub-windows. KLL and t-digest cannot take a sub-window out
again, so theirs are kept in a ring and merged anew for each answer; exact keeps the values and sorts them anew.
State is what is kept of the closed sub-windows, in bytes: sketches as serialised, bare numbers at 8 bytes each.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Protocol, cast

import datasketches
import fastdigest
import numpy as np

from benchmarks.quantiles.paper_estimator import PaperEstimator
from quantiles.array_types import FloatArray
from quantiles.windows import SlidingWindow

SMALL_TAIL, LARGE_TAIL = 32, 256  # AOMG's few-k: its default; and one above the 132 values that p99.9 of 128K needs
KLL_K = 200
CENTROIDS = 1000
PAPER_SHARES = (0.1, 0.5, 1.0)  # of the need of each level, for top-k and again for sample-k

EXACT = "exact (sort)"
AOMG_SMALL, AOMG_LARGE = f"AOMG k={SMALL_TAIL}", f"AOMG k={LARGE_TAIL}"
PAPER = {share: f"paper, few-k {share:.0%}" for share in PAPER_SHARES}
KLL, T_DIGEST = f"KLL k={KLL_K}", f"t-digest {CENTROIDS}"
METHODS = (EXACT, AOMG_SMALL, AOMG_LARGE, *PAPER.values(), KLL, T_DIGEST)
OURS = (AOMG_SMALL, AOMG_LARGE)


class WindowMethod(Protocol):
    """One method over one window."""

    def add(self, values: FloatArray) -> None:
        """Adds the values of one whole sub-window."""

    def quantiles(self) -> FloatArray:
        """Answers at the levels it was made for."""

    def state_bytes(self) -> int:
        """What it keeps of the closed sub-windows."""


def make(name: str, window: int, period: int, levels: tuple[float, ...]) -> WindowMethod:
    """The method of that name, over nothing yet."""
    panes = window // period
    if name in OURS:
        return AomgMethod(window, period, levels, SMALL_TAIL if name == AOMG_SMALL else LARGE_TAIL)
    for share, label in PAPER.items():
        if name == label:
            return PaperMethod(window, period, levels, share)
    makers: dict[str, Callable[[], WindowMethod]] = {
        EXACT: lambda: ExactMethod(panes, levels),
        KLL: lambda: KllMethod(panes, levels),
        T_DIGEST: lambda: TDigestMethod(panes, levels),
    }
    return makers[name]()


@lru_cache(maxsize=4096)
def nearest_rank(q: float, n: int) -> int:
    """max(1, ceil(q n)) with q as the decimal it is written as; shares no code with quantiles/levels.py."""
    return max(1, math.ceil(Fraction(repr(q)) * n))


def at_ranks(ordered: FloatArray, levels: Sequence[float]) -> FloatArray:
    """The exact values at the levels' nearest ranks; `ordered` is ascending."""
    return ordered[[nearest_rank(q, len(ordered)) - 1 for q in levels]]


class AomgMethod:
    """Ours: SlidingWindow."""

    def __init__(self, window: int, period: int, levels: tuple[float, ...], tail: int) -> None:
        self.window = SlidingWindow(window, period, tail=tail, by="count")
        self.tail, self._levels = tail, levels

    def add(self, values: FloatArray) -> None:
        self.window.add(values)

    def quantiles(self) -> FloatArray:
        return self.window.quantiles(self._levels)

    def state_bytes(self) -> int:
        """Panes with their tails, and the sum of the closed panes."""
        panes = [sketch for _, sketch in self.window.panes()]
        tails = 8 * sum(min(self.tail, sketch.count) for sketch in panes)
        return sum(len(sketch.to_bytes()) for sketch in panes) + tails + len(self.window.sketch().to_bytes())


class PaperMethod:
    """The paper's own estimator, with few-k lists of one share for top-k and for sample-k."""

    def __init__(self, window: int, period: int, levels: tuple[float, ...], share: float) -> None:
        self.estimator = PaperEstimator(window, period, levels, top_share=share, sample_share=share)

    def add(self, values: FloatArray) -> None:
        self.estimator.add(values)

    def quantiles(self) -> FloatArray:
        return self.estimator.quantiles()

    def state_bytes(self) -> int:
        return 8 * self.estimator.kept_values


class ExactMethod:
    """All values of the window, sorted for each answer."""

    def __init__(self, panes: int, levels: tuple[float, ...]) -> None:
        self._ring: deque[FloatArray] = deque(maxlen=panes)
        self._levels = levels
        self.ordered: FloatArray = np.empty(0)  # the window as last sorted

    def add(self, values: FloatArray) -> None:
        self._ring.append(values)

    def quantiles(self) -> FloatArray:
        self.ordered = np.sort(np.concatenate(self._ring))
        return at_ranks(self.ordered, self._levels)

    def state_bytes(self) -> int:
        return 8 * sum(map(len, self._ring))


class KllMethod:
    """KLL of Apache DataSketches, at its default size. Its coin cannot be seeded: errors differ from run to run."""

    def __init__(self, panes: int, levels: tuple[float, ...]) -> None:
        self._ring: deque[datasketches.kll_doubles_sketch] = deque(maxlen=panes)
        self._levels = list(levels)

    def add(self, values: FloatArray) -> None:
        sketch = datasketches.kll_doubles_sketch(KLL_K)
        sketch.update(values)
        self._ring.append(sketch)

    def quantiles(self) -> FloatArray:
        merged = datasketches.kll_doubles_sketch(KLL_K)
        for sketch in self._ring:
            merged.merge(sketch)
        return np.array(merged.get_quantiles(self._levels, True))

    def state_bytes(self) -> int:
        return sum(len(sketch.serialize()) for sketch in self._ring)


class TDigestMethod:
    """t-digest of fastdigest, at its default size: the most exact t-digest among the peers of the add benchmark."""

    def __init__(self, panes: int, levels: tuple[float, ...]) -> None:
        self._ring: deque[fastdigest.TDigest] = deque(maxlen=panes)
        self._levels = list(levels)

    def add(self, values: FloatArray) -> None:
        numbers = cast("Sequence[float]", values)  # takes arrays too, whatever its annotation says
        self._ring.append(fastdigest.TDigest.from_values(numbers, max_centroids=CENTROIDS))

    def quantiles(self) -> FloatArray:
        return np.array(fastdigest.merge_all(list(self._ring)).quantile_vec(self._levels))

    def state_bytes(self) -> int:
        return sum(len(digest.to_bytes()) for digest in self._ring)
