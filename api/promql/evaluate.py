"""The evaluator's two questions: the value of an expression at one instant, and at every step of a range.

All instants are evaluated at once: a value is a matrix of series by instants (values.py), and no part loops over
instants or samples in Python.
"""

from collections.abc import Callable
from typing import cast

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.aggregations import aggregate
from api.promql.answer import Answer
from api.promql.answering import instant_answer, range_answer, samples_answer
from api.promql.binary import binary
from api.promql.errors import ExpressionError
from api.promql.evaluation import Evaluation
from api.promql.functions import function_value
from api.promql.limits import Limits
from api.promql.parsing import LATEST_NS, parse
from api.promql.samples import Interrupt, Source
from api.promql.selecting import check_size, instant_vector
from api.promql.tree import Aggregate, Binary, Call, Negation, Node, Number, Selector, Text
from api.promql.values import Grid, Scalar, TextValue, Value, Vector, unnamed

USUAL_LIMITS = Limits()


def _never() -> None:
    """Interrupts nothing."""


def instant(
    text: str, time_ns: int, source: Source, limits: Limits = USUAL_LIMITS, interrupt: Interrupt = _never
) -> Answer:
    """The value of an expression at one instant; a bare range selector answers its samples.

    Raises:
        PromqlError: see errors.py. Whatever `source` and `interrupt` raise passes through.
    """
    node = parse(text)
    evaluation = _evaluation(Grid(_checked(time_ns), 1, 1), time_ns, source, limits, interrupt)
    with np.errstate(all="ignore"):  # infinities and NaN are values here, however they come about
        if isinstance(node, Selector) and node.range_ns is not None:
            return samples_answer(evaluation, node)
        return instant_answer(evaluation, evaluation.value(node))


def range_query(
    text: str,
    start_ns: int,
    end_ns: int,
    step_ns: int,
    source: Source,
    limits: Limits = USUAL_LIMITS,
    interrupt: Interrupt = _never,
) -> Answer:
    """The values of an expression at start, start + step, … up to end, as a matrix sorted by labels.

    Raises:
        PromqlError: as `instant`; ExpressionError also for a range without instants, or with too many.
    """
    node = parse(text)
    if isinstance(node, Text) or (isinstance(node, Selector) and node.range_ns is not None):
        kind = "string" if isinstance(node, Text) else "range vector"
        raise ExpressionError(f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector')
    if step_ns <= 0:
        raise ExpressionError("zero or negative query resolution step widths are not accepted. Try a positive integer")
    if _checked(end_ns) < _checked(start_ns):
        raise ExpressionError("end timestamp must not be before start time")
    count = (end_ns - start_ns) // step_ns + 1
    if count > limits.max_points:
        raise ExpressionError(
            f"exceeded maximum resolution of {limits.max_points:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    evaluation = _evaluation(Grid(start_ns, step_ns, count), end_ns, source, limits, interrupt)
    with np.errstate(all="ignore"):
        return range_answer(evaluation, evaluation.value(node))


def _evaluation(grid: Grid, end_ns: int, source: Source, limits: Limits, interrupt: Interrupt) -> Evaluation:
    return Evaluation(grid, end_ns, source, limits, interrupt, _value)


def _checked(time_ns: int) -> int:
    if abs(time_ns) > LATEST_NS:
        raise ExpressionError(f"the time {time_ns / 1e9:.0f} is out of range; wanted seconds within 1843 to 2096")
    return time_ns


def _value(evaluation: Evaluation, node: Node) -> Value:
    rule = cast("Callable[[Evaluation, Node], Value]", _RULES[type(node)])
    value = rule(evaluation, node)
    if isinstance(value, Vector):
        check_size(value.floats.size + len(value.histograms.cells), "points and histogram buckets", evaluation.limits)
    return value


def _number(evaluation: Evaluation, node: Number) -> Value:
    return evaluation.same(node.value)


def _text(_evaluation: Evaluation, node: Text) -> Value:
    return TextValue(node.value)


def _selector(evaluation: Evaluation, node: Selector) -> Value:
    if node.range_ns is not None:
        raise TypeError("the grammar lets range selectors stand in functions only")
    return instant_vector(node, evaluation)


def _negation(evaluation: Evaluation, node: Negation) -> Value:
    value = evaluation.value(node.operand)
    if isinstance(value, Scalar):
        return Scalar(-value.values)
    if isinstance(value, TextValue):
        raise TypeError("the grammar lets no string be negated")
    histograms = arithmetic.scaled(value.histograms, np.full(len(value.histograms), -1.0))
    return unnamed(Vector(value.labels, -value.floats, value.present, value.slots, histograms))


_RULES: dict[type, object] = {
    Number: _number,
    Text: _text,
    Selector: _selector,
    Negation: _negation,
    Call: function_value,
    Aggregate: aggregate,
    Binary: binary,
}
