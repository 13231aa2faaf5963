"""Times of requests with what sharing the hardware took away left out, so that calm and busy hours can be compared.

T threads at work share N hardware threads evenly: each progresses at min(1, N / T). With I(t) the integral of that, a
request that ran from s to e had an effective time of I(e) - I(s): what it would have taken with nobody beside it.
T is put together from the requests themselves (thread_clock.py), instance by instance; where only a share of them was
kept, from the threads that those kept met at their start.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from analytics.errors import DataError
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.speedup import Float64Array
from analytics.tail.thread_clock import Runs, added, from_all, from_starts

Basis: TypeAlias = Literal["cpu", "reconstructed", "at_start"]

# Processor time is believed for a degree where ten quiet requests agree with it, in the median, within 5 %.
_QUIET: Final = 0.99
_FEWEST_QUIET: Final = 10
_AGREES: Final = 0.05
_SHORTEST_MS: Final = 1e-9
# Pauses below this share of the usual ones are none.
_AT_ONCE: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveTimes:
    """Of n requests, in their order; arrays of n.

    Attributes:
        times_ms: effective times, above 0 and at most the time of the run.
        shares: mean of min(1, N / T) over the run of each, in (0, 1].
        basis: where most of it is from: `reconstructed`: all requests together; `at_start`: the threads that those
            kept met at their start; `cpu`: processor time by thread, where it agrees with the run of quiet requests.
        until_raise_ms: the part of times_ms before it got more threads; all of it where it never did. None: not known.
        raise_pauses_ms: between further threads of each, 0: at once. None: taken to be 0.
        met: threads of others at work when each started, as put together from all. None: not put together.
        busy_ms: float64[most + 1], how long so many threads of an instance were at work, by the same and without those
            that requests got on their way. None: likewise.
    """

    times_ms: Float64Array
    shares: Float64Array
    basis: Basis
    until_raise_ms: Float64Array | None = None
    raise_pauses_ms: Float64Array | None = None
    met: Int32Array | None = None
    busy_ms: Float64Array | None = None


def effective_ms(samples: Samples, threads: int) -> EffectiveTimes:
    """Effective times on `threads` hardware threads of each instance.

    An instance all of whose requests weigh 1 is taken for whole: each request that it ran is among them, but for those
    cut off at both ends of time.

    Raises:
        DataError: `threads` is below 1; or some weigh more than 1, so that others are missing, and none of that
            instance tells the threads at work at its start.
    Cost: O(n log n), some 0.3 us and 50 bytes a request.
    """
    if threads < 1:
        raise DataError(f"{threads} hardware threads; want 1 or more")
    n = len(samples)
    times, until, met, busy = np.empty(n), np.empty(n), np.full(n, -1, np.int32), np.zeros(1)
    starts = samples.arrivals_ms + samples.waits_ms
    raised_after, pauses = raised_after_ms(samples), raise_pauses_ms(samples)
    instances = np.unique(samples.instances)
    basis: Basis = "reconstructed"
    for instance in instances:
        chosen = np.flatnonzero(samples.instances == instance) if instances.size > 1 else slice(None)
        runs = Runs(
            starts[chosen], samples.services_ms[chosen], samples.degrees[chosen], samples.last_degrees[chosen],
            raised_after[chosen], pauses[chosen],
        )  # fmt: skip
        if np.any(samples.weights[chosen] > 1):
            basis = "at_start"
            clocked = from_starts(runs, _told_active(samples.active[chosen], int(instance)), threads)
        else:
            clocked = from_all(runs, threads)
        times[chosen], until[chosen] = clocked.effective_ms, clocked.until_raise_ms
        if clocked.met is not None and clocked.busy_ms is not None:
            met[chosen], busy = clocked.met, added(busy, clocked.busy_ms)
    times = np.minimum(np.maximum(times, _SHORTEST_MS), samples.services_ms)
    shares = times / samples.services_ms
    by_processor = _told_by_processor(samples, shares)
    if by_processor.any():
        told = samples.cpu_ms[by_processor] / samples.degrees[by_processor]
        times[by_processor] = np.minimum(np.maximum(told, _SHORTEST_MS), samples.services_ms[by_processor])
        shares = times / samples.services_ms
        until = np.where(by_processor, times, until)
        if np.count_nonzero(by_processor) * 2 > n:
            basis = "cpu"
    if np.any(met < 0):
        return EffectiveTimes(times, shares, basis, np.minimum(until, times), pauses)
    return EffectiveTimes(times, shares, basis, np.minimum(until, times), pauses, met, busy)


def raise_pauses_ms(samples: Samples) -> Float64Array:
    """The pause after which each raised request got yet another thread, as far as requests show it; 0: all at once.

    One that got m more threads in a time D after the first of them did so with pauses of at most D / (m - 1). Where
    that is next to nothing for some, threads come all at once. Else those that ended on the way to the most threads
    used up their rest evenly, and show the usual pause, waiting for an idle worker included.
    """
    pauses = np.zeros(len(samples))
    more = samples.last_degrees - samples.degrees
    rest_ms = samples.services_ms - raised_after_ms(samples)
    several = np.flatnonzero((more >= 2) & (samples.raised_ms <= samples.services_ms))
    if not several.size:
        return pauses
    least, middle = np.quantile(rest_ms[several] / (more[several] - 1), (0.01, 0.5))
    if least < _AT_ONCE * middle:
        return pauses
    longest = rest_ms[several] / more[several]
    on_the_way = samples.last_degrees[several] < samples.last_degrees.max()
    usual = rest_ms[several][on_the_way].sum() / more[several][on_the_way].sum() if on_the_way.any() else least
    pauses[several] = np.where(on_the_way, longest, np.minimum(usual, longest))
    return pauses


def raised_after_ms(samples: Samples) -> Float64Array:
    """When each got its first further thread, after its start: half way where that is not told, its end where never."""
    after = np.where(samples.raised_ms <= samples.services_ms, samples.raised_ms, samples.services_ms / 2)
    return np.where(samples.last_degrees > samples.degrees, after, samples.services_ms)


def _told_active(active: Int32Array, instance: int) -> Int32Array:
    if not np.any(active >= 0):
        raise DataError(
            f"only a share of the requests of instance {instance} was kept (weights above 1), and none tells how many "
            "threads were at work at its start; send active_threads, or all requests"
        )
    return active


def _told_by_processor(samples: Samples, shares: Float64Array) -> BoolArray:
    """The requests whose processor time, by thread, is their effective time.

    That is so where no thread of a request waits: not for a disk, a lock, or the others of its request. Quiet requests
    show it: beside nobody, processor time by thread is the time of the run. A degree for which it is not is left out.
    """
    sound = np.zeros(len(samples), np.bool_)
    told = (samples.cpu_ms > 0) & (samples.degrees == samples.last_degrees)
    if not told.any():
        return sound
    quiet = told & (shares > _QUIET)
    for degree in np.unique(samples.degrees[quiet]):
        on_it = quiet & (samples.degrees == degree)
        if np.count_nonzero(on_it) < _FEWEST_QUIET:
            continue
        ratio = np.median(samples.cpu_ms[on_it] / (degree * samples.services_ms[on_it]))
        if abs(ratio - 1) <= _AGREES:
            sound |= told & (samples.degrees == degree)
    return sound
