"""Functions that change numbers one by one, turn scalars into vectors and back, sort, and ask for what is absent."""

from collections.abc import Callable

import numpy as np

from api.promql.evaluation import Evaluation
from api.promql.samples import Float64Array, Labels
from api.promql.selecting import instant_times
from api.promql.tree import Call, Node, Selector
from api.promql.values import Scalar, Value, Vector, floats_of, of_floats, rows, unnamed

Rule = Callable[[Evaluation, Call], Value]

UNARY: dict[str, Callable[[Float64Array], Float64Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": np.degrees,
    "rad": np.radians,
}


def _unary(change: Callable[[Float64Array], Float64Array]) -> Rule:
    def function(evaluation: Evaluation, call: Call) -> Value:
        return floats_of(evaluation.vector(call.arguments[0]), change)

    return function


def _clamp(evaluation: Evaluation, call: Call) -> Value:
    vector = evaluation.vector(call.arguments[0])
    low, high = (evaluation.scalar(argument) for argument in call.arguments[1:])
    clamped = floats_of(vector, lambda floats: np.maximum(low, np.minimum(high, floats)))
    possible = np.broadcast_to(~(low > high), clamped.present.shape)
    return of_floats(clamped.labels, clamped.floats, clamped.present & possible)


def _clamp_max(evaluation: Evaluation, call: Call) -> Value:
    vector, high = evaluation.vector(call.arguments[0]), evaluation.scalar(call.arguments[1])
    return floats_of(vector, lambda floats: np.minimum(high, floats))


def _clamp_min(evaluation: Evaluation, call: Call) -> Value:
    vector, low = evaluation.vector(call.arguments[0]), evaluation.scalar(call.arguments[1])
    return floats_of(vector, lambda floats: np.maximum(low, floats))


def _round(evaluation: Evaluation, call: Call) -> Value:
    """To the nearest multiple, halves up; by the multiple's inverse, which is exact more often."""
    vector = evaluation.vector(call.arguments[0])
    nearest = evaluation.scalar(call.arguments[1]) if len(call.arguments) > 1 else np.ones(evaluation.grid.count)
    return floats_of(vector, lambda floats: np.floor(floats * (1.0 / nearest) + 0.5) / (1.0 / nearest))


def _scalar(evaluation: Evaluation, call: Call) -> Value:
    vector = evaluation.vector(call.arguments[0])
    if not vector.labels:
        return evaluation.same(np.nan)
    alone = vector.present.sum(axis=0) == 1
    return Scalar(np.where(alone, np.fmax.reduce(vector.floats, axis=0), np.nan))


def _vector(evaluation: Evaluation, call: Call) -> Value:
    values = evaluation.scalar(call.arguments[0])[None, :]
    return of_floats([{}], values, np.ones(values.shape, np.bool_))


def _time(evaluation: Evaluation, _call: Call) -> Value:
    return Scalar(evaluation.grid.seconds())


def _pi(evaluation: Evaluation, _call: Call) -> Value:
    return evaluation.same(np.pi)


def _timestamp(evaluation: Evaluation, call: Call) -> Value:
    """When a selector's samples were taken; of anything else, the instant itself."""
    argument = call.arguments[0]
    if isinstance(argument, Selector):
        return unnamed(instant_times(argument, evaluation))
    vector = evaluation.vector(argument)
    times = np.broadcast_to(evaluation.grid.seconds(), vector.floats.shape)
    return unnamed(of_floats(vector.labels, times, vector.any_present()))


def _sort(descending: bool) -> Rule:
    """By value at a single instant, NaN last; over a range the order has no meaning. Histograms are left out."""

    def function(evaluation: Evaluation, call: Call) -> Value:
        vector = evaluation.vector(call.arguments[0])
        numbers = of_floats(vector.labels, vector.floats, vector.present)
        if vector.count != 1:
            return numbers
        values = numbers.floats[:, 0]
        return rows(numbers, np.lexsort((-values if descending else values, np.isnan(values))))

    return function


def _absent(evaluation: Evaluation, call: Call) -> Value:
    return _one_where_nothing_is(evaluation.vector(call.arguments[0]), call.arguments[0], evaluation.grid.count)


def _absent_over_time(evaluation: Evaluation, call: Call) -> Value:
    vector = evaluation.vector(Call("present_over_time", call.arguments))
    return _one_where_nothing_is(vector, call.arguments[0], evaluation.grid.count)


def _one_where_nothing_is(vector: Vector, argument: Node, count: int) -> Vector:
    there = np.zeros(count, np.bool_)
    if vector.labels:
        there |= vector.any_present().any(axis=0)
    return of_floats([_labels_of_absent(argument)], np.ones((1, count)), ~there[None, :])


def _labels_of_absent(argument: Node) -> Labels:
    """What the series would have been called, as far as the selector says: labels named once, by equality."""
    if not isinstance(argument, Selector):
        return {}
    names = [matcher.label for matcher in argument.matchers]
    return {
        matcher.label: matcher.value
        for matcher in argument.matchers
        if matcher.operator == "=" and matcher.label != "__name__" and names.count(matcher.label) == 1 and matcher.value
    }


FUNCTIONS: dict[str, Rule] = {
    **{name: _unary(change) for name, change in UNARY.items()},
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "round": _round,
    "scalar": _scalar,
    "vector": _vector,
    "time": _time,
    "pi": _pi,
    "timestamp": _timestamp,
    "sort": _sort(descending=False),
    "sort_desc": _sort(descending=True),
    "absent": _absent,
    "absent_over_time": _absent_over_time,
}
