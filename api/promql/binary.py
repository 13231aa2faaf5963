"""Operators between two expressions: scalars, a vector and a scalar, two vectors matched one to one, sets.

Comparisons without `bool` filter and keep the left value and the name; everything else drops the name.
"""

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.evaluation import Evaluation
from api.promql.histograms import Histograms
from api.promql.matching import matched, refuse_several, result_labels, set_operation
from api.promql.operators import COMPARISONS, SET_OPERATORS, computed
from api.promql.samples import BoolArray, Int64Array
from api.promql.tree import Binary
from api.promql.values import NO_SLOTS, Scalar, TextValue, Value, Vector, distinct, of_floats, unnamed

HISTOGRAM_PAIRS = frozenset({"+", "-", "==", "!="})
ADDED, COMPARED = frozenset({"+", "-"}), frozenset({"==", "!="})


def binary(evaluation: Evaluation, node: Binary) -> Value:
    """The value of a binary expression."""
    left, right = evaluation.value(node.left), evaluation.value(node.right)
    if isinstance(left, TextValue) or isinstance(right, TextValue):
        raise TypeError("the grammar lets no string be an operand")
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return Scalar(computed(node.operator, left.values, right.values))
    if isinstance(left, Vector) and isinstance(right, Vector):
        if node.operator in SET_OPERATORS:
            return set_operation(node, left, right)
        return _between_vectors(evaluation, node, left, right)
    result = _with_scalar(evaluation, node, left, right)
    return result if _filters(node) else unnamed(result)


def _filters(node: Binary) -> bool:
    return node.operator in COMPARISONS and not node.as_bool


def _between_vectors(evaluation: Evaluation, node: Binary, left: Vector, right: Vector) -> Vector:
    ours, theirs, codes = matched(node.matching, left, right)
    result = _paired(evaluation, node, ours, theirs)
    refuse_several(result, codes)
    labels = [result_labels(node.matching, labels, _filters(node)) for labels in result.labels]
    return distinct(result.with_labels(labels))


def _with_scalar(evaluation: Evaluation, node: Binary, left: Scalar | Vector, right: Scalar | Vector) -> Vector:
    if isinstance(left, Vector) and isinstance(right, Scalar):
        return _paired(evaluation, node, left, _as_vector(right, left))
    if isinstance(left, Scalar) and isinstance(right, Vector):
        result = _paired(evaluation, node, _as_vector(left, right), right)
        if not _filters(node):
            return result
        return of_floats(result.labels, right.floats, result.present)  # a filter shows the vector's values
    raise TypeError("one side must be a scalar, the other a vector")


def _as_vector(scalar: Scalar, like: Vector) -> Vector:
    """The scalar beside every series of a vector."""
    return of_floats(like.labels, np.broadcast_to(scalar.values, like.floats.shape), np.ones_like(like.present))


def _paired(evaluation: Evaluation, node: Binary, left: Vector, right: Vector) -> Vector:
    """The operator applied to series that lie beside each other; labels are those of the left."""
    both = left.present & right.present
    results = computed(node.operator, left.floats, right.floats)
    if _filters(node):
        both &= results == 1.0
        results = left.floats
    if not len(left.slots) and not len(right.slots):
        return of_floats(left.labels, results, both)
    return _with_histograms(evaluation, node, (left, right), of_floats(left.labels, results, both))


def _with_histograms(evaluation: Evaluation, node: Binary, sides: tuple[Vector, Vector], floats: Vector) -> Vector:
    """The numbers that came out, and what comes out where at least one side is a histogram."""
    left, right = sides
    slots, ours, theirs = np.intersect1d(left.slots, right.slots, assume_unique=True, return_indices=True)
    before_number = np.flatnonzero(right.present.reshape(-1)[left.slots])
    behind_number = np.flatnonzero(left.present.reshape(-1)[right.slots])
    operator = node.operator
    if len(before_number) and operator not in ("*", "/"):
        _incompatible(evaluation, operator, "histogram", "float")
        before_number = NO_SLOTS
    if len(behind_number) and operator != "*":
        _incompatible(evaluation, operator, "float", "histogram")
        behind_number = NO_SLOTS
    if len(slots) and operator not in HISTOGRAM_PAIRS:
        _incompatible(evaluation, operator, "histogram", "histogram")
        slots, ours, theirs = NO_SLOTS, NO_SLOTS, NO_SLOTS
    pair = (arithmetic.taken(left.histograms, ours), arithmetic.taken(right.histograms, theirs))
    if operator in COMPARED:
        return _compared(node, floats, slots, pair)
    parts = [_scaled(left, before_number, right, operator), _scaled(right, behind_number, left, operator)]
    places = [left.slots[before_number], right.slots[behind_number]]
    if operator in ADDED:
        parts.append(_summed(*pair, -1.0 if operator == "-" else 1.0))
        places.append(slots)
    return _placed(floats, np.concatenate(places), arithmetic.joined(parts))


def _compared(node: Binary, floats: Vector, slots: Int64Array, pair: tuple[Histograms, Histograms]) -> Vector:
    holds = _equal(*pair) == (node.operator == "==")
    if node.as_bool:
        values, present = floats.floats.reshape(-1).copy(), floats.present.reshape(-1).copy()
        values[slots], present[slots] = holds, True
        return of_floats(floats.labels, values.reshape(floats.floats.shape), present.reshape(floats.present.shape))
    stay = np.flatnonzero(holds)
    return _placed(floats, slots[stay], arithmetic.taken(pair[0], stay))


def _placed(floats: Vector, slots: Int64Array, histograms: Histograms) -> Vector:
    order = np.argsort(slots, kind="stable")
    return Vector(floats.labels, floats.floats, floats.present, slots[order], arithmetic.taken(histograms, order))


def _scaled(side: Vector, which: Int64Array, numbers: Vector, operator: str) -> Histograms:
    factors = numbers.floats.reshape(-1)[side.slots[which]]
    return arithmetic.scaled(arithmetic.taken(side.histograms, which), factors, divide=operator == "/")


def _summed(left: Histograms, right: Histograms, sign: float) -> Histograms:
    n = len(left)
    if not n:
        return left
    both = arithmetic.joined([left, arithmetic.scaled(right, np.full(n, sign))])
    return arithmetic.added(both, np.tile(np.arange(n), 2), n)


def _equal(left: Histograms, right: Histograms) -> BoolArray:
    """Whether histogram i of both is the same: counts, total and sum."""
    rest = _summed(left, right, -1.0)
    same_sum = (left.sums == right.sums) | (np.isnan(left.sums) & np.isnan(right.sums))
    same: BoolArray = same_sum & (left.totals == right.totals) & (arithmetic.sizes(rest) == 0)
    return same


def _incompatible(evaluation: Evaluation, operator: str, left: str, right: str) -> None:
    evaluation.inform(
        f'incompatible sample types encountered for binary operator "{operator}": {left} {operator} {right}'
    )
