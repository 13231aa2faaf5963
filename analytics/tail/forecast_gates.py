"""What has to hold before a forecast is told: each gate says what was seen, what is wanted, and what to do.

A forecast is no better than the record and the model behind it. That the replay of the current policy meets what was
observed is needed, and no proof: it also does where the speed-ups that the candidate needs were never seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.tail.learning import OWN_DATA, LearnedProfile
from analytics.tail.policies import Fixed, Policy, Server
from analytics.tail.replay import Played, shares_of_cells
from analytics.tail.speedup import Float64Array, Int64Array

#: How far the replay of the current policy may be from the observed p99.
CALIBRATION: Final = 0.10
#: Slow requests that the quantile of a forecast wants beyond it.
LEAST_SLOW: Final = 100
#: Share of the time of runs, of all or of slow requests, from which on a cell matters.
NOTICEABLE: Final = 0.02
#: How many times the highest load of the record may be asked about.
MOST_EXTRAPOLATION: Final = 1.5
#: Utilization from which on a small error of the work is a large one of the tail.
MOST_UTILIZATION: Final = 0.97
#: How far quantiles of the first and second half may be apart.
HALVES: Final = 0.25
#: Half the width of the interval of the forecast p99, as a share of it.
WIDEST: Final = 0.08
#: The same of quantiles beyond the p99; a wider one is not told.
WIDEST_BEYOND: Final = 0.15
_SLOW: Final = 0.98


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition.

    Attributes:
        seen, wanted: the figure and its bound, as `text` explains them; NaN where there is none.
    """

    name: str
    passed: bool
    seen: float
    wanted: float
    text: str


@dataclass(frozen=True, slots=True)
class UsedCell:
    """A class of work and a degree in use: its share of the time of runs, and requests that tell its speed-up."""

    work_class: int
    degree: int
    share: float
    requests: int


def gate(name: str, passed: bool, seen: float, wanted: float, text: str, advice: str) -> Gate:
    """A gate; what to do is added where it does not hold."""
    return Gate(name, bool(passed), float(seen), float(wanted), text if passed else f"{text}: {advice}")


def failed(name: str, text: str) -> Gate:
    """A gate that cannot be looked at, as what it needs is not there."""
    return Gate(name, False, math.nan, math.nan, text)


def enough_requests(requests: int, quantile: float) -> Gate:
    """Whether so many slow requests lie beyond the quantile that it is no matter of luck."""
    wanted = math.ceil(LEAST_SLOW / (1.0 - quantile))
    text = f"{requests} requests; want {wanted} for a quantile of {quantile:.6g}"
    return gate("requests", requests >= wanted, requests, wanted, text, "take a longer time")


def calibration(observed: float, replayed: float, quantile: float) -> Gate:
    """Whether the replay of what is run now comes near to what was observed."""
    off = replayed / observed - 1.0 if observed > 0 else math.inf
    text = (
        f"replayed as it was run, p{quantile * 100:g} is {replayed:.4g} ms and {observed:.4g} ms was observed: "
        f"{off:+.1%}; want within {CALIBRATION:.0%}"
    )
    advice = "check the policy, threads and workers that are set for the service"
    return gate("calibration", abs(off) <= CALIBRATION, off, CALIBRATION, text, advice)


def extrapolation(load: float, highest: float) -> Gate:
    """Whether the load asked about is near one that was recorded."""
    times = load / highest if highest > 0 else math.inf
    text = (
        f"a load of {load:.2f}; the busiest of the record is {highest:.2f}, and want at most {MOST_EXTRAPOLATION} times"
    )
    return gate("extrapolation", times <= MOST_EXTRAPOLATION, times, MOST_EXTRAPOLATION, text, "ask about a lower load")


def saturation(candidate: Played, policy: Policy, server: Server, load: float, average: Float64Array) -> Gate:
    """Whether the candidate keeps up: an error of the work by a few hundredths would be one of the tail by many.

    Args:
        load: sequential, of the hardware threads. average: speed-up of all the work by degree.
    """
    if isinstance(policy, Fixed):
        degree = min(policy.degree, server.max_degree)
        most = float(average[degree - 1]) / degree
        text = f"a load of {load:.2f}; {degree} threads for each keep up below {most:.2f}"
        if load >= MOST_UTILIZATION * most:
            return gate("saturation", False, load, most, text, "take a smaller degree, or degrees by load")
    seen = math.inf if candidate.collapsed else candidate.utilization
    text = f"hardware threads are busy {candidate.utilization:.1%} of the time; want at most {MOST_UTILIZATION:.0%}"
    if candidate.collapsed:
        text = "the queue grows without end"
    return gate("saturation", seen <= MOST_UTILIZATION, seen, MOST_UTILIZATION, text, "lower the load")


