"""sum, avg, … by labels: the series of each group put together at every instant.

Histograms can be added, averaged and counted; other aggregations leave them out and say so. Where numbers and
histograms meet in one group, sum and avg have no answer.
"""

from collections.abc import Callable

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.errors import EvaluationError
from api.promql.evaluation import Evaluation
from api.promql.grouping import grouped_labels, members
from api.promql.number_text import number_text
from api.promql.over_time_floats import RESCUE, at_levels, interpolated
from api.promql.percentile_misuse import warn_of_misuse
from api.promql.range_functions import is_adding, range_function
from api.promql.samples import BoolArray, Float64Array, Grouping, Int64Array, Labels
from api.promql.selecting import check_size
from api.promql.tree import Aggregate, Call
from api.promql.values import Vector, codes_of, kept, key_of, of_floats, of_histograms, rows


def aggregate(evaluation: Evaluation, node: Aggregate) -> Vector:
    """The value of an aggregation."""
    grouping = Grouping(tuple(label for label in node.labels), node.without)
    operand = _operand(evaluation, node)
    parameter = None
    if node.parameter is not None and node.operator != "count_values":
        parameter = evaluation.scalar(node.parameter)
    warn_of_misuse(evaluation, node)
    labels, codes = grouped_labels(operand.labels, grouping)
    if node.operator in ("topk", "bottomk"):
        return _largest(evaluation, node, operand, codes, np.zeros(0) if parameter is None else parameter)
    if node.operator == "count_values":
        return _counted_values(evaluation, node, operand, (labels, codes))
    if not labels:
        return operand
    if node.operator in ("count", "group"):
        return _counted(node, operand, labels, codes)
    if node.operator in ("sum", "avg"):
        return _added(evaluation, node, operand, labels, codes)
    _leave_out_histograms(evaluation, node, operand)
    groups = _Groups(operand.floats, operand.present, *members(codes, len(labels)))
    if node.operator == "quantile":
        levels = np.zeros(0) if parameter is None else parameter
        warn_of_levels(evaluation, levels)
        values = _quantiles(groups, levels)
    else:
        values = _REDUCTIONS[node.operator](groups)
    return of_floats(labels, values, groups.any())


def warn_of_levels(evaluation: Evaluation, levels: Float64Array) -> None:
    """Warns of quantile levels outside 0 to 1."""
    for level in np.unique(levels[~((levels >= 0) & (levels <= 1))])[:3].tolist():
        evaluation.warn(f"quantile value should be between 0 and 1, got {number_text(level)}")


def _operand(evaluation: Evaluation, node: Aggregate) -> Vector:
    """What is aggregated. A sum of added deltas is read as merged by group as the source can make it."""
    if node.operator == "sum" and isinstance(node.operand, Call) and is_adding(node.operand):
        labels = tuple(label for label in node.labels if label != "__name__")
        return range_function(evaluation, node.operand, Grouping(labels, node.without))
    return evaluation.vector(node.operand)


class _Groups:
    """Numbers of n series, in the order of their groups."""

    def __init__(self, floats: Float64Array, present: BoolArray, order: Int64Array, starts: Int64Array) -> None:
        self.floats, self.present, self.starts = floats[order], present[order], starts
        self.order = order

    def any(self) -> BoolArray:
        """Where a group has any number."""
        return np.asarray(np.logical_or.reduceat(self.present, self.starts, axis=0))

    def counts(self) -> Int64Array:
        """How many numbers each group has."""
        return np.asarray(np.add.reduceat(self.present.astype(np.int64), self.starts, axis=0))

    def sums(self, values: Float64Array) -> Float64Array:
        """Values of present series added up."""
        with np.errstate(all="ignore"):
            return np.asarray(np.add.reduceat(np.where(self.present, values, 0.0), self.starts, axis=0))

    def means(self) -> Float64Array:
        """Averages; finite numbers have a finite one, even where their sum overflows."""
        with np.errstate(all="ignore"):
            means = self.sums(self.floats) / self.counts()
            if np.isinf(means).any():
                means = np.where(np.isinf(means), self.sums(self.floats * RESCUE) / self.counts() / RESCUE, means)
        return means

    def spread(self, values: Float64Array) -> Float64Array:
        """A value per group beside each of the group's series."""
        return values[np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(self.floats))))]


def _minimum(groups: _Groups) -> Float64Array:
    return np.asarray(np.fmin.reduceat(groups.floats, groups.starts, axis=0))


def _maximum(groups: _Groups) -> Float64Array:
    return np.asarray(np.fmax.reduceat(groups.floats, groups.starts, axis=0))


def _variance(groups: _Groups) -> Float64Array:
    with np.errstate(all="ignore"):
        off = groups.floats - groups.spread(groups.means())
        return groups.sums(off * off) / groups.counts()


def _deviation(groups: _Groups) -> Float64Array:
    with np.errstate(all="ignore"):
        return np.sqrt(_variance(groups))


