"""How much of its effective time a request ran on which degree, where it got more threads on its way."""

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
