"""The clock that runs at the rate of T threads at work (slowdown.py), and how far it went in the run of each request.

Put together from all requests of a server, or, where only some were kept, from the threads that those met.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.tail.simulation import Int32Array
from analytics.tail.slowdown import rate
from analytics.tail.speedup import Float64Array, Int64Array

# Requests put together at a time: some 50 MB of events, and sorts that stay near the cache.
_AT_ONCE: Final = 1 << 18
# Wait and run are rounded to a microsecond each, at most.
_ROUNDED_MS: Final = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs of n requests on one server; arrays of n.

    Attributes:
        starts_ms: in any order. services_ms: how long each ran.
        degrees, last_degrees: threads at its start and end.
        raised_after_ms: from its start to its first further thread; services_ms where it got none.
        pauses_ms: between further threads of one request, at most its rest by their number.
    """

    starts_ms: Float64Array
    services_ms: Float64Array
    degrees: Int32Array
    last_degrees: Int32Array
    raised_after_ms: Float64Array
    pauses_ms: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Clocked:
    """What the clock says of n runs; arrays of n.

    Attributes:
        effective_ms: how far it went in each. until_raise_ms: the part of it before the first further thread.
        met: threads of others at work at the start. None: not known.
        busy_ms: float64[most + 1], how long so many threads were at work of those that requests began with: it does not
            hang on when others came. None: not known.
    """

    effective_ms: Float64Array
    until_raise_ms: Float64Array
    met: Int32Array | None = None
    busy_ms: Float64Array | None = None


def from_all(runs: Runs, threads: int, slowdown: float = 0.0) -> Clocked:
    """From the runs of all requests."""
    n = runs.starts_ms.size
    began, ended, met = np.empty(n), np.empty(n), np.zeros(n, np.int32)
    raised = np.full(n, np.nan)
    order = np.argsort(runs.starts_ms, kind="stable")
    kept = _Events(np.empty(0), np.empty(0), *(np.empty(0, np.int64) for _ in range(3)))
    now, clock, active, sure, busy = float(runs.starts_ms.min(initial=np.inf)), 0.0, 0, 0, np.zeros(1)
    for first in range(0, n, _AT_ONCE):
        some, rest = order[first : first + _AT_ONCE], order[first + _AT_ONCE :]
        events, kept = _events(runs, some, kept).divided(float(runs.starts_ms[rest[0]]) if rest.size else np.inf)
        total = active + np.cumsum(events.more)
        before, passed = np.concatenate([[active], total[:-1]]), np.diff(events.times_ms, prepend=now)
        surely = sure + np.cumsum(events.surely)
        clocks = clock + np.cumsum(passed * rate(before, threads, slowdown))
        busy = added(busy, np.bincount(np.concatenate([[sure], surely[:-1]]), weights=passed).astype(np.float64))
        kinds, whose = np.divmod(events.owners, n)
        began[whose[kinds == _START]] = clocks[kinds == _START]
        ended[whose[kinds == _END]] = clocks[kinds == _END]
        raised[whose[kinds == _RAISE]] = clocks[kinds == _RAISE]
        met[whose[kinds == _START]] = (total - events.more)[kinds == _START]
        if total.size:
            now, clock = float(events.times_ms[-1]), float(clocks[-1])
            active, sure = int(total[-1]), int(surely[-1])
    ended -= began
    return Clocked(ended, np.where(np.isnan(raised), ended, raised - began), met, busy)


def added(one: Float64Array, other: Float64Array) -> Float64Array:
    """The sum of both, the shorter one filled up with zeros."""
    longer, shorter = (one, other) if one.size >= other.size else (other, one)
    total = longer.copy()
    total[: shorter.size] += shorter
    return total


def from_starts(runs: Runs, active: Int32Array, threads: int, slowdown: float = 0.0) -> Clocked:
    """From what some requests met, where others between them are missing.

    From a start, where threads rise by the request's own, the rate changes in a line to that before the
    next start kept; after the last one it stays.

    Args:
        active: int32[n], threads of others at work at each start; negative: not told, of at least one it is.
    """
    told = np.flatnonzero(active >= 0)
    told = told[np.argsort(runs.starts_ms[told], kind="stable")]
    at = runs.starts_ms[told]
    before = rate(active[told].astype(np.int64), threads, slowdown)
    after = rate(active[told].astype(np.int64) + np.maximum(runs.degrees[told], 1), threads, slowdown)
    lengths = np.diff(at)
    clocks = np.concatenate([[0.0], np.cumsum(lengths * (after[:-1] + before[1:]) / 2)])
    slopes = np.append((before[1:] - after[:-1]) / np.maximum(lengths, 1e-9), 0.0)

    def clock(times_ms: Float64Array) -> Float64Array:
        place = np.maximum(np.searchsorted(at, times_ms, side="right") - 1, 0)
        past = times_ms - at[place]
        return np.asarray(clocks[place] + past * (after[place] + np.maximum(past, 0) * slopes[place] / 2))

    began = clock(runs.starts_ms)
    raised = clock(runs.starts_ms + runs.raised_after_ms) - began
    return Clocked(clock(runs.starts_ms + runs.services_ms) - began, raised)


_START, _END, _RAISE, _FURTHER = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """When threads at work become more or fewer: owners is n times the kind, and the number of the request.

    `surely`: the same without further threads. `places_ms`: what they are sorted by.
    """

    times_ms: Float64Array
    places_ms: Float64Array
    more: Int64Array
    surely: Int64Array
    owners: Int64Array

    def divided(self, until_ms: float) -> "tuple[_Events, _Events]":
        """Those before a time, sorted, and the others."""
        order = np.argsort(self.places_ms, kind="stable")
        cut = int(np.searchsorted(self.places_ms[order], until_ms, side="left"))
        return self._some(order[:cut]), self._some(order[cut:])

    def _some(self, which: Int64Array) -> "_Events":
        return _Events(
            self.times_ms[which], self.places_ms[which], self.more[which], self.surely[which], self.owners[which]
        )


def _events(runs: Runs, some: Int64Array, kept: _Events) -> _Events:
    """Those of some requests and those kept; ends before starts of the same time: a worker is free, then taken.

    Rounding brings the two apart, so that an end has its place a little earlier than its time.
    """
    n = runs.starts_ms.size
    first, last = runs.degrees[some].astype(np.int64), runs.last_degrees[some].astype(np.int64)
    raised, times = some[last > first], (last - first)[last > first]
    owners = np.repeat(raised, times)
    nth = np.arange(owners.size) - np.repeat(np.cumsum(times) - times, times)
    when = runs.starts_ms[owners] + runs.raised_after_ms[owners] + nth * runs.pauses_ms[owners]
    starts, services = runs.starts_ms[some], runs.services_ms[some]
    ends = starts + services
    return _Events(
        np.concatenate([kept.times_ms, ends, when, starts]),
        np.concatenate([kept.places_ms, ends - np.minimum(_ROUNDED_MS, services / 2), when, starts]),
        np.concatenate([kept.more, -last, np.ones(owners.size, np.int64), first]),
        np.concatenate([kept.surely, -first, np.zeros(owners.size, np.int64), first]),
        np.concatenate(
            [kept.owners, some + n * _END, owners + n * np.where(nth == 0, _RAISE, _FURTHER), some + n * _START]
        ),
    )
