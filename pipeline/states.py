"""Which state belongs to which aggregate function, and how a batch becomes states."""

from typing import Final

import polars as pl

from pipeline.errors import StateError, nearest
from pipeline.grouping import Grouping
from pipeline.line_state import FirstLinesState, KeptLine, LastLinesState, LinesState
from pipeline.plan import Aggregate, Metric
from pipeline.scalar_states import AvgState, CountState, MaxState, MinState, SumState
from pipeline.schema import TIME_COLUMN
from pipeline.sketch_state import SketchState
from pipeline.state import Described, State, ValueState

__all__ = [
    "AvgState",
    "CountState",
    "Described",
    "FirstLinesState",
    "KeptLine",
    "LastLinesState",
    "LinesState",
    "MaxState",
    "MinState",
    "SketchState",
    "State",
    "SumState",
    "ValueState",
    "accumulate",
    "state_class",
]

_CLASSES: Final[dict[str, type[State]]] = {
    "sketch": SketchState,
    "count": CountState,
    "sum": SumState,
    "min": MinState,
    "max": MaxState,
    "avg": AvgState,
    "first_lines": FirstLinesState,
    "last_lines": LastLinesState,
}


def state_class(function: str) -> type[State]:
    """The state's class of an aggregate function.

    Raises:
        StateError: there is no such function.
    """
    try:
        return _CLASSES[function]
    except KeyError:
        raise StateError(f"no aggregate {function!r}; {nearest(function, list(_CLASSES))}") from None


def accumulate(aggregate: Aggregate, rows: pl.DataFrame, groups: Grouping, scale: int) -> State:
    """The aggregate's states over a batch, one per group."""
    metric = Metric(aggregate.alias, aggregate.function, aggregate.integer, "", scale)
    values = None if aggregate.column is None else rows[aggregate.column]
    kind = state_class(aggregate.function)
    if issubclass(kind, LinesState) and values is not None:
        places = None if aggregate.place is None else rows[aggregate.place]
        return kind.from_lines(values, rows[TIME_COLUMN].to_numpy(), places, groups)
    if not issubclass(kind, ValueState):
        raise StateError(f"{aggregate.function} needs a column; the plan is damaged")
    if aggregate.weight is not None and values is not None:
        return SketchState.from_weighted(metric, values, rows[aggregate.weight], groups)
    return kind.from_values(metric, values, groups)
