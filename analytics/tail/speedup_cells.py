"""Speed-ups of one class from its requests by degree: the medians of their work beside the prediction have to agree.

A request that began on a degree, whatever became of it, is like those that began on another, given what decides on
the degree: prediction, load and chance. So with the right speed-ups, the work of both is the same in the median. Where
no request got more threads on its way, that is the ratio of medians of effective times. Where some did, a part of their
work was done on further degrees, and the speed-ups are those for which all medians agree, found by iteration.
Leaving such requests out instead would keep those that were quick.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from analytics.tail.speedup import Float64Array, Int64Array

#: Of a cell, so many are looked at where it takes iterations, evenly chosen: its median errs by 0.3 % for it.
MOST_PIECES: Final = 10_000
_STRATA: Final = 40
_IN_A_STRATUM: Final = 200
_CLOSE: Final = 1e-6
# Logarithms of speed-ups stay within this while they are looked for, and what moves less than this tells nothing.
_FARTHEST: Final = math.log(4096.0)
_TELLS: Final = 0.15
_MOST_STEPS: Final = 300
# A cell of n requests counts for n / (n + 30) beside Amdahl's law.
_SHRINK: Final = 30.0
_PARALLEL_SHARES: Final = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """Requests of a class that began on `degree`.

    Attributes:
        count: how many.
        predictions_ms: float64[n], of all or some of them. times_ms: effective times.
        pieces_ms: float64[n, degrees], the same by degree; None: all ran on `degree` to their end.
    """

    degree: int
    count: int
    predictions_ms: Float64Array
    times_ms: Float64Array
    pieces_ms: Float64Array | None = None

    def thinned(self) -> "Cell":
        """The same with some ten thousand of its requests at most, as far apart as can be."""
        some = slice(None, None, max(1, -(-self.predictions_ms.size // MOST_PIECES)))
        pieces = None if self.pieces_ms is None else self.pieces_ms[some]
        return replace(self, predictions_ms=self.predictions_ms[some], times_ms=self.times_ms[some], pieces_ms=pieces)

    def works(self, speedups: Float64Array) -> Float64Array:
        """Logarithms of work beside prediction, float64[n]."""
        if self.pieces_ms is None:
            return np.asarray(np.log(self.times_ms * speedups[self.degree - 1] / self.predictions_ms))
        return np.asarray(np.log(self.pieces_ms @ speedups / self.predictions_ms))


@dataclass(frozen=True, slots=True, eq=False)
class ClassSpeedups:
    """Logarithms of speed-ups by degree, float64[degrees]; NaN where no requests tell.

    Attributes:
        told: as requests have it. low, high: of a 95 % interval.
    """

    told: Float64Array
    low: Float64Array
    high: Float64Array


def class_speedups(cells: list[Cell], max_degree: int) -> ClassSpeedups:
    """The speed-ups with which all cells agree with that of one thread; nothing is told without such a cell.

    First as if work beside the prediction were the same for all predictions of the class. Then within strata of them,
    as a policy gives more threads to the longer of a class, and predictors err towards the middle; what strata cannot
    tell, as each ran on one degree only, stays as it was.
    """
    nothing = np.full(max_degree, np.nan)
    if not any(cell.degree == 1 for cell in cells) or len(cells) < 2:
        return ClassSpeedups(nothing, nothing, nothing)
    cells = sorted(cells, key=lambda cell: cell.degree)
    told = _agreeing(cells, _one_stratum(cells), np.zeros(len(cells)), max_degree)
    cells = [cell.thinned() for cell in cells]
    strata = _strata(cells)
    told = _agreeing(cells, strata, told, max_degree)
    speedups = _all_degrees(cells, told, max_degree)
    apart = strata.taken_away([cell.works(speedups) for cell in cells])
    middle, low, high = (
        np.array(part) for part in zip(*map(_median_with_interval, apart, strata.weights), strict=True)
    )
    # Both medians err by themselves. The less the one moves against the other as speed-ups grow, the less they tell:
    # the same work was done on the same further threads, whatever it began on.
    moves = np.array([_moves(cell, speedups) for cell in cells])
    tells = np.maximum(moves - moves[0], _TELLS)
    below = told - np.hypot(middle[0] - low[0], high - middle) / tells
    above = told + np.hypot(high[0] - middle[0], middle - low) / tells
    answer = ClassSpeedups(nothing.copy(), nothing.copy(), nothing.copy())
    for place, cell in enumerate(cells):
        if place and moves[place] - moves[0] < _TELLS:
            continue
        answer.told[cell.degree - 1] = told[place]
        answer.low[cell.degree - 1], answer.high[cell.degree - 1] = below[place], above[place]
    answer.low[0] = answer.high[0] = 0.0
    return answer


@dataclass(frozen=True, eq=False)
class _Strata:
    """Parts of a class by prediction.

    Attributes:
        of: int64 by cell and request. weights: likewise, how much it tells: the share of its stratum that began on
            other degrees. None: all the same.
    """

    of: list[Int64Array]
    weights: list[Float64Array | None]

    @cached_property
    def members(self) -> list[Int64Array]:
        """By stratum, which of all cells' requests, one cell after the other, are in it."""
        which = np.concatenate(self.of)
        return np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])

    def taken_away(self, works: list[Float64Array]) -> list[Float64Array]:
        """What is left of each when the median of its stratum, over all cells, is taken away."""
        every = np.concatenate(works)
        medians = np.array([np.median(every[one]) for one in self.members])
        return [part - medians[stratum] for part, stratum in zip(works, self.of, strict=True)]


