"""What expressions pass between each other: scalars, strings, and vectors over all instants of a query at once.

A vector is a matrix, series by instants. Numbers lie in a dense array beside a mask; histograms are few or many, so
they lie one behind the other, each with its slot: series * instants + instant. At one instant a series has a number
or a histogram, never both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.errors import EvaluationError
from api.promql.histograms import Histograms
from api.promql.samples import BoolArray, Float64Array, Int64Array, Labels
from api.promql.tree import shortened

LabelKey = tuple[tuple[str, str], ...]


def seconds_of(times_ns: Int64Array) -> Float64Array:
    """Times in seconds to the millisecond, as Prometheus counts them; a quotient of nanoseconds would be 0.2 us off."""
    return np.asarray((times_ns + 500_000) // 1_000_000 / 1000.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants asked about: `count` of them from `first_ns` on, `step_ns` apart."""

    first_ns: int
    step_ns: int
    count: int

    @property
    def last_ns(self) -> int:
        """The latest instant."""
        return self.first_ns + (self.count - 1) * self.step_ns

    def times(self) -> Int64Array:
        """All instants, int64[count]."""
        return self.first_ns + np.arange(self.count, dtype=np.int64) * self.step_ns

    def seconds(self) -> Float64Array:
        """All instants in seconds, float64[count]."""
        return seconds_of(self.times())


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number per instant, float64[count]."""

    values: Float64Array


@dataclass(frozen=True, slots=True)
class TextValue:
    """A string."""

    value: str


@dataclass(frozen=True, slots=True)
class Vector:
    """n series over c instants.

    labels: n label sets, in an order that means something at a single instant only.
    floats, present: float64[n, c] and bool[n, c]; floats are NaN where nothing is present.
    slots: int64[k], ascending; where the histograms are.
    histograms: k histograms.
    """

    labels: list[Labels]
    floats: Float64Array
    present: BoolArray
    slots: Int64Array
    histograms: Histograms

    @property
    def count(self) -> int:
        """How many instants there are."""
        return int(self.floats.shape[1])

    def with_labels(self, labels: list[Labels]) -> "Vector":
        """The same values under other names."""
        return Vector(labels, self.floats, self.present, self.slots, self.histograms)

    def histogram_mask(self) -> BoolArray:
        """Where the histograms are, bool[n, c]."""
        mask = np.zeros(self.floats.size, np.bool_)
        mask[self.slots] = True
        return mask.reshape(self.floats.shape)

    def any_present(self) -> BoolArray:
        """Where there is a number or a histogram, bool[n, c]."""
        return self.present | self.histogram_mask() if len(self.slots) else self.present


Value = Scalar | TextValue | Vector

NO_SLOTS = np.empty(0, np.int64)


def of_floats(labels: list[Labels], floats: Float64Array, present: BoolArray) -> Vector:
    """A vector of numbers only; what is not present is set to NaN."""
    return Vector(labels, np.where(present, floats, np.nan), present, NO_SLOTS, arithmetic.nothing())


def of_histograms(labels: list[Labels], count: int, slots: Int64Array, histograms: Histograms) -> Vector:
    """A vector of histograms only."""
    shape = (len(labels), count)
    return Vector(labels, np.full(shape, np.nan), np.zeros(shape, np.bool_), slots, histograms)


def empty(count: int) -> Vector:
    """No series."""
    return of_floats([], np.empty((0, count)), np.empty((0, count), np.bool_))


def floats_of(vector: Vector, change: Callable[[Float64Array], Float64Array]) -> Vector:
    """The numbers changed one by one, the histograms left out, names dropped."""
    with np.errstate(all="ignore"):
        return unnamed(of_floats(vector.labels, change(vector.floats), vector.present))


def kept(vector: Vector, mask: BoolArray) -> Vector:
    """Only what lies where the mask, bool[n, c], is true."""
    where = np.flatnonzero(mask.reshape(-1)[vector.slots])
    return Vector(
        vector.labels,
        np.where(mask, vector.floats, np.nan),
        vector.present & mask,
        vector.slots[where],
        arithmetic.taken(vector.histograms, where),
    )


def rows(vector: Vector, wanted: Int64Array, labels: list[Labels] | None = None) -> Vector:
    """These series in this order; a series may come more than once."""
    count = vector.count
    starts = np.searchsorted(vector.slots, wanted * count)
    lengths = np.searchsorted(vector.slots, (wanted + 1) * count) - starts
    first = np.cumsum(lengths) - lengths
    entries = np.arange(int(lengths.sum())) + np.repeat(starts - first, lengths)
    moves = np.repeat((np.arange(len(wanted)) - wanted) * count, lengths)
    return Vector(
        [vector.labels[row] for row in wanted.tolist()] if labels is None else labels,
        vector.floats[wanted],
        vector.present[wanted],
        vector.slots[entries] + moves,
        arithmetic.taken(vector.histograms, entries),
    )


def stacked(vectors: list[Vector]) -> Vector:
    """The series of all vectors, those of the first one first."""
    filled = [vector for vector in vectors if vector.labels] or vectors[:1]
    if len(filled) == 1:
        return filled[0]
    count = filled[0].count
    before = np.cumsum([0] + [len(vector.labels) for vector in filled[:-1]])
    return Vector(
        [labels for vector in filled for labels in vector.labels],
        np.concatenate([vector.floats for vector in filled]),
        np.concatenate([vector.present for vector in filled]),
        np.concatenate([vector.slots + start * count for vector, start in zip(filled, before, strict=True)]),
        arithmetic.joined([vector.histograms for vector in filled]),
    )


def unnamed(vector: Vector) -> Vector:
    """The same without `__name__`; series that become equal are joined as in `distinct`."""
    return distinct(vector.with_labels([without_name(labels) for labels in vector.labels]))


def distinct(vector: Vector) -> Vector:
    """The same with one series per label set: those of equal labels are joined where they exist at different instants.

    Raises:
        EvaluationError: two of them exist at the same instant.
    """
    codes, firsts = codes_of([key_of(labels) for labels in vector.labels])
    if len(firsts) == len(vector.labels):
        return vector
    return joined_rows(vector, codes, [vector.labels[row] for row in firsts])


def joined_rows(vector: Vector, codes: Int64Array, labels: list[Labels]) -> Vector:
    """Series joined by code where they exist at different instants.

    Raises:
        EvaluationError: two series of one code exist at the same instant.
    """
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(labels)))
    crowded = np.add.reduceat(vector.any_present()[order].astype(np.int64), starts, axis=0) > 1
    if crowded.any():
        raise EvaluationError("vector cannot contain metrics with the same labelset")
    floats = np.fmax.reduceat(vector.floats[order], starts, axis=0)
    present = np.logical_or.reduceat(vector.present[order], starts, axis=0)
    slots = codes[vector.slots // vector.count] * vector.count + vector.slots % vector.count
    sorted_slots = np.argsort(slots, kind="stable")
    histograms = arithmetic.taken(vector.histograms, sorted_slots)
    return Vector(labels, floats, present, slots[sorted_slots], histograms)


def codes_of(keys: list[LabelKey]) -> tuple[Int64Array, list[int]]:
    """A code per key, counted from 0 in order of first appearance, and where each code appeared first."""
    seen: dict[LabelKey, int] = {}
    firsts: list[int] = []
    codes = np.empty(len(keys), np.int64)
    for row, key in enumerate(keys):
        code = seen.setdefault(key, len(firsts))
        if code == len(firsts):
            firsts.append(row)
        codes[row] = code
    return codes, firsts


def key_of(labels: Labels) -> LabelKey:
    """The label set as something that can be compared and sorted."""
    return tuple(sorted(labels.items()))


def without_name(labels: Labels) -> Labels:
    """The labels but `__name__`."""
    return {name: value for name, value in labels.items() if name != "__name__"}


def shown(labels: Labels) -> str:
    """Labels as Prometheus writes them into its messages."""
    inside = shortened(", ".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items())))
    return "{" + inside + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
