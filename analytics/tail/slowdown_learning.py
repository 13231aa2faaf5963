"""How much threads of a server slow each other, learned from what requests met.

The right slowdown is the one with which effective times do not hang on the hardware threads that were busy when a
request began. Requests of like predictions on one degree are compared, so that it is not the change of what is run; a
line in the prediction is taken out, and the outer tenths of what is left, which are mispredictions, are cut.

Those of a kind of which many got more threads on their way are left out: how long they took hangs on when.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.samples import Samples
from analytics.tail.simulation import Int32Array
from analytics.tail.slowdown import own
from analytics.tail.speedup import Float64Array, Int64Array

#: Less than that is none: so much errors of threads that requests got on their way are taken for.
LEAST: Final = 0.02
#: More than that is something else.
MOST: Final = 4.0

_STRATA: Final = 16
_LEAST_COMPARED: Final = 100
# Share of those of a kind that may have got more threads; they are among the outer tenth.
_RAISED: Final = 0.05
_OUTER: Final = 0.1
_BLOCKS: Final = 20
# Of Student's t with as many degrees of freedom as blocks but one.
_T_95: Final = 2.093
# Threads that came on the way are put together roughly: the slowdown may be off by so many times the share of requests
# that got some. Of simulated servers with 0.3 under `ramp-up`, it was off by up to as much as that share.
_BY_RAISED: Final = 2.0
_MOST_STEPS: Final = 6
_CLOSE: Final = 0.002


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A slowdown with a 95 % interval; 0 where requests do not tell that there is one, and `high` is what may be."""

    value: float = 0.0
    low: float = 0.0
    high: float = 0.0


NO_SLOWDOWN: Final = Slowdown()


def learn_slowdown(samples: Samples, threads: int, effective: EffectiveTimes) -> Slowdown:
    """What these requests tell.

    Args:
        threads: of the hardware, on each instance.
        effective: of the same samples, with no slowdown taken out.
    Cost: a few passes, and where there is a slowdown, some effective_ms.
    """
    kinds = _Kinds.of(samples, threads, effective)
    if kinds is None:
        return NO_SLOWDOWN
    # How much of it requests meet at their start is about what they meet on their way.
    blocks, told = kinds.moments(effective.times_ms), float(kinds.met @ kinds.busy)
    if told <= 0:
        return NO_SLOWDOWN
    value, error = float(blocks.sum()) / told, _error(blocks, told)
    if value - error <= 0:
        return Slowdown(high=max(0.0, value + error))
    before, moment = 0.0, float(blocks.sum())
    for _ in range(_MOST_STEPS):
        value = min(value, MOST)
        blocks = kinds.moments(effective_ms(samples, threads, value).times_ms)
        told = (moment - float(blocks.sum())) / (value - before)
        if told <= 0:
            return NO_SLOWDOWN
        before, moment = value, float(blocks.sum())
        value = min(max(value + moment / told, 0.0), MOST)
        if abs(value - before) < _CLOSE:
            break
    raised = float(np.mean(samples.last_degrees > samples.degrees))
    error = math.hypot(_error(blocks, told), _BY_RAISED * raised * value)
    if value < LEAST or value - error <= 0:
        return Slowdown(high=value + error)
    return Slowdown(value, value - error, value + error)


@dataclass(frozen=True, slots=True, eq=False)
class _Kinds:
    """Requests that are compared with others of their kind; arrays of k, one kind after the other.

    Attributes:
        which: of the samples. bounds: where the next kind begins.
        predictions: logarithms. met: busy hardware threads at the start beyond those of the request, as a share, as
            far as the prediction does not say. busy: the same before that, beside those of the request.
        block: of time.
    """

    which: Int64Array
    bounds: Int64Array
    predictions: Float64Array
    met: Float64Array
    busy: Float64Array
    block: Int64Array

    @staticmethod
    def of(samples: Samples, threads: int, effective: EffectiveTimes) -> "_Kinds | None":
        """None where nothing can be compared."""
        active = _met(samples, effective)
        usable = np.flatnonzero((active >= 0) & np.isfinite(samples.predictions_ms))
        if threads < 2 or usable.size < _LEAST_COMPARED:
            return None
        predictions, degrees = samples.predictions_ms[usable], samples.degrees[usable].astype(np.int64)
        edges = np.unique(np.quantile(predictions, np.arange(1, _STRATA) / _STRATA))
        kinds = np.searchsorted(edges, predictions, side="right") * (int(degrees.max()) + 1) + degrees
        raised = samples.last_degrees[usable] > degrees
        counts = np.bincount(kinds)
        few = (counts < _LEAST_COMPARED) | (np.bincount(kinds, raised) > _RAISED * counts)
        order = np.argsort(kinds, kind="stable")
        order = order[~few[kinds[order]]]
        if not order.size:
            return None
        bounds = np.concatenate([np.flatnonzero(np.diff(kinds[order], prepend=-1)), [order.size]])
        which, logs = usable[order], np.log(predictions[order])
        own_only, all_of = degrees[order], degrees[order] + active[usable][order]
        busy = own(all_of, threads, 1.0) - own(own_only, threads, 1.0)
        met = np.concatenate([_rest(busy[one], logs[one]) for one in _slices(bounds)])
        return _Kinds(which, bounds, logs, met, busy, which * _BLOCKS // len(samples))

    def moments(self, times_ms: Float64Array) -> Float64Array:
        """By block, how times go with what was met; their sum is 0 where they do not."""
        ratios = np.log(times_ms[self.which]) - self.predictions
        parts = []
        for one in _slices(self.bounds):
            rest = _rest(ratios[one], self.predictions[one])
            rest = np.clip(rest, *np.quantile(rest, (_OUTER, 1 - _OUTER)))
            parts.append(rest - rest.mean())
        return np.asarray(np.bincount(self.block, np.concatenate(parts) * self.met, _BLOCKS), np.float64)


def _met(samples: Samples, effective: EffectiveTimes) -> Int32Array:
    """Threads of others at the start of each: as told, or else as put together."""
    if np.any(samples.active >= 0) or effective.met is None:
        return samples.active
    return effective.met


def _error(blocks: Float64Array, told: float) -> float:
    """Half of the 95 % interval."""
    spread = math.sqrt(float(((blocks - blocks.mean()) ** 2).sum()) * _BLOCKS / (_BLOCKS - 1))
    return _T_95 * spread / told


def _rest(values: Float64Array, beside: Float64Array) -> Float64Array:
    """What is left of values when a line in the other is taken out."""
    values, beside = values - values.mean(), beside - beside.mean()
    square = float(beside @ beside)
    return values - (float(values @ beside) / square) * beside if square > 0 else values


def _slices(bounds: Int64Array) -> list[slice]:
    return [slice(int(first), int(last)) for first, last in pairwise(bounds)]
