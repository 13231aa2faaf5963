"""Rows of the stream `otlp`, gathered over one request: numbers one by one, histograms in blocks of bounded size.

Cumulative points become what they add when their block ends, so that points of one series keep their order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from agents.sources.otlp_attributes import Attributes, AttributeSet
from agents.sources.otlp_buckets import Explicit, Exponential, varint_runs
from agents.sources.otlp_increments import Buckets, Increments, Total
from pipeline.sketch_cells import cells_of
from quantiles.array_types import IntArray
from quantiles.dense_bodies import Runs
from quantiles.histogram_bodies import FAULTS, NO_BOUNDS, RIGHT, SCALE_TOO_COARSE, Bodies, Said
from quantiles.sketch_parts import offsets_of

_BLOCK_BYTES: Final = 2**18
_BLOCK_POINTS: Final = 2**13
_BLOCK_SPREAD: Final = 2**20
#: Cells of one request.
_MOST_CELL_BYTES: Final = 2**27
#: Faults of histograms whose count is still of use.
_COUNT_STANDS: Final = (SCALE_TOO_COARSE, NO_BOUNDS)
#: Told the reason, the metric and the number of points.
Note = Callable[[str, str, int], None]
#: Sum, minimum, maximum; NaN where a point does not say.
Extremes = tuple[float, float, float]


class Metric(NamedTuple):
    """What its points share; `digest` tells its series from those of others."""

    name: str
    unit: str
    kind: str
    service: str | None
    resource: AttributeSet
    digest: bytes
    cumulative: bool


#: What all points have: the place of the metric among those of the request, time, start, and the place of the set of
#: attributes. A plain tuple, for there is one a point.
Head = tuple[int, int, int, int]


class ExponentialPoint(NamedTuple):
    """One that waits for its block; positive and negative are packed counts."""

    head: Head
    scale: int
    zeros: int
    values: int
    zero_threshold: float
    extremes: Extremes
    positive_first: int
    positive: bytes
    negative_first: int
    negative: bytes


class Rows:
    """Of one request.

    Attributes:
        refused: points, by reason.
    """

    def __init__(self, attributes: Attributes, increments: Increments, events: Counter[str], note: Note) -> None:
        """`increments` and `events` outlast the request."""
        self.refused: Counter[str] = Counter()
        self._attributes = attributes
        self._increments = increments
        self._events = events
        self._note = note
        self._kinds: list[Metric] = []
        self._sets: list[AttributeSet] = []
        self._places: dict[bytes, int] = {}
        self._numbers: list[tuple[Head, float]] = []
        self._rows: list[Head] = []
        self._counts: list[int | None] = []
        self._cells: list[pl.Series] = []
        self._cell_bytes = 0
        self._exponential: list[ExponentialPoint] = []
        self._explicit: list[tuple[Head, int, Extremes, bytes, bytes]] = []
        self._block_bytes = 0
        self._block_spread = 0

    def begin(self, metric: Metric) -> None:
        """Points from now on are of this metric."""
        self._kinds.append(metric)

    def head(self, ts: int, start: int, attributes: AttributeSet) -> Head:
        """Of a point of the current metric."""
        place = self._places.get(attributes.digest)
        if place is None:
            place = self._places[attributes.digest] = len(self._sets)
            self._sets.append(attributes)
        return len(self._kinds) - 1, ts, start, place

    def refuse(self, reason: str, name: str, count: int = 1) -> None:
        """Points of the metric `name` are left out, and told."""
        if count:
            self.refused[reason] += count
            self._note(reason, name, count)

    def add_number(self, head: Head, value: float) -> None:
        """A gauge or a sum. Integers are subtracted as such: above 2**53 not each is a float."""
        if self._kinds[head[0]].cumulative:
            added = self._added(head, Total(value))
            if isinstance(added, str):
                self._refuse_if(added, head)
                return
            value = added.total
        self._numbers.append((head, float(value)))

    def add_exponential(self, point: ExponentialPoint) -> None:
        """An exponential histogram."""
        self._exponential.append(point)
        self._block_bytes += len(point.positive) + len(point.negative)
        if self._block_bytes > _BLOCK_BYTES or len(self._exponential) >= _BLOCK_POINTS:
            self._end_exponential()

    def add_explicit(self, head: Head, values: int, said: Extremes, counts: bytes, bounds: bytes, spread: int) -> None:
        """A histogram with explicit bounds, +Inf the last one; `spread` is about how many bins they span."""
        self._explicit.append((head, values, said, counts, bounds))
        self._block_spread += spread + len(counts)
        if self._block_spread > _BLOCK_SPREAD or len(self._explicit) >= _BLOCK_POINTS:
            self._end_explicit()

    def finished(self, types: Mapping[str, Any]) -> pl.DataFrame:
        """All rows; the numbers come first."""
        self._end_exponential()
        self._end_explicit()
        heads = [head for head, _ in self._numbers] + self._rows
        numbers = len(self._numbers)
        cells = [pl.Series("distribution", [None] * numbers, dtype=pl.Binary), *self._cells]
        metrics, times, _, sets = zip(*heads, strict=True) if heads else ((), (), (), ())
        of_metric, of_set = pl.Series(metrics, dtype=pl.UInt32), pl.Series(sets, dtype=pl.UInt32)
        columns: dict[str, Any] = {
            "ts": times,
            "value": [value for _, value in self._numbers] + [None] * len(self._rows),
            "count": [None] * numbers + self._counts,
            "distribution": pl.concat(cells),
        }
        for name in ("name", "unit", "kind", "service"):
            columns[name] = pl.Series([getattr(one, name) for one in self._kinds], dtype=pl.String).gather(of_metric)
        for place, column in enumerate(self._attributes.columns):
            own = pl.Series([one.values[place] for one in self._sets], dtype=pl.String).gather(of_set)
            shared = pl.Series([one.resource.values[place] for one in self._kinds], dtype=pl.String).gather(of_metric)
            columns[column] = pl.select(pl.coalesce(own, shared)).to_series()
        return pl.DataFrame({name: pl.Series(name, columns[name], dtype=kind) for name, kind in types.items()})

    def _added(self, head: Head, total: Total) -> Total | str:
        """What a cumulative point adds, or the reason why that is nothing."""
        metric, ts, start, place = head
        found = self._increments.of((self._kinds[metric].digest, self._sets[place].digest), start, ts, total)
        if isinstance(found, str) and found != "series_limit":
            self._events[found] += 1
            return ""
        return found

    def _name(self, head: Head) -> str:
        return self._kinds[head[0]].name

    def _end_exponential(self) -> None:
        """Bodies of the block that has gathered."""
        block, self._exponential, self._block_bytes = self._exponential, [], 0
        if not block:
            return
        heads, scales, zeros, values, thresholds, said, firsts, counts, firsts_below, counts_below = zip(
            *block, strict=True
        )
        positive, wrong = varint_runs(firsts, counts)
        negative, wrong_too = varint_runs(firsts_below, counts_below)
        found = Exponential(
            np.array(scales, np.int64), negative, positive, _wrapped(zeros), _wrapped(values), _said(said),
            np.array(thresholds),
        )  # fmt: skip
        wrong |= wrong_too | found.unlike_their_counts()
        if wrong.any():
            self._refuse_rows("bad_buckets", heads, wrong.tolist())
        if wrong.any() or any(self._kinds[place].cumulative for place in {head[0] for head in heads}):
            found, kept = self._exponential_added(found, heads, wrong.tolist())
            self._give(kept, found.counts, found.bodies())
            return
        self._give(list(heads), found.counts, found.bodies())

    def _exponential_added(
        self, found: Exponential, heads: Sequence[Head], wrong: list[bool]
    ) -> tuple[Exponential, list[Head]]:
        """What right points add."""
        kept: list[tuple[Head, Total, int]] = []
        for i, head in enumerate(heads):
            if wrong[i]:
                continue
            sides = [
                Buckets(int(run.firsts[i]), run.counts[run.offsets[i] : run.offsets[i + 1]])
                for run in (found.positive, found.negative)
            ]
            total = Total(
                float(found.said.sums[i]),
                int(found.counts[i]),
                int(found.zeros[i]),
                int(found.scales[i]),
                sides[0],
                sides[1],
            )
            if self._kinds[head[0]].cumulative:
                # What is kept must not keep the whole block.
                own = [Buckets(side.first, side.counts.copy()) for side in sides]
                added = self._added(head, total._replace(positive=own[0], negative=own[1]))
                if isinstance(added, str):
                    self._refuse_if(added, head)
                    continue
                kept.append((head, added, i))
            else:
                kept.append((head, total, i))
        totals, rows = [total for _, total, _ in kept], np.array([i for _, _, i in kept], np.int64)
        return Exponential(
            np.array([total.scale for total in totals], np.int64),
            _runs([total.negative for total in totals]),
            _runs([total.positive for total in totals]),
            np.array([total.zeros for total in totals], np.int64),
            np.array([total.values for total in totals], np.int64),
            _said_of_added(kept, found.said, found.counts),
            found.zero_thresholds[rows],
        ), [head for head, _, _ in kept]

    def _end_explicit(self) -> None:
        block, self._explicit, self._block_spread = self._explicit, [], 0
        if not block:
            return
        said, sent = _said([one[2] for one in block]), [one[1] for one in block]
        kept: list[tuple[Head, Total, int]] = []
        for i, (head, number, _, count_bytes, bound_bytes) in enumerate(block):
            counts, bounds = np.frombuffer(count_bytes, "<i8"), np.frombuffer(bound_bytes, "<f8")
            # As floats: integers from outside could wrap around to the right sum.
            if int(counts.min()) < 0 or float(counts.sum(dtype=np.float64)) != number:
                self.refuse("bad_buckets", self._name(head))
                continue
            total = Total(float(said.sums[i]), number, positive=Buckets(0, counts), bounds=bounds)
            if self._kinds[head[0]].cumulative:
                added = self._added(head, total)
                if isinstance(added, str):
                    self._refuse_if(added, head)
                    continue
                total = added
            kept.append((head, total, i))
        if not kept:
            return
        runs = _runs([total.positive for _, total, _ in kept])
        bounds = np.concatenate([total.bounds for _, total, _ in kept if total.bounds is not None])
        made = Explicit(bounds, runs.counts, runs.offsets, _said_of_added(kept, said, np.array(sent, np.int64)))
        counts = np.array([total.values for _, total, _ in kept], np.int64)
        self._give([head for head, _, _ in kept], counts, made.bodies())

    def _give(self, heads: list[Head], counts: IntArray, bodies: Bodies) -> None:
        """Rows of histograms, NULL where there is no distribution but a count."""
        cells = cells_of(bodies, "distribution")
        cells = pl.select(pl.when(pl.Series(counts) > 0).then(cells)).to_series().alias("distribution")
        faults = bodies.faults.tolist()
        if self._cell_bytes + len(bodies.data) > _MOST_CELL_BYTES:
            self._refuse_rows("cells_too_large", heads, [True] * len(heads))
            return
        self._cell_bytes += len(bodies.data)
        kept = np.ones(len(heads), np.bool_)
        for i in np.flatnonzero(bodies.faults != RIGHT).tolist():
            if faults[i] in _COUNT_STANDS:
                self._events[FAULTS[faults[i]]] += 1
                self._note(FAULTS[faults[i]], self._name(heads[i]), 1)
            else:
                kept[i] = False
                self.refuse(FAULTS[faults[i]], self._name(heads[i]))
        if not kept.all():
            cells = cells.filter(pl.Series(kept))
            heads = [head for head, good in zip(heads, kept.tolist(), strict=True) if good]
            counts = counts[kept]
        self._rows += heads
        self._counts += counts.tolist()
        self._cells.append(cells)

    def _refuse_rows(self, reason: str, heads: Iterable[Head], wrong: Iterable[bool]) -> None:
        for head, bad in zip(heads, wrong, strict=True):
            if bad:
                self.refuse(reason, self._name(head))

    def _refuse_if(self, reason: str, head: Head) -> None:
        if reason:
            self.refuse(reason, self._name(head))


def _wrapped(numbers: Sequence[int]) -> IntArray:
    """Numbers of 64 bits; those from 2**63 on are negative."""
    return np.array(numbers, np.uint64).view(np.int64)


def _said(said: Sequence[Extremes]) -> Said:
    return Said(*np.array(said, np.float64).T.copy())


def _runs(sides: Sequence[Buckets | None]) -> Runs:
    found = [Buckets(0, np.zeros(0, np.int64)) if side is None else side for side in sides]
    sizes = np.array([len(side.counts) for side in found], np.int64)
    counts = np.concatenate([np.zeros(0, np.int64), *(side.counts for side in found)])
    return Runs(np.array([side.first for side in found], np.int64), offsets_of(sizes), counts)


def _said_of_added(kept: Sequence[tuple[Head, Total, int]], said: Said, counts: IntArray) -> Said:
    """Sums of what was added; extremes only where all of a point is new, for those of earlier values are no news."""
    rows = np.array([i for _, _, i in kept], np.int64)
    added = np.array([total.values for _, total, _ in kept], np.int64)
    whole = added == counts[rows]
    # Sums are rounded: without values what is left of them is nothing.
    sums = np.where(added > 0, np.array([total.total for _, total, _ in kept], np.float64), np.nan)
    return Said(sums, np.where(whole, said.minima[rows], np.nan), np.where(whole, said.maxima[rows], np.nan))
