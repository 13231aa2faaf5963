"""From selectors to samples: which instants are asked of the source, and which samples each instant sees.

Ranges and the lookback are open on the left, as in Prometheus 3: at t they hold t - w < x <= t.
"""

from dataclasses import dataclass

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.errors import TooMuchError
from api.promql.evaluation import Evaluation
from api.promql.limits import Limits
from api.promql.samples import (
    STALE_NAN_BITS,
    BoolArray,
    Float64Array,
    FloatSamples,
    Grouping,
    Int64Array,
    Request,
    Samples,
    SketchSamples,
)
from api.promql.tree import Selector, shortened
from api.promql.values import Grid, Vector, distinct, key_of, of_floats, of_histograms, rows, seconds_of, stacked


@dataclass(frozen=True, slots=True)
class Windows:
    """Which samples each series sees at each instant: samples[starts[i, k]:stops[i, k]], both int64[n, c]."""

    starts: Int64Array
    stops: Int64Array

    @property
    def counts(self) -> Int64Array:
        """How many samples each series sees."""
        return self.stops - self.starts

    @property
    def seen(self) -> BoolArray:
        """Where there is any sample."""
        return self.stops > self.starts


@dataclass(frozen=True, slots=True)
class Selected:
    """The samples of a selector.

    grid: the instants that they were read for: the query's, shifted by the offset, or the one that @ names.
    range_ns: how far each instant looks back.
    fixed: whether there is one instant that stands for all of the query's.
    """

    samples: Samples
    grid: Grid
    range_ns: int
    fixed: bool


def selected(
    selector: Selector, evaluation: Evaluation, addable: bool = False, grouping: Grouping | None = None
) -> Selected:
    """What the source has for a selector.

    Raises:
        TooMuchError: more series or samples than the limits allow.
    """
    evaluation.interrupt()
    grid = _shifted(selector, evaluation)
    range_ns = evaluation.limits.lookback_ns if selector.range_ns is None else selector.range_ns
    samples = evaluation.source.select(
        Request(selector.matchers, grid.first_ns, grid.last_ns, grid.step_ns, range_ns, addable, grouping)
    )
    for sentence in samples.warnings:
        evaluation.warn(sentence)
    _check(samples, selector, grid, evaluation.limits)
    return Selected(samples, grid, range_ns, selector.at is not None)


def instant_vector(selector: Selector, evaluation: Evaluation) -> Vector:
    """The latest sample of each series at each instant, at most the lookback old."""
    found = selected(selector, evaluation)
    vectors = [_latest_floats(found)]
    vectors += [_latest_sketches(found, part, evaluation.limits) for part in found.samples.sketches]
    return spread(sorted_rows(distinct(stacked(vectors))), found, evaluation)


def instant_times(selector: Selector, evaluation: Evaluation) -> Vector:
    """When the sample that `instant_vector` shows was taken, in seconds."""
    found = selected(selector, evaluation)
    vectors = []
    parts: list[FloatSamples | SketchSamples] = [found.samples.floats, *found.samples.sketches]
    for part in parts:
        windows = windows_of(part.series, part.times_ns, len(part.labels), found)
        last = np.where(windows.seen, windows.stops - 1, len(part.times_ns))
        seen = windows.seen
        if isinstance(part, FloatSamples):
            seen &= ~np.append(is_stale(part.values), False)[last]
        vectors.append(of_floats(part.labels, seconds_of(np.append(part.times_ns, 0)[last]), seen))
    return spread(sorted_rows(distinct(stacked(vectors))), found, evaluation)


def spread(vector: Vector, found: Selected, evaluation: Evaluation) -> Vector:
    """What was read for one fixed instant, as the value of every instant of the query."""
    count = evaluation.grid.count
    if not found.fixed or count == 1:
        return vector
    check_size(len(vector.histograms.cells) * count, "histogram buckets", evaluation.limits)
    n = len(vector.labels)
    check_size(n * count, "points", evaluation.limits)
    slots = (np.repeat(vector.slots * count, count) + np.tile(np.arange(count), len(vector.slots))).astype(np.int64)
    return Vector(
        vector.labels,
        np.broadcast_to(vector.floats, (n, count)).copy(),
        np.broadcast_to(vector.present, (n, count)).copy(),
        slots,
        arithmetic.taken(vector.histograms, np.repeat(np.arange(len(vector.slots)), count)),
    )