def _agreeing(cells: list[Cell], strata: _Strata, told: Float64Array, max_degree: int) -> Float64Array:
    """Logarithms of speed-ups by cell, float64[cells], from a first guess on."""
    for _ in range(_MOST_STEPS):
        apart = strata.taken_away([cell.works(_all_degrees(cells, told, max_degree)) for cell in cells])
        medians = np.array([_median(*pair) for pair in zip(apart, strata.weights, strict=True)])
        before, told = told, np.clip(told + medians[0] - medians, -_FARTHEST, _FARTHEST)
        if np.abs(told - before).max() < _CLOSE:
            break
    return told


def _one_stratum(cells: list[Cell]) -> _Strata:
    return _Strata([np.zeros(cell.predictions_ms.size, np.int64) for cell in cells], [None] * len(cells))


def _strata(cells: list[Cell]) -> _Strata:
    """Parts of equal size of all predictions of the class."""
    every = np.concatenate([cell.predictions_ms for cell in cells])
    parts = max(1, min(_STRATA, every.size // _IN_A_STRATUM))
    edges = np.unique(np.quantile(every, np.arange(1, parts) / parts))
    _, found = np.unique(np.searchsorted(edges, every, side="right"), return_inverse=True)
    of = np.split(found.astype(np.int64), np.cumsum([cell.predictions_ms.size for cell in cells])[:-1])
    if found.max() == 0:
        return _Strata(of, [None] * len(cells))
    # Cells are thinned: what counts is how many requests each stands for.
    size = int(found.max()) + 1
    many = np.stack(
        [np.bincount(one, minlength=size) * (cell.count / one.size) for cell, one in zip(cells, of, strict=True)]
    )
    others = 1 - many / many.sum(axis=0)
    weights = [row[one] for row, one in zip(others, of, strict=True)]
    return _Strata(of, [part if part.sum() > 0 else None for part in weights])


def _all_degrees(cells: list[Cell], told: Float64Array, max_degree: int) -> Float64Array:
    """Speed-ups by degree; those that no cell tells by Amdahl's law."""
    logs, counts = np.full((1, max_degree), np.nan), np.zeros((1, max_degree), np.int64)
    degrees = np.array([cell.degree for cell in cells]) - 1
    logs[0, degrees], counts[0, degrees] = told, [cell.count for cell in cells]
    return np.asarray(np.exp(np.where(np.isfinite(logs), logs, np.log(shrunk(logs, counts)))[0]))


def shrunk(told: Float64Array, counts: Int64Array) -> Float64Array:
    """Speed-ups by class and degree: as told, and the fewer requests tell, the nearer to Amdahl's law for the class.

    Args:
        told: float64[classes, degrees], logarithms; NaN where nothing is told. counts: requests that tell.
    """
    counts = np.where(np.isfinite(told), counts, 0)
    told = np.where(counts > 0, told, 0.0)
    degrees = np.arange(1, told.shape[1] + 1)
    laws = -np.log((1.0 - _PARALLEL_SHARES[:, None]) + _PARALLEL_SHARES[:, None] / degrees)
    errors = (counts[:, None, :] * (told[:, None, :] - laws) ** 2).sum(axis=2)
    law = laws[np.argmin(errors, axis=1)]
    own = counts / (counts + _SHRINK)
    table = np.exp(own * told + (1 - own) * law)
    table[:, 0] = 1.0
    return np.asarray(np.maximum.accumulate(table, axis=1))


def _moves(cell: Cell, speedups: Float64Array) -> float:
    """How much the work moves in the median, in logarithms, as all speed-ups but that of one thread grow."""
    if cell.pieces_ms is None:
        return float(cell.degree > 1)
    grown = np.concatenate([speedups[:1], speedups[1:] * 1.01])
    return float(np.median(cell.works(grown) - cell.works(speedups)) / np.log(1.01))


def _median(values: Float64Array, weights: Float64Array | None) -> float:
    """Half the weight lies on either side."""
    return float(np.median(values)) if weights is None else float(_weighted(values, weights, np.array([0.5]))[0])


def _weighted(values: Float64Array, weights: Float64Array, levels: Float64Array) -> Float64Array:
    """Weighted quantiles, in a line between the middles of the weights."""
    order = np.argsort(values)
    at = np.cumsum(weights[order]) - weights[order] / 2
    return np.asarray(np.interp(levels * weights.sum(), at, values[order]))


def _median_with_interval(values: Float64Array, weights: Float64Array | None) -> tuple[float, float, float]:
    """Median of n > 0 values, and from where to where it is with 95 % probability, by order statistics."""
    if weights is not None:
        reach = 0.98 / math.sqrt(weights.sum() ** 2 / (weights**2).sum())
        middle, low, high = _weighted(values, weights, np.array([0.5, max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)]))
        return float(middle), float(low), float(high)
    n = values.size
    # Ranks of a binomial by its normal approximation, rounded outwards: from ten values on it covers 95 % or more.
    reach = 0.98 * math.sqrt(n)
    first, last = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach) - 1)
    places = (first, (n - 1) // 2, n // 2, last)
    parts = np.partition(values, places)[list(places)]
    return float(parts[1] + parts[2]) / 2, float(parts[0]), float(parts[3])
