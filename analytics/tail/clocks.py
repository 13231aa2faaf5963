"""Whether the times of recorded requests fit together: what was at work when each began, as told and as put together.

Clocks that differ between the machines that note arrivals, or requests that are missing, put other requests beside
each other than ran beside each other. Then sharing cannot be taken out, and nothing is learned from it.
"""

from typing import Final

import numpy as np

from analytics.tail.effective import EffectiveTimes
from analytics.tail.samples import Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.speedup import Float64Array

# Where nearly nothing was shared, it does not matter who ran beside whom.
_SHARED: Final = 0.99
_FEWEST: Final = 100
# What is put together at a start, beside what was told then, against the same beside what was told at another start:
# 0 for times that fit, 1 for times that have nothing to do with each other.
_UNRELATED: Final = 0.5
# So far apart, beside the mean, does no harm: threads that requests got on their way are put together roughly.
_LITTLE: Final = 0.15
# More threads than workers for so much of the busy time: ends and starts of one moment may be told in either order.
_TOO_MANY: Final = 0.05


def clock_fault(samples: Samples, effective: EffectiveTimes, threads: int, workers: int | None = None) -> str | None:
    """What contradicts what, with figures and advice; None where all fits, or nothing is told to compare with.

    Args:
        threads: of the hardware. workers: of the pool, of each instance; None: not known.
    """
    if len(samples) < _FEWEST:
        return None
    fault = None
    if effective.busy_ms is not None:
        fault = _too_many(effective.busy_ms, workers)
    if fault is None and not any(
        np.count_nonzero(told >= 0) >= _FEWEST for told in (samples.active, samples.in_system)
    ):
        fault = _coarse(samples)
    if fault is None and effective.met is not None:
        fault = _others_than_told(samples, effective, effective.met, threads)
    return fault


def _too_many(busy_ms: Float64Array, workers: int | None) -> str | None:
    """More threads at work than there are."""
    if workers is None:
        return None
    over = busy_ms[workers + 1 :].sum() / max(busy_ms[1:].sum(), 1e-9)
    if over <= _TOO_MANY:
        return None
    return (
        f"for {over:.0%} of the busy time more threads were at work, by the times of requests, than the pool has "
        f"workers: up to {busy_ms.size - 1} of {workers}: {_ADVICE}"
    )


def _others_than_told(samples: Samples, effective: EffectiveTimes, at_work: Int32Array, threads: int) -> str | None:
    """Others at work than the requests met by their own account: threads, or else requests."""
    met, name, recorded = at_work.astype(np.float64), "active_threads", samples.active
    if np.count_nonzero(recorded >= 0) < _FEWEST:
        name, recorded = "in_system", samples.in_system
        if np.count_nonzero(recorded >= 0) < _FEWEST:
            return None
        met = _others(samples)
    told = recorded >= 0
    seen, said = met[told], recorded[told].astype(np.float64)
    shared = np.minimum(1.0, threads / np.maximum(said + samples.degrees[told], 1))
    if min(float(shared.mean()), float(effective.shares.mean())) > _SHARED:
        return None
    apart, unrelated = _apart(seen, said), _apart(seen, np.roll(said, said.size // 2))
    little = apart <= max(_UNRELATED * unrelated, _LITTLE * (1 + float(said.mean())))
    if little and not _beyond(float(seen.mean()), float(said.mean())):
        return None
    return (
        f"{name} at the start is {said.mean():.1f} in the mean as told, and {seen.mean():.1f} by the times of the "
        f"others, {apart:.1f} apart ({unrelated:.1f} if they had nothing to do with each other): {_ADVICE}"
    )


_ADVICE: Final = (
    "requests are missing, or their times are of clocks that differ; "
    "note arrival, wait and run on the server that runs the request, and send all requests of it"
)


def _apart(seen: Float64Array, said: Float64Array) -> float:
    """Mean distance; whether a request is told to meet itself, too, does not matter."""
    return float(np.abs((seen - said) - np.median(seen - said)).mean())


def _beyond(seen: float, said: float) -> bool:
    return abs(seen - said) > 2 and not 0.5 <= (seen + 1) / (said + 1) <= 2


def _coarse(samples: Samples) -> str | None:
    """Arrivals noted in steps longer than requests run; such as really come in bursts can tell what they met."""
    gaps = np.diff(samples.arrivals_ms)
    apart = gaps[gaps > 0]
    if apart.size * 2 > gaps.size:
        return None
    step_ms, run_ms = (float(apart.min()) if apart.size else np.inf), float(np.median(samples.services_ms))
    if step_ms <= run_ms:
        return None
    return (
        f"{len(samples)} requests came at {apart.size + 1} different times, at least {step_ms:g} ms apart, and run "
        f"{run_ms:g} ms in the median: nobody knows which ran beside which; send arrivals in nanoseconds"
    )


def _others(samples: Samples) -> Float64Array:
    """Other requests that had come and not ended at the start of each, in its instance."""
    others = np.zeros(len(samples))
    for instance in np.unique(samples.instances):
        chosen = np.flatnonzero(samples.instances == instance)
        arrivals = samples.arrivals_ms[chosen]
        starts = arrivals + samples.waits_ms[chosen]
        ends = np.sort(starts + samples.services_ms[chosen])
        come = np.searchsorted(arrivals, starts, side="right")
        others[chosen] = come - np.searchsorted(ends, starts, side="right") - 1
    return others
