"""All functions by name. The parser lets through those of support.py only; a test holds the two lists together."""

from collections.abc import Callable

from api.promql import calendar, histogram_functions, label_functions, range_functions, simple_functions
from api.promql.evaluation import Evaluation
from api.promql.tree import Call
from api.promql.values import Value

ALL: dict[str, Callable[[Evaluation, Call], Value]] = {
    **simple_functions.FUNCTIONS,
    **calendar.FUNCTIONS,
    **histogram_functions.FUNCTIONS,
    **label_functions.FUNCTIONS,
    **dict.fromkeys(range_functions.FLOAT_FUNCTIONS, range_functions.range_function),
}


def function_value(evaluation: Evaluation, call: Call) -> Value:
    """The value of a call."""
    return ALL[call.function](evaluation, call)