def windows_of(series: Int64Array, times_ns: Int64Array, n: int, found: Selected) -> Windows:
    """Which samples each of n series sees at each instant; samples ascend by series, then time."""
    stride, instants = found.grid.count + 1, np.arange(found.grid.count)
    reached = series * stride + first_instants(times_ns, found.grid)
    left = series * stride + first_instants(times_ns + found.range_ns, found.grid)
    wanted = np.arange(n)[:, None] * stride + instants
    return Windows(np.searchsorted(left, wanted, side="right"), np.searchsorted(reached, wanted, side="right"))


def first_instants(times_ns: Int64Array, grid: Grid) -> Int64Array:
    """The first instant that is not before each time, as its number 0..count; count where all are before it."""
    return np.clip(-((grid.first_ns - times_ns) // grid.step_ns), 0, grid.count)


def sorted_rows(vector: Vector) -> Vector:
    """The series in the order of their labels, so that answers do not depend on the source's."""
    keys = [key_of(labels) for labels in vector.labels]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if order == list(range(len(keys))):
        return vector
    return rows(vector, np.array(order, np.int64))


def is_stale(values: Float64Array) -> BoolArray:
    """Which values are the NaN that ends a series."""
    return np.asarray(np.ascontiguousarray(values).view(np.int64) == STALE_NAN_BITS)


def _shifted(selector: Selector, evaluation: Evaluation) -> Grid:
    grid = evaluation.grid
    if selector.at is None:
        return Grid(grid.first_ns - selector.offset_ns, grid.step_ns, grid.count)
    ends = {"start": grid.first_ns, "end": evaluation.end_ns}
    at = ends[selector.at] if isinstance(selector.at, str) else selector.at
    return Grid(at - selector.offset_ns, 1, 1)


def _latest_floats(found: Selected) -> Vector:
    part = found.samples.floats
    windows = windows_of(part.series, part.times_ns, len(part.labels), found)
    values = np.append(part.values, np.nan)[np.where(windows.seen, windows.stops - 1, -1)]
    return of_floats(part.labels, values, windows.seen & ~is_stale(values))


def _latest_sketches(found: Selected, part: SketchSamples, limits: Limits) -> Vector:
    windows = windows_of(part.series, part.times_ns, len(part.labels), found)
    seen = windows.seen.reshape(-1)
    last = windows.stops.reshape(-1)[seen] - 1
    check_size(int(np.diff(part.sketches.offsets)[last].sum()), "histogram buckets", limits)
    histograms = arithmetic.taken(arithmetic.of_sketches(part.sketches), last)
    return of_histograms(part.labels, found.grid.count, np.flatnonzero(seen), histograms)


def _check(samples: Samples, selector: Selector, grid: Grid, limits: Limits) -> None:
    series = len(samples.floats.labels) + sum(len(part.labels) for part in samples.sketches)
    if series > limits.max_series:
        raise TooMuchError(
            f"{shortened(selector.text)} gives {series} series, at most {limits.max_series} are taken; "
            "add matchers that leave fewer"
        )
    held = len(samples.floats.values) + sum(len(part.sketches.cells) for part in samples.sketches)
    check_size(held, f"samples and buckets of {shortened(selector.text)}", limits)
    check_size(series * grid.count, f"points of {shortened(selector.text)}", limits)


def check_size(size: int, what: str, limits: Limits) -> None:
    """Refuses to go on with more numbers than the limits allow.

    Raises:
        TooMuchError: naming both.
    """
    if size > limits.max_samples:
        raise TooMuchError(
            f"{size} {what}, at most {limits.max_samples} are held at a time; "
            "ask for a shorter range, a longer step or fewer series"
        )
