"""Functions over range selectors: numbers and sketches of one selector, each by its own rules, as one vector."""

from dataclasses import dataclass

import numpy as np

from api.promql import counters, histogram_arithmetic, over_time_floats
from api.promql.errors import UnsupportedError
from api.promql.evaluation import Evaluation
from api.promql.grouping import grouped_labels
from api.promql.histogram_quantiles import quantiles
from api.promql.over_time_sketches import extreme, merged
from api.promql.range_samples import range_floats
from api.promql.samples import Grouping, SketchSamples
from api.promql.selecting import Selected, check_size, selected, sorted_rows, spread, windows_of
from api.promql.support import name_kept, refusal
from api.promql.tree import Call, Selector
from api.promql.values import Vector, distinct, of_floats, of_histograms, stacked, unnamed

FLOAT_FUNCTIONS = {**over_time_floats.FUNCTIONS, **counters.FUNCTIONS}
ADDING = frozenset({"rate", "increase", "sum_over_time"})
MERGING = ADDING | {"avg_over_time", "quantile_over_time"}
EXTREMES = {"min_over_time": False, "max_over_time": True}


def is_adding(node: object) -> bool:
    """Whether a node adds up the deltas of a range, so that those of several series may be added up at once."""
    return isinstance(node, Call) and node.function in ADDING


def range_function(evaluation: Evaluation, call: Call, grouping: Grouping | None = None) -> Vector:
    """The value of a function over a range selector.

    Args:
        grouping: for functions that add up deltas: sketches come merged by group and under the group's labels; the
            caller adds up numbers, and what comes twice.
    """
    selector = call.arguments[-1]
    if not isinstance(selector, Selector):
        raise TypeError("the grammar gives these functions a range selector")
    levels = evaluation.scalar(call.arguments[0]) if len(call.arguments) > 1 else np.full(evaluation.grid.count, np.nan)
    found = selected(selector, evaluation, call.function in ADDING, grouping)
    job = _Job(evaluation, call, found, levels[:1] if found.fixed else levels, grouping)
    if found.fixed and not (levels == levels[0]).all() and not np.isnan(levels).all():
        raise UnsupportedError(refusal("a level that changes with time over a range fixed by @", "write a number"))
    result = spread(_at_instants(job), found, evaluation)
    if grouping is not None:
        return result
    return result if name_kept(call.function) else unnamed(result)


@dataclass(frozen=True, slots=True)
class _Job:
    """One function over what one selector gave."""

    evaluation: Evaluation
    call: Call
    found: Selected
    levels: np.ndarray
    grouping: Grouping | None


def _at_instants(job: _Job) -> Vector:
    samples = range_floats(job.found.samples.floats, job.found, job.levels, job.evaluation.interrupt)
    values, present = FLOAT_FUNCTIONS[job.call.function](samples)
    parts = [of_floats(job.found.samples.floats.labels, values, present)]
    parts += [_of_sketches(job, part) for part in job.found.samples.sketches if part.labels]
    result = stacked(parts)
    return result if job.grouping is not None else sorted_rows(distinct(result))


def _of_sketches(job: _Job, part: SketchSamples) -> Vector:
    function, count = job.call.function, job.found.grid.count
    if function in MERGING:
        return _merged(job, part)
    windows = windows_of(part.series, part.times_ns, len(part.labels), job.found)
    if function in EXTREMES:
        values = extreme(part, windows, EXTREMES[function], job.evaluation.interrupt)
        return of_floats(part.labels, values, windows.seen & ~np.isnan(values))
    if function == "last_over_time":
        seen = np.flatnonzero(windows.seen)
        places = windows.stops.reshape(-1)[seen] - 1
        check_size(int(np.diff(part.sketches.offsets)[places].sum()), "histogram buckets", job.evaluation.limits)
        column = part.sketches.take(places)
        return of_histograms(part.labels, count, seen, histogram_arithmetic.of_sketches(column))
    if function == "count_over_time":
        return of_floats(part.labels, windows.counts.astype(np.float64), windows.seen)
    if function == "present_over_time":
        return of_floats(part.labels, np.ones(windows.seen.shape), windows.seen)
    job.evaluation.inform(
        f"{function} has no meaning for histograms and left them out; write {function} over their quantile, count or "
        "sum per window, or rate and increase"
    )
    return of_floats(part.labels, np.full(windows.seen.shape, np.nan), np.zeros(windows.seen.shape, np.bool_))


def _merged(job: _Job, part: SketchSamples) -> Vector:
    function, grid = job.call.function, job.found.grid
    labels, series = part.labels, part.series
    if job.grouping is not None:
        labels, codes = grouped_labels(part.labels, job.grouping)
        series = codes[part.series]
    slots, histograms = merged(job.evaluation, part, series, len(labels), job.found)
    if function == "quantile_over_time":
        job.evaluation.sketch_quantiles.add(id(job.call))
        values, present = np.full(len(labels) * grid.count, np.nan), np.zeros(len(labels) * grid.count, np.bool_)
        values[slots] = quantiles(histograms, job.levels[slots % grid.count], job.evaluation.interrupt)
        present[slots] = True
        return of_floats(labels, values.reshape(-1, grid.count), present.reshape(-1, grid.count))
    if function == "rate":
        seconds = np.full(len(slots), job.found.range_ns / 1e9)
        histograms = histogram_arithmetic.scaled(histograms, seconds, divide=True)
    if function == "avg_over_time":
        windows = windows_of(part.series, part.times_ns, len(part.labels), job.found)
        sizes = windows.counts.reshape(-1)[slots].astype(np.float64)
        histograms = histogram_arithmetic.scaled(histograms, sizes, divide=True)
    return of_histograms(labels, grid.count, slots, histograms)