def used_cells(played: Played, learned: LearnedProfile) -> tuple[UsedCell, ...]:
    """Cells that hold a noticeable share of the time of all runs, or of those of the slowest requests."""
    slow = played.latencies_ms >= np.quantile(played.latencies_ms, _SLOW)
    shares = np.maximum(shares_of_cells(played, learned.profile), shares_of_cells(played, learned.profile, slow))
    return tuple(
        UsedCell(int(c), int(d) + 1, float(shares[c, d]), int(learned.counts[c, d]))
        for c, d in zip(*np.nonzero(shares >= NOTICEABLE), strict=True)
    )


def identifiability(
    current: Sequence[UsedCell], candidate: Sequence[UsedCell], learned: LearnedProfile, comparable: Int64Array
) -> Gate:
    """Whether requests that were recorded tell the speed-up of each cell that is used.

    Where a class keeps the one degree that it has now, nothing need be known of others.

    Args:
        comparable: of each cell, requests that others of the class, predicted alike, ran on one thread beside
            (record_gates.comparable); those of a policy that gives more threads to all longer ones tell nothing.
    """
    few: dict[tuple[int, int], int] = {}
    for one in candidate:
        known = {(cell.work_class, cell.degree) for cell in current if cell.work_class == one.work_class}
        needed = {(one.work_class, one.degree), (one.work_class, 1), *known}
        if known == {(one.work_class, one.degree)}:
            continue
        few |= {
            cell: int(min(array[cell[0], cell[1] - 1] for array in (learned.counts, comparable))) for cell in needed
        }
    few = {cell: count for cell, count in few.items() if count < OWN_DATA}
    least = min(few.values(), default=OWN_DATA)
    shown = "; ".join(f"{count} of class {cell[0]} on {cell[1]}" for cell, count in sorted(few.items())[:6])
    text = (
        f"requests by class and threads that tell a speed-up: {shown}; want {OWN_DATA} of each"
        if few
        else (f"{OWN_DATA} requests or more tell each speed-up that the candidate uses")
    )
    return gate("identifiability", not few, least, OWN_DATA, text, "run 1 % of the requests on degrees drawn by chance")


def halves(observed: tuple[float, float], forecast: tuple[float, float], quantile: float) -> Gate:
    """Whether the first and second half of the record tell the same."""
    apart = max(
        abs(math.log(second / first)) if first > 0 < second else math.inf for first, second in (observed, forecast)
    )
    apart = math.expm1(apart) if apart < 100 else math.inf
    text = (
        f"p{quantile * 100:g} of the first and second half: observed {observed[0]:.4g} and {observed[1]:.4g} ms, "
        f"forecast {forecast[0]:.4g} and {forecast[1]:.4g} ms; want within {HALVES:.0%}"
    )
    return gate("halves", apart <= HALVES, apart, HALVES, text, "choose a time in which the load is alike")


def interval(value: float, low: float, high: float, quantile: float) -> Gate:
    """Whether the forecast is narrow enough to be one."""
    half = max(high / value - 1.0, 1.0 - low / value)
    text = f"p{quantile * 100:g} of {value:.4g} ms lies within {low:.4g} and {high:.4g} ms; want within {WIDEST:.0%}"
    return gate("interval", half <= WIDEST, half, WIDEST, text, "record longer, or explore more")


def bears_beyond(quantile: float, requests: int, observed: float, replayed: float, drawn: tuple[float, float]) -> bool:
    """Whether a quantile beyond the p99 may be told beside it; where not, it is left out, and the p99 stays.

    Args:
        requests: replayed. observed, replayed: that quantile, of the record and of the current policy.
        drawn: from where to where the forecast lies, beside its value.
    """
    beyond = requests * (1.0 - quantile)
    calibrated = observed > 0 and abs(replayed / observed - 1.0) <= CALIBRATION
    return beyond >= LEAST_SLOW and calibrated and max(drawn[1] - 1.0, 1.0 - drawn[0]) <= WIDEST_BEYOND
