"""Whether a record of requests is one that a model can be learned from: the gates that no candidate is needed for."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from analytics.tail.clocks import clock_fault
from analytics.tail.effective import EffectiveTimes
from analytics.tail.forecast_gates import Gate, UsedCell, failed, gate
from analytics.tail.learning import NEAR_EDGE, OWN_DATA, LearnedProfile
from analytics.tail.policies import Policy, Server, Tpc
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.speedup import Float64Array, Int64Array

#: Share of requests without a prediction.
MOST_UNPREDICTED: Final = 0.01
#: Least correlation of the threads met, as told, with those put together from all requests.
LEAST_AGREEMENT: Final = 0.8
#: How much works may change with the threads at work, between the loads of the current policy and the candidate.
CONTENTION: Final = 0.05
#: How far speed-ups of the shorter and longer half of a class may be apart, by its share of the time of runs.
HETEROGENEITY: Final = 0.05
#: Share of the requests predicted to be of a class that have to be of it, or within learning.NEAR_EDGE of it.
LEAST_RIGHT: Final = 0.6
#: Requests of a class that began on one thread, where most of them got more on their way: each tells about a tenth.
OWN_RAISED: Final = 10 * OWN_DATA
#: How much later than the policy gives them further threads may come, in the middle.
LATE: Final = 1.25
#: How much of the time of a class the candidate may move to one thread where the two above do not hold.
MOVED_TO_ONE: Final = 0.3
# Requests of a class and degree below which they are not compared with others.
_LEAST_COMPARED: Final = 100
_LEAST_IN_HALF: Final = 10
_STRATA: Final = 8
# Standard error of a median beside the distance of its quartiles and the root of the count, for normal errors.
_OF_MEDIAN: Final = 0.929


def told_predictions_share(samples: Samples) -> Gate:
    """Whether nearly all requests tell what was predicted of them."""
    missing = float(np.mean(np.isnan(samples.predictions_ms))) if len(samples) else 1.0
    text = f"{missing:.1%} of the requests tell no predicted time; want at most {MOST_UNPREDICTED:.0%}"
    return gate("predictions", missing <= MOST_UNPREDICTED, missing, MOST_UNPREDICTED, text, "send predicted_us")


def clocks(samples: Samples, effective: EffectiveTimes, server: Server) -> Gate:
    """Whether requests, put together by their times, are on as many threads as they say they met.

    Clocks that jump or differ, times of arrival that are rounded, and instances that are not told apart show here.
    """
    name, advice = "clocks", "check the clock of arrival_ns, and that each instance is told as one"
    if effective.met is None:
        return Gate(name, True, math.nan, math.nan, "threads at work are as requests told them; no clock is needed")
    if fault := clock_fault(samples, effective, server.threads, server.workers):
        return failed(name, fault)
    told = (samples.active >= 0) & (effective.met >= 0)
    if np.count_nonzero(told) < _LEAST_COMPARED:
        text = "requests do not tell the threads at work when they began, so that their clocks cannot be checked"
        return failed(name, f"{text}: send active_threads")
    put, said = effective.met[told].astype(np.float64), samples.active[told].astype(np.float64)
    spread = math.sqrt(float(put.var()) * float(said.var()))
    agreement = float(np.mean((put - put.mean()) * (said - said.mean()))) / spread if spread else 1.0
    text = f"threads met as told and as put together agree to {agreement:.2f} (correlation); want {LEAST_AGREEMENT}"
    return gate(name, agreement >= LEAST_AGREEMENT, agreement, LEAST_AGREEMENT, text, advice)


def contention(samples: Samples, learned: LearnedProfile, works_ms: Float64Array, moved: float, threads: int) -> Gate:
    """Whether requests cost the same, however many threads are at work beside them; the model knows no other cost.

    Args:
        moved: by how many threads the candidate changes what requests meet, or how far the record spreads.
    """
    slope, error = _work_by_threads(samples, learned, works_ms)
    effect = max(0.0, abs(slope) - 2.0 * error) * moved
    text = (
        f"requests take {slope * threads:+.1%} more work as {threads} more threads are at work, and the candidate "
        f"moves that by {moved:.1f}: {effect:.1%}; want at most {CONTENTION:.0%}"
    )
    advice = "something is shared that the model does not know (memory, caches, locks, other programs)"
    return gate("contention", effect <= CONTENTION, effect, CONTENTION, text, advice)


def comparable(samples: Samples, learned: LearnedProfile) -> Int64Array:
    """By class and degree, requests beside which others, predicted alike, ran on one thread; int64[classes, degrees].

    Of each eighth of the predictions of the class, as many as began on the rarer of the two degrees. Those on one
    thread are counted by themselves. A cell that no request of these began on is not limited: others may tell it.
    """
    profile = learned.profile
    rows, columns = len(profile.edges_ms) + 1, profile.max_degree
    found = np.zeros((rows, columns), np.int64)
    told = np.isfinite(samples.predictions_ms) & (samples.degrees <= profile.max_degree)
    predictions, degrees = samples.predictions_ms[told], samples.degrees[told].astype(np.int64)
    classes = profile.classes(predictions)
    for one in range(rows):
        inside = classes == one
        if not inside.any():
            found[one] = np.iinfo(np.int64).max
            continue
        edges = np.quantile(predictions[inside], np.arange(1, _STRATA) / _STRATA)
        stratum = np.searchsorted(edges, predictions[inside], side="right")
        counts = np.bincount(stratum * columns + degrees[inside] - 1, minlength=_STRATA * columns)
        counts = counts.reshape(_STRATA, columns)
        found[one] = np.minimum(counts, counts[:, :1]).sum(axis=0)
        found[one, counts.sum(axis=0) == 0] = np.iinfo(np.int64).max
    return found


def classes_alike(
    samples: Samples,
    learned: LearnedProfile,
    works_ms: Float64Array,
    current: Sequence[UsedCell],
    candidate: Sequence[UsedCell],
) -> Gate:
    """Whether the shorter and the longer requests of a class that runs in parallel are sped up alike.

    Where edges of classes do not fit the service, one speed-up stands for two. What that may be off counts by the share
    of the time of runs, of all or of the slowest, that the class spends on several threads.
    """
    name, worst, where = "classes", 0.0, -1
    shares: dict[int, float] = {}
    for cells in (current, candidate):
        for one in {cell.work_class for cell in cells}:
            share = sum(cell.share for cell in cells if cell.work_class == one and cell.degree > 1)
            shares[one] = max(shares.get(one, 0.0), min(1.0, share))
    for one, share in sorted(shares.items()):
        apart, error = _halves_apart(samples, learned, works_ms, one) if share else (0.0, 0.0)
        if (sure := share * max(0.0, abs(apart) - 2.0 * error)) > worst:
            worst, where = sure, one
    if where < 0:
        return Gate(name, True, 0.0, HETEROGENEITY, "speed-ups of shorter and longer requests of each class agree")
    text = (
        f"speed-ups of shorter and longer requests of class {where} are apart by {worst:.1%} of the time of runs; "
        f"want at most {HETEROGENEITY:.0%}"
    )
    return gate(name, worst <= HETEROGENEITY, worst, HETEROGENEITY, text, "set other edges of classes (class_edges_ms)")


def raised(
    samples: Samples,
    learned: LearnedProfile,
    effective: EffectiveTimes,
    policy: Policy | None,
    current: Sequence[UsedCell],
    candidate: Sequence[UsedCell],
) -> Gate:
    """Whether it is known what one thread does, where nearly all requests of a class got more threads on their way.

    What is wrong in the work of those that began on one thread then counts several times in all speed-ups of the class,
    and their work alike: it cancels where they run on several again, and is the error of the forecast where they do
    not. So few of them say nothing, nor do many whose threads came late, as no worker was idle.
    """
    name, advice = (
        "raised",
        "explore more, at less load, or ask for a policy that gives more threads as the current one",
    )
    late = _lateness(effective, policy)
    moved, where, count = 0.0, -1, 0
    alone = np.isfinite(samples.predictions_ms) & (samples.degrees == 1)
    for one in {cell.work_class for cell in current} & {cell.work_class for cell in candidate}:
        began = alone & (learned.profile.classes(samples.predictions_ms) == one)
        more = np.count_nonzero(began & (samples.last_degrees > 1))
        few = int(learned.counts[one, 0]) < OWN_RAISED
        if 2 * more > np.count_nonzero(began) and (few or late > LATE):
            change = _on_one(candidate, one) - _on_one(current, one)
            if change > moved:
                moved, where, count = change, one, int(learned.counts[one, 0])
    if where < 0:
        return Gate(name, True, 0.0, MOVED_TO_ONE, "requests tell what one thread does")
    text = (
        f"the candidate moves {moved:.0%} of the time of class {where} to one thread; of that tell {count} requests, "
        f"most of which got more threads, {late:.2f} times as late as the policy says; "
        f"want at most {MOVED_TO_ONE:.0%}, or {OWN_RAISED} requests and {LATE:g} times"
    )
    return gate(name, moved <= MOVED_TO_ONE, moved, MOVED_TO_ONE, text, advice)


def _lateness(effective: EffectiveTimes, policy: Policy | None) -> float:
    """The usual pause between further threads beside that of the policy; 1 where there is none or it is not known."""
    wanted = policy.correct_every_ms if isinstance(policy, Tpc) else getattr(policy, "interval_ms", 0.0)
    pauses = effective.raise_pauses_ms
    came = pauses[pauses > 0] if pauses is not None and wanted else np.zeros(0)
    return float(np.median(came)) / wanted if came.size >= _LEAST_COMPARED else 1.0


def _on_one(cells: Sequence[UsedCell], work_class: int) -> float:
    """The share of one thread in the time of a class."""
    inside = [cell for cell in cells if cell.work_class == work_class]
    return sum(cell.share for cell in inside if cell.degree == 1) / sum(cell.share for cell in inside)


def telling_predictions(
    samples: Samples, learned: LearnedProfile, works_ms: Float64Array, used: Sequence[UsedCell]
) -> Gate:
    """Whether requests predicted to be of a class mostly are of it, or near; else its speed-ups are those of others.

    Looked at on requests that began on one thread, whose work hangs least on the speed-ups. Those that got more threads
    on their way count as well: without them, only what was quicker than predicted would be left.
    """
    edges = np.asarray(learned.profile.edges_ms)
    alone = np.isfinite(samples.predictions_ms) & (samples.degrees == 1)
    predicted, works = learned.profile.classes(samples.predictions_ms[alone]), works_ms[alone]
    least, where = 1.0, -1
    for one in sorted({cell.work_class for cell in used if cell.degree > 1}):
        inside = works[predicted == one]
        if inside.size < OWN_DATA:
            continue
        low, high = np.concatenate([[0.0], edges / NEAR_EDGE])[one], np.concatenate([edges * NEAR_EDGE, [np.inf]])[one]
        right = float(np.mean((inside >= low) & (inside < high)))
        if right < least:
            least, where = right, one
    text = f"of requests predicted to be of class {where}, {least:.0%} are, or nearly; want {LEAST_RIGHT:.0%}"
    if where < 0:
        text = "classes of predictions are those of the work"
    return gate("predictor", least >= LEAST_RIGHT, least, LEAST_RIGHT, text, "train the predictor anew")


def _work_by_threads(samples: Samples, learned: LearnedProfile, works_ms: Float64Array) -> tuple[float, float]:
    """Change of the logarithm of work beside prediction with one more thread met, and its standard error.

    Within a class of prediction and degree, so that it is not the change of what is run; the outer tenths of the
    ratios, which are mispredictions, are cut to the others.
    """
    use = (samples.active >= 0) & np.isfinite(samples.predictions_ms)
    ratios = np.log(works_ms[use] / samples.predictions_ms[use])
    cells = learned.profile.classes(samples.predictions_ms[use]) * learned.profile.max_degree + samples.degrees[use] - 1
    met = samples.active[use].astype(np.float64)
    xy = xx = rest = 0.0
    n = 0
    for cell in np.unique(cells):
        inside = cells == cell
        if np.count_nonzero(inside) < _LEAST_COMPARED:
            continue
        low, high = np.quantile(ratios[inside], (0.1, 0.9))
        y, x = np.clip(ratios[inside], low, high), met[inside] - met[inside].mean()
        y = y - y.mean()
        xy, xx, rest, n = xy + float(x @ y), xx + float(x @ x), rest + float(y @ y), n + y.size
    if not xx or n < _LEAST_COMPARED:
        return 0.0, 0.0
    slope = xy / xx
    return slope, math.sqrt(max(rest - slope * xy, 0.0) / n / xx)


def _halves_apart(
    samples: Samples, learned: LearnedProfile, works_ms: Float64Array, work_class: int
) -> tuple[float, float]:
    """How far the logarithms of speed-ups of the two halves of a class are apart, over all degrees; and its error."""
    told = np.isfinite(samples.predictions_ms)
    inside = np.flatnonzero(told)[learned.profile.classes(samples.predictions_ms[told]) == work_class]
    if not inside.size:
        return 0.0, 0.0
    ratios = np.log(works_ms[inside] / samples.predictions_ms[inside])
    degrees = samples.degrees[inside]
    longer = samples.predictions_ms[inside] >= np.median(samples.predictions_ms[inside])
    alone = [_median(ratios, (degrees == 1) & half) for half in (~longer, longer)]
    weights = total = 0.0
    for degree in range(2, learned.profile.max_degree + 1):
        more = [_median(ratios, (degrees == degree) & half) for half in (~longer, longer)]
        error = more[0][1] ** 2 + more[1][1] ** 2
        if math.isfinite(error):
            apart = (more[1][0] - alone[1][0]) - (more[0][0] - alone[0][0])
            weights, total = weights + 1.0 / error, total + apart / error
    error = (1.0 / weights if weights else math.inf) + alone[0][1] ** 2 + alone[1][1] ** 2
    return (total / weights, math.sqrt(error)) if math.isfinite(error) else (0.0, 0.0)


def _median(values: Float64Array, chosen: BoolArray) -> tuple[float, float]:
    """The median and its standard error; infinite where there are too few."""
    some = values[chosen]
    if some.size < _LEAST_IN_HALF:
        return 0.0, math.inf
    low, middle, high = np.quantile(some, (0.25, 0.5, 0.75))
    return float(middle), _OF_MEDIAN * float(high - low) / math.sqrt(some.size) + 1e-9
