"""The arithmetic and the comparisons of two numbers, over arrays, with IEEE and Go's rules where NumPy's differ."""

from collections.abc import Callable

import numpy as np

from api.promql.samples import BoolArray, Float64Array

Arithmetic = Callable[[Float64Array, Float64Array], Float64Array]
Comparison = Callable[[Float64Array, Float64Array], BoolArray]

ARITHMETIC: dict[str, Arithmetic] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # keeps the dividend's sign, as Go's math.Mod
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: dict[str, Comparison] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
SET_OPERATORS = frozenset({"and", "or", "unless"})


def computed(operator: str, left: Float64Array, right: Float64Array) -> Float64Array:
    """left operator right; comparisons answer 1 and 0."""
    with np.errstate(all="ignore"):
        if operator in ARITHMETIC:
            return np.asarray(ARITHMETIC[operator](left, right), np.float64)
        return COMPARISONS[operator](left, right).astype(np.float64)
