"""Groups of series: whose labels agree in what `by` names, or in what `without` leaves."""

import numpy as np

from api.promql.samples import Grouping, Int64Array, Labels
from api.promql.values import codes_of, key_of


def grouped_labels(labels: list[Labels], grouping: Grouping) -> tuple[list[Labels], Int64Array]:
    """The labels of each group, in order of first appearance, and the group of each series. Empty labels are none."""
    own = [group_labels(given, grouping) for given in labels]
    codes, firsts = codes_of([key_of(given) for given in own])
    return [own[row] for row in firsts], codes


def group_labels(labels: Labels, grouping: Grouping) -> Labels:
    """The labels of the group that a series belongs to."""
    if grouping.without:
        left_out = {"__name__", *grouping.labels}
        return {name: value for name, value in labels.items() if name not in left_out}
    return {name: labels[name] for name in grouping.labels if labels.get(name)}


def members(codes: Int64Array, n_groups: int) -> tuple[Int64Array, Int64Array]:
    """The series in order of their groups, and where each group starts in that order; no group is empty."""
    order = np.argsort(codes, kind="stable")
    return order, np.searchsorted(codes[order], np.arange(n_groups))
