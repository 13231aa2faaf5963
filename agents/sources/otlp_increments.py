"""What cumulative points add to those before: per series the last one is kept, in bounded memory.

The first point of a series adds nothing, for what it counts may be days old, unless its start time shows that the
series began while we were listening: then all of it is new. So does the first with other bounds. A later start time,
or a count that shrank, is a restart of the program: all of the point is new. A point that is not newer than the last
one, as a client sends again that did not hear our answer, adds nothing. Series not seen for half an hour to an hour
are forgotten.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from quantiles.array_types import FloatArray, IntArray

_GENERATION_NS: Final = 1800 * 10**9
_BUCKETS_A_SERIES: Final = 400
_LARGEST_SHIFT: Final = 62

Key = tuple[bytes, bytes]
#: Why a point adds nothing: the first of its series, not newer than the last, or no room for its series.
Nothing = Literal["first_points", "not_newer", "series_limit"]


class Buckets(NamedTuple):
    """Counts of consecutive buckets, those of one sign of an exponential histogram from number `first` on."""

    first: int
    counts: IntArray


class Total(NamedTuple):
    """What one point counts since its start; of a plain sum only `total`.

    scale: of exponential histograms. bounds: of explicit ones, whose counts are in `positive`.
    """

    total: float
    values: int = 0
    zeros: int = 0
    scale: int = 0
    positive: Buckets | None = None
    negative: Buckets | None = None
    bounds: FloatArray | None = None


@dataclass(slots=True)
class _Last:
    start_ns: int
    time_ns: int
    total: Total
    size: int


class Increments:
    """The last point of each series."""

    def __init__(self, most: int) -> None:
        """At most `most` series, with _BUCKETS_A_SERIES buckets each on average."""
        self.resets = 0
        self._most = most
        self._most_buckets = _BUCKETS_A_SERIES * most
        self._young: dict[Key, _Last] = {}
        self._old: dict[Key, _Last] = {}
        self._buckets = 0
        self._young_since_ns = 0
        self._listening_since_ns = 0
        self._now_ns = 0

    def __len__(self) -> int:
        """Series that are known."""
        return len(self._young) + len(self._old)

    def begin(self, now_ns: int) -> None:
        """We listen from now on; what series counted meanwhile is not known to be new."""
        self._young, self._old, self._buckets = {}, {}, 0
        self._young_since_ns = self._listening_since_ns = self._now_ns = now_ns

    def grow_older(self, now_ns: int) -> None:
        """Forget what has not been seen for long; call before each request."""
        self._now_ns = now_ns
        if 0 <= now_ns - self._young_since_ns < _GENERATION_NS:
            return
        for last in self._old.values():
            self._buckets -= last.size
            self._was_counted_until(last)
        self._old, self._young, self._young_since_ns = self._young, {}, now_ns

    def of(self, key: Key, start_ns: int, time_ns: int, total: Total) -> Total | Nothing:
        """What the point adds; it is the last of its series now."""
        last = self._young.get(key) or self._old.get(key)
        if last is not None and time_ns <= last.time_ns:
            return "not_newer"
        if not self._keep(key, start_ns, time_ns, total, last):
            return "series_limit"
        if last is None:
            return total if start_ns > self._listening_since_ns else "first_points"
        began_anew = start_ns > last.start_ns and start_ns >= last.time_ns
        if not began_anew and not _same_bounds(total, last.total):
            return "first_points"
        found = None if began_anew else _difference(total, last.total)
        if found is None:
            self.resets += 1
            return total
        return found

    def _keep(self, key: Key, start_ns: int, time_ns: int, total: Total, last: _Last | None) -> bool:
        """Whether there is room for it; what does not fit any more is forgotten."""
        size = sum(len(part.counts) for part in (total.positive, total.negative) if part is not None)
        self._young.pop(key, None)
        self._old.pop(key, None)
        if last is not None:
            self._buckets -= last.size
        if len(self) >= self._most or self._buckets + size > self._most_buckets:
            if last is not None:
                self._was_counted_until(last)
            return False
        self._buckets += size
        self._young[key] = _Last(start_ns, time_ns, total, size)
        return True

    def _was_counted_until(self, last: _Last) -> None:
        """Should a series that is forgotten come back it must not count a second time."""
        self._listening_since_ns = max(self._listening_since_ns, min(last.time_ns, self._now_ns))


def _difference(now: Total, before: Total) -> Total | None:
    """None where a count shrank, or buckets cannot be compared: the series began anew."""
    if now.values < before.values or now.zeros < before.zeros:
        return None
    if now.positive is None and now.bounds is None:
        return Total(now.total - before.total) if now.total >= before.total else None
    if now.bounds is not None:
        return _explicit_difference(now, before)
    scale = min(now.scale, before.scale)
    sides = []
    for one, other in ((now.positive, before.positive), (now.negative, before.negative)):
        assert one is not None
        assert other is not None
        side = _less(_coarser(one, now.scale - scale), _coarser(other, before.scale - scale))
        if side is None:
            return None
        sides.append(side)
    return Total(
        now.total - before.total, now.values - before.values, now.zeros - before.zeros, scale, sides[0], sides[1]
    )


def _explicit_difference(now: Total, before: Total) -> Total | None:
    assert now.positive is not None
    assert before.positive is not None
    counts = now.positive.counts - before.positive.counts
    if len(counts) and int(counts.min()) < 0:
        return None
    return Total(now.total - before.total, now.values - before.values, positive=Buckets(0, counts), bounds=now.bounds)


def _same_bounds(now: Total, before: Total) -> bool:
    if now.bounds is None or before.bounds is None:
        return now.bounds is before.bounds
    return np.array_equal(now.bounds, before.bounds)


def _less(one: Buckets, other: Buckets) -> Buckets | None:
    """The counts without those of the other; None where there would be fewer than none."""
    if one.first == other.first and len(one.counts) == len(other.counts):
        counts = one.counts - other.counts
        return None if len(counts) and int(counts.min()) < 0 else Buckets(one.first, counts)
    held = np.flatnonzero(other.counts)
    if not len(held):
        return one
    places = held + (other.first - one.first)
    if int(places[0]) < 0 or int(places[-1]) >= len(one.counts):
        return None
    counts = one.counts.copy()
    counts[places] -= other.counts[held]
    return None if int(counts.min()) < 0 else Buckets(one.first, counts)


def _coarser(one: Buckets, steps: int) -> Buckets:
    """Buckets of a scale that is lower by so many: 2**steps become one."""
    if steps <= 0 or not len(one.counts):
        return one
    shift = min(steps, _LARGEST_SHIFT)
    first = one.first >> shift
    places = ((one.first + np.arange(len(one.counts))) >> shift) - first
    counts = np.zeros(int(places[-1]) + 1, np.int64)
    np.add.at(counts, places, one.counts)
    return Buckets(first, counts)
