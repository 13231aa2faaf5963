"""What an expression reads and what it answers: columns of samples, and the source that they come from.

The evaluator knows no database: it asks a Source. The store is one (api/prometheus/), a dictionary in memory another
(tests). A sample's time is the end of the window that it tells of, so that the samples of a range (t - w, t] are
exactly the windows that lie in it.

Two kinds of series exist besides readings (gauges, and counters that only grow): deltas tell what happened in their
own window and nothing else, so `rate` and `increase` add them up instead of comparing them. Sketches are deltas.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantiles.sketch_column import SketchColumn
from store.label_matchers import Matcher

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Labels = dict[str, str]

#: The bits of the NaN that says "this series ended here", as Prometheus writes it.
STALE_NAN_BITS = 0x7FF0000000000002


@dataclass(frozen=True, slots=True)
class Grouping:
    """`sum by (labels)`, or `sum without (labels)`; as in PromQL, `without` also drops the metric's name."""

    labels: tuple[str, ...]
    without: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Which samples an expression needs.

    Args:
        matchers: over all labels, `__name__` among them; all must hold.
        first_ns, last_ns, step_ns: the instants asked about, offset and @ taken into account; one instant: step 1.
        range_ns: at each instant t the samples in (t - range_ns, t]. The lookback for instant selectors.
        addable: at each instant the deltas in the range are only ever added up, so a source may give sums of
            neighbouring windows instead, as long as each lies in exactly the ranges that its parts lie in.
        grouping: the deltas of a group's series are only ever added up too: a source may give one series per group,
            with the group's labels. Readings are given as they are, in any case.
    """

    matchers: tuple[Matcher, ...]
    first_ns: int
    last_ns: int
    step_ns: int
    range_ns: int
    addable: bool = False
    grouping: Grouping | None = None


@dataclass(frozen=True, slots=True)
class FloatSamples:
    """Samples of n series of numbers.

    labels: n label sets, `__name__` among them; no two are equal.
    delta: bool[n], whether each series' values tell only of their own window.
    series: int64[m], which series each sample belongs to; ascending.
    times_ns: int64[m], ascending within a series.
    values: float64[m]; a NaN of STALE_NAN_BITS ends the series until its next sample.
    """

    labels: list[Labels]
    delta: BoolArray
    series: Int64Array
    times_ns: Int64Array
    values: Float64Array


@dataclass(frozen=True, slots=True)
class SketchSamples:
    """Samples of n series of sketches, all deltas; arrays as in FloatSamples.

    grouped: whether the series are already the groups of Request.grouping; labels then have no `__name__` unless the
        grouping names it, and the evaluator need not group again.
    """

    labels: list[Labels]
    series: Int64Array
    times_ns: Int64Array
    sketches: SketchColumn
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that a source has for a request. Sketches of different scales come in several parts.

    warnings: sentences about what these samples lack, for whoever reads the answer.
    """

    floats: FloatSamples
    sketches: list[SketchSamples] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where samples come from."""

    def select(self, request: Request) -> Samples:
        """The samples that the request asks for, none outside its ranges' hull (first - range, last]."""
        ...


#: Called now and then while an expression runs; raises to end it (time is up, the client is gone).
Interrupt = Callable[[], None]
