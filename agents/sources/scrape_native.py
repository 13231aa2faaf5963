"""Native histograms between two scrapes: what was added, as bins of ours.

Bucket i of schema s holds gamma**(i - 1) < x <= gamma**i, which is bin i - 1 of our scale s. An application may lower
the schema or widen its zero bucket at any time to stay within its memory: what was counted before is brought to the new
form, exactly, and only then subtracted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from quantiles.dense_bodies import Runs
from quantiles.histogram_bodies import Bodies, Said, exponential_bodies

_INDEX_SHIFT: Final = 1
_MOST_BINS: Final = 2**13  # of one sign: ten decades at schema 8, all that a float can be at schema 1
_BINS_AT_ONCE: Final = 2**18
# Beyond these powers of two there are no floats.
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = 1080, 1025
# Programs work out bounds in other ways, and are a rounding off.
_ROUNDED: Final = 1 + 1e-12


@dataclass(frozen=True, slots=True)
class Native:
    """A native histogram with whole counts. Buckets by index, those of negative values by magnitude."""

    schema: int
    zero_threshold: float
    zero_count: int
    count: int
    sum: float
    positive: Mapping[int, int]
    negative: Mapping[int, int]


class NativeSeries(NamedTuple):
    """One on a page.

    Attributes:
        created_s: when it began to count; NaN where the page does not say.
        gauge: it stands for itself and does not count on.
    """

    key: str
    histogram: Native
    created_s: float
    gauge: bool


def added(before: Native, now: Native) -> Native | None:
    """What was added since; None: it was reset meanwhile."""
    if now.schema > before.schema or now.zero_threshold < before.zero_threshold or now.count < before.count:
        return None
    zeros, (positive, negative) = before.zero_count, (
        _coarser(buckets, before.schema - now.schema) for buckets in (before.positive, before.negative)
    )  # fmt: skip
    if now.zero_threshold > before.zero_threshold:
        zeros += sum(_moved_to_zero(positive, now)) + sum(_moved_to_zero(negative, now))
    kept = Native(
        now.schema, now.zero_threshold, now.zero_count - zeros, now.count - before.count, now.sum - before.sum,
        _less(now.positive, positive), _less(now.negative, negative),
    )  # fmt: skip
    least = min(kept.zero_count, *kept.positive.values(), *kept.negative.values(), 0)
    return None if least < 0 else kept


def bodies_of_natives(histograms: Sequence[Native]) -> Bodies:
    """Each as a body; NaN that were observed are in no bucket and are left out.

    Two buckets that are far apart take a few bytes of a page, but all bins between them have a place here: those that
    are too far apart are brought to a coarser schema, and few are looked at together.
    """
    done: list[Bodies] = []
    some: list[Native] = []
    bins = 0
    for one in histograms:
        narrow = _narrow(one)
        own = _spread(narrow.positive) + _spread(narrow.negative)
        if some and bins + own > _BINS_AT_ONCE:
            done.append(_bodies_of_some(some))
            some, bins = [], 0
        some.append(narrow)
        bins += own
    return Bodies.joined([*done, _bodies_of_some(some)])


def _bodies_of_some(histograms: Sequence[Native]) -> Bodies:
    n = len(histograms)
    scales = np.array([one.schema for one in histograms], np.int64)
    zeros = np.array([one.zero_count for one in histograms], np.int64)
    said = Said.nothing(n)
    said.sums[:] = [one.sum for one in histograms]
    thresholds = np.array([one.zero_threshold for one in histograms], np.float64)
    negative, positive = (
        _runs(parts) for parts in ([h.negative for h in histograms], [h.positive for h in histograms])
    )
    return exponential_bodies(scales, negative, positive, zeros, said, thresholds)


def _narrow(one: Native) -> Native:
    """With buckets near enough to each other; what is refused anyway has one at most."""
    if one.schema < 0:
        return replace(one, positive={}, negative={})
    for index in (*one.positive, *one.negative):
        if not -_LOWEST_OCTAVE << one.schema <= index <= _HIGHEST_OCTAVE << one.schema:
            return replace(one, positive={index: 1}, negative={})
    shift = 0
    while max(_spread(one.positive), _spread(one.negative)) >> shift > _MOST_BINS:
        shift += 1
    if not shift:
        return one
    positive, negative = (_coarser(buckets, shift) for buckets in (one.positive, one.negative))
    return replace(one, schema=one.schema - shift, positive=positive, negative=negative)


def _spread(buckets: Mapping[int, int]) -> int:
    """How many buckets there are from the first to the last."""
    return max(buckets) - min(buckets) + 1 if buckets else 0


def _coarser(buckets: Mapping[int, int], shift: int) -> dict[int, int]:
    if not shift:
        return dict(buckets)
    found: dict[int, int] = {}
    for index, count in buckets.items():
        to = -(-index >> shift)
        found[to] = found.get(to, 0) + count
    return found


def _moved_to_zero(buckets: dict[int, int], now: Native) -> list[int]:
    """Take out the buckets that the wider zero bucket covers; returns their counts."""
    covered = [i for i in buckets if 2.0 ** min(i * 2.0**-now.schema, 1023) <= now.zero_threshold * _ROUNDED]
    return [buckets.pop(i) for i in covered]


def _less(now: Mapping[int, int], before: Mapping[int, int]) -> dict[int, int]:
    found = {index: now.get(index, 0) - count for index, count in before.items()}
    found |= {index: count for index, count in now.items() if index not in before}
    return {index: count for index, count in found.items() if count}


def _runs(parts: Sequence[Mapping[int, int]]) -> Runs:
    sizes = [len(part) for part in parts]
    owners = np.repeat(np.arange(len(parts)), sizes)
    bins = np.array([index - _INDEX_SHIFT for part in parts for index in part], np.int64)
    counts = np.array([count for part in parts for count in part.values()], np.int64)
    return Runs.of_pairs(owners, bins, counts, len(parts))
