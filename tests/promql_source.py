"""A source of samples in memory, for tests of expressions: series of numbers and of sketches by their labels."""

from collections.abc import Mapping, Sequence

import numpy as np

from api.promql.samples import STALE_NAN_BITS, FloatSamples, Grouping, Labels, Request, Samples, SketchSamples
from quantiles.sketch_column import SketchColumn
from store.label_matchers import matches_all

LabelItems = tuple[tuple[str, str], ...]
STALE = float(np.array(STALE_NAN_BITS, np.int64).view(np.float64))
S = 1_000_000_000


def series(name: str, **labels: str) -> LabelItems:
    """The key of a series."""
    return tuple(sorted({"__name__": name, **labels}.items()))


class MemorySource:
    """Series of numbers, (times_ns, values, delta) by labels, and of sketches, (times_ns, column) by labels.

    merges: whether it merges sketches by group and by neighbouring windows where a request lets it.
    requests: what was asked, in order.
    """

    def __init__(
        self,
        floats: Mapping[LabelItems, tuple[Sequence[int], Sequence[float], bool]] | None = None,
        sketches: Mapping[LabelItems, tuple[Sequence[int], SketchColumn]] | None = None,
        merges: bool = False,
    ) -> None:
        self.merges = merges
        self.floats = {
            key: (np.array(times, np.int64), np.array(values, np.float64), delta)
            for key, (times, values, delta) in (floats or {}).items()
        }
        self.sketches = {key: (np.array(times, np.int64), column) for key, (times, column) in (sketches or {}).items()}
        self.requests: list[Request] = []

    def select(self, request: Request) -> Samples:
        """What lies in the hull of the request's ranges."""
        self.requests.append(request)
        means = matches_all(request.matchers)
        low, high = request.first_ns - request.range_ns, request.last_ns
        floats = [(key, *found) for key, found in self.floats.items() if means(dict(key))]
        parts = self._sketches(means, low, high)
        if self.merges and request.addable and request.grouping is not None:
            parts = [_merged(part, request) for part in parts]
        return Samples(_floats(floats, low, high), parts)

    def merging(self) -> "MemorySource":
        """The same samples from a source that merges early."""
        return MemorySource(self.floats, self.sketches, merges=True)  # type: ignore[arg-type]

    def _sketches(self, means, low: int, high: int) -> list[SketchSamples]:  # type: ignore[no-untyped-def]
        parts = []
        for scale, integer in sorted({(column.scale, column.sums.integer) for _, column in self.sketches.values()}):
            labels, owners, times, columns = [], [], [np.empty(0, np.int64)], [SketchColumn.empty(scale, integer)]
            for key, (at, column) in self.sketches.items():
                if (column.scale, column.sums.integer) == (scale, integer) and means(dict(key)):
                    inside = np.flatnonzero((at > low) & (at <= high))
                    owners.append(np.full(len(inside), len(labels), np.int64))
                    labels.append(dict(key))
                    times.append(at[inside])
                    columns.append(column.take(inside))
            numbers = np.concatenate([np.empty(0, np.int64), *owners])
            parts.append(SketchSamples(labels, numbers, np.concatenate(times), SketchColumn.concat(columns)))
        return parts


def _merged(part: SketchSamples, request: Request) -> SketchSamples:
    """One series per group; of samples that lie in the same ranges one, at the time of the last of them."""
    grouping = request.grouping
    assert grouping is not None
    names = [_group(labels, grouping) for labels in part.labels]
    groups = sorted(set(names))
    own = np.array([groups.index(name) for name in names], np.int64)[part.series]
    first, step = request.first_ns, request.step_ns
    begins = -((first - part.times_ns) // step)
    ends = -((first - part.times_ns - request.range_ns) // step)
    keys = np.stack([own, begins, ends], axis=1)
    alone, places = np.unique(keys, axis=0, return_inverse=True)
    times = np.zeros(len(alone), np.int64)
    np.maximum.at(times, places.reshape(-1), part.times_ns)
    column = part.sketches.reduce(places.reshape(-1).astype(np.int64), len(alone))
    return SketchSamples([dict(name) for name in groups], alone[:, 0], times, column, grouped=True)


def _group(labels: Labels, grouping: Grouping) -> LabelItems:
    if grouping.without:
        kept = {name: value for name, value in labels.items() if name not in {"__name__", *grouping.labels}}
    else:
        kept = {name: labels[name] for name in grouping.labels if name in labels}
    return tuple(sorted(kept.items()))


def _floats(found, low: int, high: int) -> FloatSamples:  # type: ignore[no-untyped-def]
    labels: list[Labels] = [dict(key) for key, *_ in found]
    owners, times, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for row, (_, at, numbers, _) in enumerate(found):
        inside = (at > low) & (at <= high)
        owners.append(np.full(int(inside.sum()), row, np.int64))
        times.append(at[inside])
        values.append(numbers[inside])
    delta = np.array([delta for *_, delta in found], np.bool_)
    return FloatSamples(labels, delta, np.concatenate(owners), np.concatenate(times), np.concatenate(values))
