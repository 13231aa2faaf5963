"""Which series of two vectors meet: one to one by their labels, or many to many for and, or, unless."""

import numpy as np

from api.promql.errors import EvaluationError
from api.promql.samples import BoolArray, Int64Array, Labels
from api.promql.tree import Binary, Matching
from api.promql.values import LabelKey, Vector, distinct, joined_rows, kept, rows, shown, stacked, without_name


def matched(matching: Matching, left: Vector, right: Vector) -> tuple[Vector, Vector, Int64Array]:
    """The pairs of series that meet: n series of the left, the n of the right beside them, and n codes of their labels.

    Raises:
        EvaluationError: at some instant several series of the right have the labels that should tell them apart.
    """
    left_codes, right_codes, count = _shared_codes(matching, left, right)
    _refuse_crowds(matching, left, right, right_codes, count)
    merged_codes, firsts, joined = np.unique(right_codes, return_index=True, return_inverse=True)
    if len(firsts) < len(right.labels):  # they follow each other wherever the left has anything to meet
        needed = np.broadcast_to(left.any_present().any(axis=0), right.present.shape)
        right = joined_rows(kept(right, needed), joined, [right.labels[row] for row in firsts.tolist()])
    else:
        right = rows(right, firsts)
    place = np.full(count, -1, np.int64)
    place[merged_codes] = np.arange(len(merged_codes))
    meeting = np.flatnonzero(place[left_codes] >= 0)
    codes = left_codes[meeting]
    return rows(left, meeting), rows(right, place[codes]), codes


def refuse_several(result: Vector, codes: Int64Array) -> None:
    """Refuses results of which several come from one series of the right.

    Raises:
        EvaluationError: at some instant two results have one code.
    """
    if crowded(result.any_present(), codes).any():
        raise EvaluationError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )


def result_labels(matching: Matching, labels: Labels, keep_name: bool) -> Labels:
    """The labels of what a pair gives."""
    if not keep_name:
        labels = without_name(labels)
    if matching.on:
        return {name: labels[name] for name in matching.labels if name in labels}
    return {name: value for name, value in labels.items() if name not in matching.labels}


def set_operation(node: Binary, left: Vector, right: Vector) -> Vector:
    """left and right, left unless right, left or right."""
    left_codes, right_codes, count = _shared_codes(node.matching, left, right)
    if node.operator == "or":
        taken = _any_of(left, left_codes, count)
        others = kept(right, ~taken[right_codes])
        return distinct(stacked([left, others]))
    there = _any_of(right, right_codes, count)[left_codes]
    return kept(left, there if node.operator == "and" else ~there)


def crowded(present: BoolArray, codes: Int64Array) -> BoolArray:
    """Where several series of one code exist at one instant, bool[codes in use, c], the codes ascending."""
    if not len(codes):
        return present
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.add.reduceat(present[order].astype(np.int64), starts, axis=0) > 1


def _shared_codes(matching: Matching, left: Vector, right: Vector) -> tuple[Int64Array, Int64Array, int]:
    seen: dict[LabelKey, int] = {}
    codes = [
        np.array([seen.setdefault(_signature(matching, labels), len(seen)) for labels in side.labels], np.int64)
        for side in (left, right)
    ]
    return codes[0], codes[1], len(seen)


def _signature(matching: Matching, labels: Labels) -> LabelKey:
    if matching.on:
        return tuple((name, labels.get(name, "")) for name in matching.labels)
    left_out = {"__name__", *matching.labels}
    return tuple(sorted((name, value) for name, value in labels.items() if name not in left_out))


def _any_of(side: Vector, codes: Int64Array, count: int) -> BoolArray:
    """Where any series of each code exists, bool[count, c]."""
    there = np.zeros((count, side.count), np.bool_)
    np.logical_or.at(there, codes, side.any_present())
    return there


def _refuse_crowds(matching: Matching, left: Vector, right: Vector, codes: Int64Array, count: int) -> None:
    if count == 0 or len(right.labels) == len(set(codes.tolist())):
        return
    present = right.any_present() & left.any_present().any(axis=0)
    crowds = np.argwhere(crowded(present, codes))
    if not len(crowds):
        return
    code, instant = np.unique(codes)[crowds[0][0]], crowds[0][1]
    first, second = np.flatnonzero((codes == code) & present[:, instant])[:2]
    group = {name: value for name, value in _signature(matching, right.labels[second]) if value}
    raise EvaluationError(
        f"found duplicate series for the match group {shown(group)} on the right hand-side of the operation: "
        f"[{shown(right.labels[second])}, {shown(right.labels[first])}];"
        "many-to-many matching not allowed: matching labels must be unique on one side"
    )
