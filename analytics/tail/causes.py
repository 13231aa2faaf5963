"""Why slow requests were slow: each has one cause, the first that holds of five.

    intrinsic       its work takes longer than the target on as many threads as any request may have
    queueing        without its wait it would have met the target
    contention      alone on the hardware, with the threads it had, it would have met the target
    mispredicted    it was predicted to meet the target with the threads it began with
    under_parallel  more threads would have met the target, and nothing kept it from having them but the policy

The order matters: what no change of policy can save is told first, then what the load did, then what was decided.
Requests without a prediction cannot be mispredicted: what is left of them is under-parallel. With a learned profile,
what it does not know from requests is no reason to give up on one: there, intrinsic is only what takes longer than the
target even with the largest speed-up that is possible, or by what it did on fewer threads (degree_pieces.least_ms).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError
from analytics.tail.degree_pieces import least_ms
from analytics.tail.effective import EffectiveTimes
from analytics.tail.learning import LearnedProfile
from analytics.tail.learning import works_ms as learned_works_ms
from analytics.tail.samples import Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.speedup import Float64Array, Int64Array, SpeedupProfile

Int8Array = npt.NDArray[np.int8]

#: By number, in the order in which they are looked at.
CAUSES: Final = ("intrinsic", "queueing", "contention", "mispredicted", "under_parallel")
NOT_SLOW: Final = -1
_NORMAL_95_ONE_SIDED: Final = 1.644854


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What became of n requests, as far as causes hang on it; all arrays of n, times in milliseconds.

    Attributes:
        latencies_ms: from arrival to end; waits_ms: of that, before its start.
        effective_ms: of its run with what sharing the hardware took away left out.
        works_ms: alone on one thread.
        predictions_ms: of that; NaN: none.
        degrees: threads at its start.
        least_ms: alone on the most threads, at least, whatever the speed-ups; looked at where these are not known well.
    """

    latencies_ms: Float64Array
    waits_ms: Float64Array
    effective_ms: Float64Array
    works_ms: Float64Array
    predictions_ms: Float64Array
    degrees: Int32Array
    least_ms: Float64Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CauseTable:
    """Slow requests by load level and cause, each counted as often as its weight says.

    Attributes:
        levels: the level of each row, ascending, without those that no request had.
        requests, slow: float64[rows].
        counts: float64[rows, causes]; a row's sum is its slow requests.
        predicted: share of the slow requests that had a prediction; below 1, mispredicted ones among the others count
            as under-parallel.
    """

    levels: Int64Array
    requests: Float64Array
    slow: Float64Array
    counts: Float64Array
    predicted: float

    @property
    def shares(self) -> Float64Array:
        """float64[rows, causes], each row's sum 1, or 0 where nothing was slow."""
        return np.asarray(self.counts / np.maximum(self.slow, 1e-300)[:, None])

    def total(self) -> dict[str, float]:
        """Shares of all slow requests by cause; empty where none was slow."""
        slow = float(self.slow.sum())
        return dict(zip(CAUSES, (self.counts.sum(axis=0) / slow).tolist(), strict=True)) if slow else {}


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An objective that no policy meets: too many requests take longer than its target with all threads they may have.

    Attributes:
        share: of the requests, that no degree can save; allowed: what the percentile leaves.
        reachable_ms: the least target that the percentile can have, on an idle server.
    """

    percentile: float
    target_ms: float
    share: float
    allowed: float
    reachable_ms: float

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"p{self.percentile * 100:g} within {self.target_ms:g} ms cannot be kept: {self.share:.2%} of the requests "
            f"take longer with as many threads as they may have and nothing else running, and {self.allowed:.2%} may. "
            f"The least that can be promised is {self.reachable_ms:.3g} ms; raise the target, or make the work less"
        )


def attribute(
    samples: Samples,
    effective: EffectiveTimes,
    profile: SpeedupProfile | LearnedProfile,
    target_ms: float,
    max_degree: int,
    *,
    works_ms: Float64Array | None = None,
) -> Int8Array:
    """The cause of each request, int8[n]: a place in CAUSES, or NOT_SLOW.

    Args:
        effective: of the same samples.
        max_degree: the most threads that a request may have.
        works_ms: of the same samples, where they are known already; else they are computed (learning.works_ms).
    Raises:
        DataError: the target is no time, or the profile does not know so many threads.
    """
    _check(speedups_of(profile), target_ms, max_degree)
    works = learned_works_ms(samples, effective, speedups_of(profile)) if works_ms is None else works_ms
    least = np.zeros(len(samples))
    slow = np.flatnonzero(samples.latencies_ms > target_ms)
    least[slow] = least_ms(samples, effective, slow, max_degree)
    course = Course(
        samples.latencies_ms,
        samples.waits_ms,
        effective.times_ms,
        works,
        samples.predictions_ms,
        samples.degrees,
        least,
    )
    return causes_of(course, profile, target_ms, max_degree)


def causes_of(course: Course, profile: SpeedupProfile | LearnedProfile, target_ms: float, max_degree: int) -> Int8Array:
    """The same of what is known otherwise, such as by the simulator, which knows the true work. Cost: O(n)."""
    _check(speedups_of(profile), target_ms, max_degree)
    least = least_times_ms(course.works_ms, profile, max_degree)
    if isinstance(profile, LearnedProfile) and course.least_ms is not None:
        untold = profile.extrapolated[profile.profile.classes(course.works_ms), max_degree - 1]
        least = np.where(untold, np.maximum(least, course.least_ms), least)
    profile = speedups_of(profile)
    degrees = np.clip(course.degrees, 1, profile.max_degree) - 1
    predictions = np.nan_to_num(course.predictions_ms, nan=np.inf)
    expected_ms = predictions / profile.table[profile.classes(predictions), degrees]
    conditions = [
        ~(course.latencies_ms > target_ms),
        least > target_ms,
        course.latencies_ms - course.waits_ms <= target_ms,
        course.effective_ms <= target_ms,
        expected_ms <= target_ms,
    ]
    return np.select(conditions, [NOT_SLOW, 0, 1, 2, 3], default=4).astype(np.int8)


def speedups_of(profile: SpeedupProfile | LearnedProfile) -> SpeedupProfile:
    """The speed-ups themselves."""
    return profile.profile if isinstance(profile, LearnedProfile) else profile


def least_times_ms(works_ms: Float64Array, profile: SpeedupProfile | LearnedProfile, max_degree: int) -> Float64Array:
    """What each takes alone on as many threads as it may have, float64[n]; at least, where that is not known well."""
    most = speedups_of(profile).table
    if isinstance(profile, LearnedProfile):
        most = np.where(profile.extrapolated, profile.high, most)
    return np.asarray(works_ms / most[speedups_of(profile).classes(works_ms), max_degree - 1])


def cause_table(causes: Int8Array, levels: Int64Array, samples: Samples) -> CauseTable:
    """Causes by load level, weights counted.

    Args:
        causes: of `attribute`. levels: int64[n], 0 and up (load_levels.py), or all 0.
    """
    rows = int(levels.max()) + 1 if levels.size else 0
    requests = np.bincount(levels, samples.weights, rows).astype(np.float64)
    slow = causes != NOT_SLOW
    weights = samples.weights[slow]
    places = levels[slow] * len(CAUSES) + causes[slow]
    counts = np.bincount(places, weights, rows * len(CAUSES)).reshape(rows, len(CAUSES)).astype(np.float64)
    known = ~np.isnan(samples.predictions_ms[slow])
    kept = np.flatnonzero(requests > 0)
    return CauseTable(
        kept,
        requests[kept],
        counts[kept].sum(axis=1),
        counts[kept],
        float(weights[known].sum() / weights.sum()) if weights.size else 1.0,
    )


def unreachable(
    works_ms: Float64Array,
    profile: SpeedupProfile | LearnedProfile,
    target_ms: float,
    percentile: float,
    max_degree: int,
    weights: Float64Array | None = None,
) -> Unreachable | None:
    """Whether a promise is below what the work itself takes, beyond chance (one-sided, 95 %).

    None where some policy may keep it, or too few requests tell.

    Args:
        percentile: 0.99, never 99. weights: how many requests each work stands for, 1 where None.
    Raises:
        DataError: the percentile or target is none, or the profile does not know so many threads.
    """
    _check(speedups_of(profile), target_ms, max_degree)
    if not 0 < percentile < 1:
        raise DataError(f"a percentile of {percentile}; want above 0 and below 1, such as 0.99")
    if not works_ms.size:
        return None
    times_ms = least_times_ms(works_ms, profile, max_degree)
    counted = np.ones(times_ms.size) if weights is None else weights
    share, allowed = float(counted[times_ms > target_ms].sum() / counted.sum()), 1 - percentile
    # Of the normal approximation at what is allowed; requests that weigh more tell less.
    spread = (allowed * percentile * float((counted**2).sum())) ** 0.5 / float(counted.sum())
    if share <= allowed + _NORMAL_95_ONE_SIDED * spread:
        return None
    order = np.argsort(times_ms)
    place = int(np.searchsorted(np.cumsum(counted[order]), percentile * counted.sum()))
    reachable_ms = float(times_ms[order[min(place, times_ms.size - 1)]])
    return Unreachable(percentile, target_ms, share, allowed, reachable_ms)


def _check(profile: SpeedupProfile, target_ms: float, max_degree: int) -> None:
    if not 0 < target_ms < np.inf:
        raise DataError(f"a target of {target_ms} ms; want a time above 0")
    if not 1 <= max_degree <= profile.max_degree:
        raise DataError(
            f"requests on up to {max_degree} threads, and speed-ups are known up to {profile.max_degree}; "
            "allow no more, or learn them"
        )
