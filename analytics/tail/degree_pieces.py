"""How much of its effective time a request ran on which degree, where it got more threads on its way.

From that alone, without any speed-up, there is a least time that its work takes on more threads.
"""

import numpy as np

from analytics.tail.effective import EffectiveTimes, raised_after_ms
from analytics.tail.samples import Samples
from analytics.tail.speedup import Float64Array, Int64Array


def pieces_ms(samples: Samples, effective: EffectiveTimes, which: Int64Array, max_degree: int) -> Float64Array:
    """Effective time by degree, float64[which, max_degree]; rows add up to the effective times.

    Up to the first further thread it is known. From then on threads come one by one, a pause apart, and the share of
    the hardware is taken to stay.
    """
    pieces = np.zeros((which.size, max_degree))
    rows, times, run = np.arange(which.size), effective.times_ms[which], samples.services_ms[which]
    first, last = samples.degrees[which].astype(np.int64), samples.last_degrees[which].astype(np.int64)
    after = raised_after_ms(samples.where(which))
    until = times * (after / run) if effective.until_raise_ms is None else effective.until_raise_ms[which]
    pieces[rows, first - 1] = np.where(last > first, until, times)
    rest_ms = np.maximum(run - after, 1e-9)
    pause_ms = np.zeros(which.size) if effective.raise_pauses_ms is None else effective.raise_pauses_ms[which]
    for nth in range(int((last - first).max(initial=0))):
        degree = first + 1 + nth
        length = np.where(degree == last, rest_ms - nth * pause_ms, pause_ms)
        there = degree <= last
        pieces[rows[there], degree[there] - 1] = ((times - until) * length / rest_ms)[there]
    return pieces


def least_ms(samples: Samples, effective: EffectiveTimes, which: Int64Array, degree: int) -> Float64Array:
    """The least time that each takes alone on `degree` threads from its start, float64[which], whatever the speed-ups.

    A further thread is taken to be worth no more than each before it: what was done in a time on k threads takes at
    least k / degree of it on `degree` threads. More threads than these are taken to be worth no more than these. It is
    as exact as the pieces: after the first further thread, they go by usual pauses.
    """
    most = max(degree, int(samples.last_degrees[which].max(initial=1)))
    worth = np.minimum(np.arange(1.0, most + 1), degree) / degree
    return np.asarray(pieces_ms(samples, effective, which, most) @ worth)
