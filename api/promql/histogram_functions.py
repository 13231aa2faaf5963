"""histogram_quantile and its like: what a histogram says, as numbers. Numbers given to them are left out."""

from collections.abc import Callable

import numpy as np

from api.promql.aggregations import warn_of_levels
from api.promql.evaluation import Evaluation
from api.promql.histogram_quantiles import fractions, quantiles
from api.promql.histograms import Histograms
from api.promql.samples import Float64Array
from api.promql.tree import Call
from api.promql.values import Vector, of_floats, unnamed


def _quantile(evaluation: Evaluation, call: Call) -> Vector:
    levels = evaluation.scalar(call.arguments[0])
    vector = evaluation.vector(call.arguments[1])
    warn_of_levels(evaluation, levels)
    if vector.present.any():
        evaluation.inform(
            "histogram_quantile takes histograms and left numbers out; here metrics of sketches are histograms"
        )
    if np.isnan(vector.histograms.sums).any():
        evaluation.inform("input to histogram_quantile has NaN observations, results may be NaN or lower than expected")
    return _numbers(vector, lambda histograms, instants: quantiles(histograms, levels[instants], evaluation.interrupt))


def _fraction(evaluation: Evaluation, call: Call) -> Vector:
    lower, upper = evaluation.scalar(call.arguments[0]), evaluation.scalar(call.arguments[1])
    vector = evaluation.vector(call.arguments[2])
    return _numbers(
        vector,
        lambda histograms, instants: fractions(histograms, lower[instants], upper[instants], evaluation.interrupt),
    )


def _simple(read: Callable[[Histograms], Float64Array]) -> Callable[[Evaluation, Call], Vector]:
    def function(evaluation: Evaluation, call: Call) -> Vector:
        return _numbers(evaluation.vector(call.arguments[0]), lambda histograms, _instants: read(histograms))

    return function


def _numbers(vector: Vector, read: Callable[[Histograms, np.ndarray], Float64Array]) -> Vector:
    """A number for each histogram; `read` gets them with the number of each one's instant."""
    values, present = np.full(vector.floats.size, np.nan), np.zeros(vector.floats.size, np.bool_)
    with np.errstate(all="ignore"):
        values[vector.slots] = read(vector.histograms, vector.slots % max(vector.count, 1))
    present[vector.slots] = True
    shape = vector.floats.shape
    return unnamed(of_floats(vector.labels, values.reshape(shape), present.reshape(shape)))


FUNCTIONS: dict[str, Callable[[Evaluation, Call], Vector]] = {
    "histogram_quantile": _quantile,
    "histogram_fraction": _fraction,
    "histogram_count": _simple(lambda histograms: histograms.totals),
    "histogram_sum": _simple(lambda histograms: histograms.sums),
    "histogram_avg": _simple(lambda histograms: histograms.sums / histograms.totals),
}
