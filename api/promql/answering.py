"""From values to answers: the points of each series in order, and nothing for series without points."""

import numpy as np

from api.promql import histogram_arithmetic as arithmetic
from api.promql.answer import Answer, Kind
from api.promql.evaluation import Evaluation
from api.promql.histograms import Histograms
from api.promql.samples import BoolArray, Float64Array, FloatSamples, Int64Array, Labels, SketchSamples
from api.promql.selecting import Selected, is_stale, selected, sorted_rows
from api.promql.tree import Selector
from api.promql.values import NO_SLOTS, Scalar, TextValue, Value, Vector, codes_of, key_of

NO_FLOATS = np.empty(0)


def instant_answer(evaluation: Evaluation, value: Value) -> Answer:
    """The answer of an instant query that is no range selector."""
    if isinstance(value, TextValue):
        return _answer(evaluation, "string", [], (NO_SLOTS, NO_SLOTS, NO_FLOATS), text=value.value)
    if isinstance(value, Scalar):
        return _scalar_answer(evaluation, "scalar", value)
    return _vector_answer(evaluation, "vector", value)


def range_answer(evaluation: Evaluation, value: Value) -> Answer:
    """The answer of a range query: series sorted by their labels."""
    if isinstance(value, Scalar):
        return _scalar_answer(evaluation, "matrix", value)
    if isinstance(value, Vector):
        return _vector_answer(evaluation, "matrix", sorted_rows(value))
    raise TypeError("a range query has no strings")


def samples_answer(evaluation: Evaluation, selector: Selector) -> Answer:
    """The samples of a bare range selector themselves."""
    found = selected(selector, evaluation)
    parts: list[FloatSamples | SketchSamples] = [found.samples.floats, *found.samples.sketches]
    codes, firsts = codes_of([key_of(labels) for part in parts for labels in part.labels])
    every = [labels for part in parts for labels in part.labels]
    labels = [every[row] for row in firsts]
    order = np.array(sorted(range(len(labels)), key=lambda row: key_of(labels[row])), np.int64)
    ranks = np.argsort(order, kind="stable")[codes] if len(codes) else codes
    floats = found.samples.floats
    inside = _inside(floats, found) & ~is_stale(floats.values)
    own = ranks[: len(floats.labels)][floats.series[inside]]
    float_points = (own, floats.times_ns[inside], floats.values[inside])
    series, times, histograms, before = [NO_SLOTS], [NO_SLOTS], [arithmetic.nothing()], len(floats.labels)
    for part in found.samples.sketches:
        within = np.flatnonzero(_inside(part, found))
        series.append(ranks[before : before + len(part.labels)][part.series[within]])
        times.append(part.times_ns[within])
        histograms.append(arithmetic.of_sketches(part.sketches.take(within)))
        before += len(part.labels)
    histogram_points = (np.concatenate(series), np.concatenate(times))
    return _compact(evaluation, [labels[row] for row in order.tolist()], float_points, histogram_points, histograms)


def _inside(part: FloatSamples | SketchSamples, found: Selected) -> BoolArray:
    times, last = part.times_ns, found.grid.last_ns
    return np.asarray((times > last - found.range_ns) & (times <= last))


def _compact(
    evaluation: Evaluation,
    labels: list[Labels],
    floats: tuple[Int64Array, Int64Array, Float64Array],
    points: tuple[Int64Array, Int64Array],
    parts: list[Histograms],
) -> Answer:
    """The answer of series that may have no points: those are left out."""
    used = np.unique(np.concatenate([floats[0], points[0]]))
    place = np.searchsorted(used, floats[0])
    first = np.lexsort((floats[1], place))
    own = np.searchsorted(used, points[0])
    second = np.lexsort((points[1], own))
    return Answer(
        "matrix",
        [labels[row] for row in used.tolist()],
        place[first],
        floats[1][first],
        floats[2][first],
        own[second],
        points[1][second],
        arithmetic.taken(arithmetic.joined(parts), second),
        warnings=evaluation.warnings,
        infos=evaluation.infos,
    )


def _vector_answer(evaluation: Evaluation, kind: Kind, vector: Vector) -> Answer:
    used = np.flatnonzero(vector.any_present().any(axis=1))
    place = np.searchsorted(used, np.arange(len(vector.labels)))
    times = evaluation.grid.times()
    rows, instants = np.nonzero(vector.present)
    histogram_rows, histogram_instants = np.divmod(vector.slots, max(vector.count, 1))
    return Answer(
        kind,
        [vector.labels[row] for row in used.tolist()],
        place[rows],
        times[instants],
        vector.floats[rows, instants],
        place[histogram_rows],
        times[histogram_instants],
        vector.histograms,
        warnings=evaluation.warnings,
        infos=evaluation.infos,
    )


def _scalar_answer(evaluation: Evaluation, kind: Kind, value: Scalar) -> Answer:
    points = (np.zeros(evaluation.grid.count, np.int64), evaluation.grid.times(), value.values)
    return _answer(evaluation, kind, [{}], points)


def _answer(
    evaluation: Evaluation,
    kind: Kind,
    labels: list[Labels],
    points: tuple[Int64Array, Int64Array, Float64Array],
    text: str = "",
) -> Answer:
    none = arithmetic.nothing()
    return Answer(
        kind, labels, *points, NO_SLOTS, NO_SLOTS, none, text, evaluation.warnings, evaluation.infos
    )  # fmt: skip
