"""Speed-ups by class of work and degree, learned from recorded requests, and the work of each request.

Requests of a class (that of their predicted time) ran on different degrees, by policy or by chance (exploration). In
each cell of class and degree, the median of effective time beside prediction; the ratio of two such medians is the
speed-up. Where few requests tell it, it leans on Amdahl's law, fitted to the class.

A prediction says which requests are alike, whatever it is worth: its errors are the same on every degree. So it is only
as long as the degree hangs on the prediction and on the load, or on chance, and on nothing else of the request.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.errors import DataError, TooFewDataError
from analytics.tail.clocks import clock_fault
from analytics.tail.degree_pieces import pieces_ms
from analytics.tail.edge_search import found_edges
from analytics.tail.effective import Basis, EffectiveTimes, effective_ms
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.slowdown_learning import NO_SLOWDOWN, Slowdown, learn_slowdown
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile
from analytics.tail.speedup_cells import MOST_PIECES, Cell, class_speedups, shrunk

#: From so many requests of its own on, a cell is taken to know by itself.
OWN_DATA: Final = 30
#: What is predicted within this factor of an edge is of the class beside as often as not: it is left out of learning,
#: as long as enough of its class is left.
NEAR_EDGE: Final = 1.3

# Requests from which on a cell tells something.
_FEWEST: Final = 10
_FEWEST_REQUESTS: Final = 100
# Farther from the prediction than any work.
_OF_NO_CLASS: Final = 1e3
# Share of a class that has to be left without what is near to its edges.
_LEAST_LEFT: Final = 0.3
_DEFAULT_EDGES: Final = (0.85, 0.95)
_MOST_FOR_EDGES: Final = 2_000_000
_EXPLORE: Final = "let 1 % of the requests run on a degree drawn by chance, and mark them as explored"


@dataclass(frozen=True, slots=True, eq=False)
class LearnedProfile:
    """A profile, and what it rests on; arrays by class and degree as profile.table.

    Attributes:
        counts: int64, requests that began on that degree, without those predicted next to an edge of classes.
        low, high: of a 95 % interval of each speed-up; from 1 to the degree where nothing was seen.
        extrapolated: fewer than 30 requests began on the degree, or fewer than 10 on one thread; Amdahl's law says more
            than they do.
        requests: with a prediction and a degree known all along. explored: those of them whose degree was drawn by
            chance.
        basis: of effective times (effective.py).
        slowdown: of threads by each other, which the speed-ups do not hold (slowdown.py).
    """

    profile: SpeedupProfile
    counts: Int64Array
    low: Float64Array
    high: Float64Array
    extrapolated: BoolArray
    requests: int
    explored: int
    basis: Basis
    slowdown: Slowdown = NO_SLOWDOWN


def class_edges(
    samples: Samples, edges_ms: tuple[float, ...] | None = None, effective: EffectiveTimes | None = None
) -> tuple[float, ...]:
    """Where classes begin: as given; else where more threads help otherwise (edge_search.py), as far as requests tell.

    Where they do not tell, or effective times are not given, the 85th and 95th percentile of predicted times, rounded
    to two digits: those stand for times on one thread, of which a policy leaves only a part to be seen.

    Raises:
        DataError: no request has a prediction, or all have the same.
    """
    if edges_ms is not None:
        return tuple(edges_ms)
    told = np.isfinite(_predictions(samples))
    if effective is not None:
        some = np.flatnonzero(told)
        some = some[:: max(1, -(-some.size // _MOST_FOR_EDGES))]
        predictions = samples.predictions_ms[some]
        ratios = np.log(effective.times_ms[some] / predictions)
        if found := found_edges(ratios, predictions, samples.degrees[some]):
            return found
    predictions = samples.predictions_ms[told]
    order = np.argsort(predictions)
    reached = np.cumsum(samples.weights[told][order])
    at = np.searchsorted(reached, np.array(_DEFAULT_EDGES) * reached[-1])
    rounded = {float(f"{edge:.2g}") for edge in predictions[order][at]}
    inside = sorted(edge for edge in rounded if predictions[order[0]] < edge <= predictions[order[-1]])
    return tuple(inside) or (float(predictions[order[-1]]),)


def learn_profile(
    samples: Samples,
    threads: int,
    *,
    max_degree: int,
    edges_ms: tuple[float, ...] | None = None,
    effective: EffectiveTimes | None = None,
    workers: int | None = None,
) -> LearnedProfile:
    """The speed-ups of these requests on degrees 1 to `max_degree`.

    Requests that got more threads on their way belong to the degree that they began on (speedup_cells.py).

    Args:
        threads: of the hardware, on each instance. workers: of its pool; None: not known.
        edges_ms: where classes begin; None: where class_edges finds them.
        effective: with no slowdown taken out, which is learned here. None: effective_ms.
    Raises:
        DataError: no predictions or constant ones, degrees above `max_degree`, times that contradict each other.
        TooFewDataError: below 100 requests, or no class ran ten times on one thread and ten times on another degree.
    Cost: O(n log n); some 60 bytes a request beside the samples.
    """
    _refuse(samples, max_degree)
    effective = effective_ms(samples, threads) if effective is None else effective
    fault = clock_fault(samples, effective, threads, workers)
    if fault:
        raise DataError(fault)
    slowdown = learn_slowdown(samples, threads, effective)
    effective = as_learned(samples, threads, effective, slowdown)
    edges = class_edges(samples, edges_ms, effective)
    counts, cells = _cells(samples, effective, edges, max_degree)
    found = [class_speedups(row, max_degree) for row in cells]
    told, low, high = (np.stack([getattr(one, name) for one in found]) for name in ("told", "low", "high"))
    _refuse_untold(told, counts, int(np.count_nonzero(samples.explored)))
    table = shrunk(told, counts)
    # The interval of data is widened to what was concluded; where nothing is told, it is all that is possible.
    none = ~np.isfinite(told)
    below = np.where(none, 1.0, np.minimum(np.exp(low), table))
    above = np.maximum(np.where(none, np.arange(1.0, max_degree + 1), np.exp(high)), table)
    below[:, 0] = above[:, 0] = 1.0
    known = _known(samples)
    return LearnedProfile(
        profile=SpeedupProfile(edges, table),
        counts=counts,
        low=below,
        high=above,
        extrapolated=(counts < OWN_DATA) | none,
        requests=int(np.count_nonzero(known)),
        explored=int(np.count_nonzero(samples.explored & known)),
        basis=effective.basis,
        slowdown=slowdown,
    )


def as_learned(samples: Samples, threads: int, effective: EffectiveTimes, slowdown: Slowdown) -> EffectiveTimes:
    """Effective times of the samples with this slowdown taken out: the same, or else put together anew."""
    return effective if effective.slowdown == slowdown.value else effective_ms(samples, threads, slowdown.value)


def works_ms(samples: Samples, effective: EffectiveTimes, profile: SpeedupProfile) -> Float64Array:
    """The time that each request would take alone on one thread, float64[n].

    With the speed-up of a class, effective time becomes work, which may or may not be of that class. Of the classes for
    which it is, the work that is next to the prediction is taken (without one, to the effective time); of all, where
    there is none. A request that got more threads on its way did a part of its work on each degree.

    Raises:
        DataError: a request ran on more threads than the profile knows.
    """
    most = int(samples.last_degrees.max(initial=1))
    if most > profile.max_degree:
        raise DataError(
            f"a request ran on {most} threads, and speed-ups are known up to {profile.max_degree}; "
            f"learn them with a largest degree of {most}"
        )
    expected = np.where(np.isfinite(samples.predictions_ms), samples.predictions_ms, effective.times_ms)
    raised = np.flatnonzero(samples.last_degrees > samples.degrees)
    pieces = pieces_ms(samples, effective, raised, profile.max_degree)
    works, least = np.empty(len(samples)), np.full(len(samples), np.inf)
    for number, speedups in enumerate(profile.table):
        own = effective.times_ms * speedups[samples.degrees - 1]
        own[raised] = pieces @ speedups
        apart = np.abs(np.log(own / expected)) + np.where(profile.classes(own) == number, 0.0, _OF_NO_CLASS)
        nearer = apart < least
        works[nearer], least[nearer] = own[nearer], apart[nearer]
    return works


def _known(samples: Samples) -> BoolArray:
    """Requests with a prediction, whose degree is known all along."""
    raised = samples.last_degrees > samples.degrees
    return np.asarray(np.isfinite(samples.predictions_ms) & (~raised | (samples.raised_ms <= samples.services_ms)))


def _cells(
    samples: Samples, effective: EffectiveTimes, edges: tuple[float, ...], degrees: int
) -> tuple[Int64Array, list[list[Cell]]]:
    """Requests by class of their prediction and degree at their start: how many, and those cells that tell."""
    known = np.flatnonzero(_known(samples))
    known = known[_inside(samples.predictions_ms[known], edges)]
    numbers = np.searchsorted(np.asarray(edges), samples.predictions_ms[known], side="right") * degrees
    numbers += samples.degrees[known] - 1
    size = (len(edges) + 1) * degrees
    counts = np.bincount(numbers, minlength=size)
    order = known[np.argsort(numbers.astype(np.int32), kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(counts)])
    cells: list[list[Cell]] = [[] for _ in range(len(edges) + 1)]
    for number in np.flatnonzero(counts >= _FEWEST):
        which = order[bounds[number] : bounds[number + 1]]
        pieces = None
        if np.any(samples.last_degrees[which] > samples.degrees[which]):
            which = which[:: max(1, -(-which.size // MOST_PIECES))]
            pieces = pieces_ms(samples, effective, which, degrees)
        predictions, times = samples.predictions_ms[which], effective.times_ms[which]
        degree = int(number % degrees) + 1
        cells[number // degrees].append(Cell(degree, int(counts[number]), predictions, times, pieces))
    return counts.reshape(-1, degrees), cells


def _predictions(samples: Samples) -> Float64Array:
    """All predictions, NaN where there is none."""
    told = np.isfinite(samples.predictions_ms)
    if not told.any():
        raise DataError(f"none of {len(samples)} requests tells a predicted time; send predicted_us with each")
    least, most = float(samples.predictions_ms[told].min()), float(samples.predictions_ms[told].max())
    if np.count_nonzero(told) > 1 and most - least <= 1e-9 * most:
        raise DataError(
            f"the predicted time of all {np.count_nonzero(told)} requests is {most:g} ms; "
            "what is always the same tells none apart: have the service predict from the request"
        )
    return samples.predictions_ms


def _inside(predictions_ms: Float64Array, edges: tuple[float, ...]) -> BoolArray:
    """Which predictions are surely enough of their class."""
    at = np.asarray(edges)
    classes = np.searchsorted(at, predictions_ms, side="right")
    inside = np.ones(predictions_ms.size, np.bool_)
    for edge in at:
        inside &= (predictions_ms < edge / NEAR_EDGE) | (predictions_ms > edge * NEAR_EDGE)
    left, all_of = (np.bincount(classes[some], minlength=at.size + 1) for some in (inside, slice(None)))
    return np.asarray(inside | (left < _LEAST_LEFT * all_of)[classes])


def _refuse(samples: Samples, max_degree: int) -> None:
    """What nothing can be learned from."""
    told = int(np.count_nonzero(np.isfinite(_predictions(samples))))
    if told < _FEWEST_REQUESTS:
        raise TooFewDataError(f"{told} requests with a predicted time; want {_FEWEST_REQUESTS} or more")
    most = int(samples.last_degrees.max())
    if most > max_degree:
        raise DataError(
            f"{np.count_nonzero(samples.last_degrees > max_degree)} requests ran on up to {most} threads, and the "
            f"largest degree is said to be {max_degree}; say {most}, or send the degrees that were used"
        )


def _refuse_untold(told: Float64Array, counts: Int64Array, explored: int) -> None:
    """Where not one speed-up can be told from data."""
    if np.isfinite(told[:, 1:]).any():
        return
    seen = "; ".join(
        f"class {number}: {', '.join(f'{many} on {degree + 1}' for degree, many in enumerate(row) if many)}"
        for number, row in enumerate(counts)
        if row.any()
    )
    raise TooFewDataError(
        f"no class of requests began {_FEWEST} times on one thread and {_FEWEST} times on another degree, and kept to "
        f"it for a part of their work that tells ({seen}; {explored} explored); {_EXPLORE}"
    )
