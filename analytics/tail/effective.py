"""Times of requests with what others took away left out, so that calm and busy hours can be compared.

T threads at work share N hardware threads evenly, and may slow each other besides: each progresses at a rate that hangs
on T (slowdown.py). With I(t) the integral of that, a request that ran from s to e had an effective time of I(e) - I(s),
its own threads not counted among those that slow it: what it would have taken with nobody beside it.
T is put together from the requests themselves (thread_clock.py), instance by instance; where only a share of them was
kept, from the threads that those kept met at their start.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from analytics.errors import DataError
from analytics.tail.samples import BoolArray, Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.slowdown import checked, own
from analytics.tail.speedup import Float64Array, Int64Array
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
        slowdown: that was taken out (slowdown.py).
    """

    times_ms: Float64Array
    shares: Float64Array
    basis: Basis
    until_raise_ms: Float64Array | None = None
    raise_pauses_ms: Float64Array | None = None
    met: Int32Array | None = None
    busy_ms: Float64Array | None = None
    slowdown: float = 0.0


def effective_ms(samples: Samples, threads: int, slowdown: float = 0.0) -> EffectiveTimes:
    """Effective times on `threads` hardware threads of each instance.

    An instance all of whose requests weigh 1 is taken for whole: each request that it ran is among them, but for those
    cut off at both ends of time.

    Args:
        slowdown: as it was learned of the same server; 0: threads share the hardware, and do no more to each other.
    Raises:
        DataError: `threads` is below 1, or `slowdown` below 0; or some weigh more than 1, so that others are missing,
            and none of that instance tells the threads at work at its start.
    Cost: O(n log n), some 0.3 us and 50 bytes a request; twice that with a slowdown.
    """
    if threads < 1:
        raise DataError(f"{threads} hardware threads; want 1 or more")
    plain = _told_by_clock(samples, threads, 0.0)
    slowed = plain if not checked(slowdown) else _told_by_clock(samples, threads, slowdown)
    times, until, shares = slowed.times_ms.copy(), _until_raise(slowed), plain.shares.copy()
    by_processor = _told_by_processor(samples, shares)
    if by_processor.any():
        told = samples.cpu_ms[by_processor] / samples.degrees[by_processor]
        # Processor time runs on at the rate of its thread alone, however much that is slowed.
        slower = (slowed.times_ms / plain.times_ms)[by_processor] if slowdown else 1.0
        run = samples.services_ms[by_processor]
        shares[by_processor] = np.minimum(np.maximum(told, _SHORTEST_MS), run) / run
        times[by_processor] = np.minimum(np.maximum(told * slower, _SHORTEST_MS), run)
        until = np.where(by_processor, times, until)
    until = np.minimum(until, times)
    basis: Basis = "cpu" if np.count_nonzero(by_processor) * 2 > len(samples) else plain.basis
    return replace(plain, times_ms=times, shares=shares, basis=basis, until_raise_ms=until, slowdown=slowdown)


def _until_raise(told: EffectiveTimes) -> Float64Array:
    return told.times_ms if told.until_raise_ms is None else told.until_raise_ms


def _told_by_clock(samples: Samples, threads: int, slowdown: float) -> EffectiveTimes:
    """What the clock alone says, instance by instance."""
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
            active = _told_active(samples.active[chosen], int(instance))
            clocked = from_starts(runs, active, threads, slowdown)
        else:
            clocked = from_all(runs, threads, slowdown)
        times[chosen], until[chosen] = clocked.effective_ms, clocked.until_raise_ms
        if clocked.met is not None and clocked.busy_ms is not None:
            met[chosen], busy = clocked.met, added(busy, clocked.busy_ms)
    if slowdown:
        rest = (times - until) * _own_after_raise(samples, threads, slowdown, raised_after, pauses)
        until = until * own(samples.degrees, threads, slowdown)
        times = until + np.where(samples.last_degrees > samples.degrees, rest, 0.0)
    times = np.minimum(np.maximum(times, _SHORTEST_MS), samples.services_ms)
    told = EffectiveTimes(times, times / samples.services_ms, basis, until, pauses)
    return told if np.any(met < 0) else replace(told, met=met, busy_ms=busy)


def _own_after_raise(
    samples: Samples, threads: int, slowdown: float, raised_after_ms: Float64Array, pauses_ms: Float64Array
) -> Float64Array:
    """slowdown.own of the threads of each from its first further one on, the mean over that time."""
    rest_ms = np.maximum(samples.services_ms - raised_after_ms, _SHORTEST_MS)
    mean = own(samples.last_degrees, threads, slowdown)
    for nth in range(1, int((samples.last_degrees - samples.degrees).max(initial=0))):
        degrees = samples.degrees + nth  # for a pause each, until the last of them has come
        lower = own(degrees, threads, slowdown) - own(degrees + 1, threads, slowdown)
        spent = np.minimum(nth * pauses_ms / rest_ms, 1.0)
        mean += np.where(degrees < samples.last_degrees, spent * lower, 0.0)
    return mean


def effective_of(effective: EffectiveTimes, chosen: Int64Array) -> EffectiveTimes:
    """Effective times of some of the requests, in the order chosen."""

    def some(values: Float64Array | None) -> Float64Array | None:
        return None if values is None else values[chosen]

    return replace(
        effective,
        times_ms=effective.times_ms[chosen],
        shares=effective.shares[chosen],
        until_raise_ms=some(effective.until_raise_ms),
        raise_pauses_ms=some(effective.raise_pauses_ms),
        met=None if effective.met is None else effective.met[chosen],
    )


def between(one: EffectiveTimes, other: EffectiveTimes, place: float) -> EffectiveTimes:
    """Effective times of the same requests between two slowdowns, 0 at the one and 1 at the other; next to exact."""
    times = one.times_ms * (other.times_ms / one.times_ms) ** place
    until = None
    if one.until_raise_ms is not None and other.until_raise_ms is not None:
        share = one.until_raise_ms / one.times_ms, other.until_raise_ms / other.times_ms
        until = times * np.clip(share[0] + place * (share[1] - share[0]), 0.0, 1.0)
    slowdown = one.slowdown + place * (other.slowdown - one.slowdown)
    return replace(one, times_ms=times, until_raise_ms=until, slowdown=slowdown)


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