_REDUCTIONS: dict[str, Callable[[_Groups], Float64Array]] = {
    "min": _minimum,
    "max": _maximum,
    "stdvar": _variance,
    "stddev": _deviation,
}


def _quantiles(groups: _Groups, levels: Float64Array) -> Float64Array:
    """One quantile per group and instant; NaN sort below everything."""
    instants, n = np.nonzero(groups.present.T)
    owners = np.searchsorted(groups.starts, n, side="right") - 1
    values = groups.floats[n, instants]
    nan = np.isnan(values)
    order = np.lexsort((np.where(nan, -np.inf, values), ~nan, instants, owners))
    counts = groups.counts()
    flat = counts.reshape(-1)
    some = np.flatnonzero(flat)
    firsts = (np.cumsum(flat) - flat)[some]
    result = np.full(flat.size, np.nan)
    result[some] = interpolated(values[order], firsts, flat[some], levels[some % groups.floats.shape[1]])
    return at_levels(result.reshape(counts.shape), levels)


def _counted(node: Aggregate, operand: Vector, labels: list[Labels], codes: Int64Array) -> Vector:
    present = operand.any_present()
    groups = _Groups(operand.floats, present, *members(codes, len(labels)))
    counts = groups.counts()
    values = np.minimum(counts, 1) if node.operator == "group" else counts
    return of_floats(labels, values.astype(np.float64), counts > 0)


def _added(evaluation: Evaluation, node: Aggregate, operand: Vector, labels: list[Labels], codes: Int64Array) -> Vector:
    groups = _Groups(operand.floats, operand.present, *members(codes, len(labels)))
    values = groups.means() if node.operator == "avg" else groups.sums(groups.floats)
    numbers = of_floats(labels, values, groups.any())
    if not len(operand.slots):
        return numbers
    count = operand.count
    own = codes[operand.slots // count] * count + operand.slots % count
    slots, places, sizes = np.unique(own, return_inverse=True, return_counts=True)
    histograms = arithmetic.added(operand.histograms, places, len(slots))
    if node.operator == "avg":
        histograms = arithmetic.scaled(histograms, sizes.astype(np.float64), divide=True)
    merged = of_histograms(labels, count, slots, histograms)
    mixed = numbers.present & merged.histogram_mask()
    if mixed.any():
        evaluation.warn("encountered a mix of histograms and floats for aggregation")
        numbers, merged = kept(numbers, ~mixed), kept(merged, ~mixed)
    return Vector(labels, numbers.floats, numbers.present, merged.slots, merged.histograms)


def _leave_out_histograms(evaluation: Evaluation, node: Aggregate, operand: Vector) -> None:
    if len(operand.slots):
        evaluation.inform(f"ignored histogram in {node.operator} aggregation")


def _largest(
    evaluation: Evaluation, node: Aggregate, operand: Vector, codes: Int64Array, parameter: Float64Array
) -> Vector:
    """topk and bottomk: the series stay as they are, at one instant in the order of their groups and values."""
    _leave_out_histograms(evaluation, node, operand)
    if not np.all(np.abs(parameter) < 2**63):
        raise EvaluationError(f"the parameter of {node.operator} is NaN or infinite; write a whole number from 1 on")
    if not len(codes):
        return operand
    sign = -1.0 if node.operator == "topk" else 1.0
    nan, shape = np.isnan(operand.floats), operand.present.shape
    keys = np.where(nan, np.inf, sign * operand.floats)
    groups = np.broadcast_to(codes[:, None], shape)
    order = np.lexsort((nan, keys, ~operand.present, groups), axis=0)  # at every instant by group, then best first
    starts = np.searchsorted(np.sort(codes), codes)
    ranks = np.empty(shape, np.int64)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(len(codes))[:, None], shape), axis=0)
    chosen = kept(operand, operand.present & (ranks - starts[:, None] < np.trunc(parameter)))
    return rows(chosen, order[:, 0]) if operand.count == 1 else chosen


def _counted_values(
    evaluation: Evaluation, node: Aggregate, operand: Vector, groups: tuple[list[Labels], Int64Array]
) -> Vector:
    _leave_out_histograms(evaluation, node, operand)
    label = "" if node.parameter is None else evaluation.text(node.parameter)
    if not label:
        raise EvaluationError('invalid label name ""; count_values needs a name for the label that holds the value')
    labels, codes = groups
    row, instants = np.nonzero(operand.present)
    values, which = np.unique(operand.floats[row, instants], return_inverse=True)
    evaluation.interrupt()
    keys, places = np.unique(codes[row] * len(values) + which, return_inverse=True)
    own = [{**labels[key // len(values)], label: number_text(values[key % len(values)])} for key in keys.tolist()]
    same, firsts = codes_of([key_of(given) for given in own])
    check_size(len(firsts) * operand.count, "points of count_values", evaluation.limits)
    counts = np.zeros((len(firsts), operand.count))
    np.add.at(counts, (same[places], instants), 1.0)
    return of_floats([own[first] for first in firsts], counts, counts > 0)
