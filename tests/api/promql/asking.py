"""Answers of the evaluator as plain dictionaries, for tests to compare."""

from typing import Any

import numpy as np

from api.promql.answer import Answer
from api.promql.evaluate import instant, range_query
from api.promql.histograms import Histograms
from quantiles.sketch_column import SketchColumn
from tests.api.promql.worlds import START
from tests.promql_source import MemorySource

Key = tuple[tuple[str, str], ...]
Shape = tuple[int, dict[int, float], float, float]


def numbers(text: str, source: MemorySource, time_ns: int = START) -> dict[str, float]:
    """The numbers of an instant query by their labels, written like h=a."""
    answer = instant(text, time_ns, source)
    assert len(answer.histogram_series) == 0
    return {
        short(answer.labels[series]): float(value)
        for series, value in zip(answer.float_series, answer.float_values, strict=True)
    }


def number(text: str, source: MemorySource | None = None, time_ns: int = START) -> float:
    """The only number of an instant query."""
    answer = instant(text, time_ns, source or MemorySource())
    assert len(answer.float_values) == 1, answer
    return float(answer.float_values[0])


def histograms(text: str, source: MemorySource, time_ns: int = START) -> dict[str, Shape]:
    """The histograms of an instant query by their labels."""
    answer = instant(text, time_ns, source)
    assert len(answer.float_series) == 0
    return {
        short(answer.labels[series]): shape(answer.histograms, i) for i, series in enumerate(answer.histogram_series)
    }


def short(labels: dict[str, str]) -> str:
    """Labels as one word, the name in front."""
    rest = ",".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__")
    return " ".join(part for part in (labels.get("__name__", ""), rest) if part)


def shape(histograms: Histograms, row: int) -> Shape:
    """Schema, counts by cell, total and sum of a histogram."""
    cells = slice(histograms.offsets[row], histograms.offsets[row + 1])
    counts = dict(zip(histograms.cells[cells].tolist(), histograms.counts[cells].tolist(), strict=True))
    return histograms.schema, counts, float(histograms.totals[row]), float(histograms.sums[row])


def cell_counts(values: list[float], scale: int = 6) -> dict[int, float]:
    """Counts by cell of these values."""
    column = SketchColumn.from_values(np.array(values, np.float64), np.zeros(len(values), np.int64), 1, scale=scale)
    return dict(zip(column.cells.tolist(), column.counts.astype(float).tolist(), strict=True))


def points(answer: Answer) -> dict[tuple[Key, int], Any]:
    """Every point by series and time: a number, or the shape of a histogram."""
    keys = [tuple(sorted(labels.items())) for labels in answer.labels]
    found: dict[tuple[Key, int], Any] = {}
    for row, time, value in zip(answer.float_series, answer.float_times_ns, answer.float_values, strict=True):
        found[keys[row], int(time)] = float(value)
    for i, (row, time) in enumerate(zip(answer.histogram_series, answer.histogram_times_ns, strict=True)):
        assert (keys[row], int(time)) not in found
        found[keys[row], int(time)] = shape(answer.histograms, i)
    return found


def stepped(text: str, start_ns: int, end_ns: int, step_ns: int, source: MemorySource) -> dict[tuple[Key, int], Any]:
    """The points of a range query."""
    return points(range_query(text, start_ns, end_ns, step_ns, source))


def same(left: Any, right: Any, tolerance: float = 1e-9) -> bool:
    """Whether two points agree; NaN agrees with NaN."""
    if isinstance(left, tuple) != isinstance(right, tuple):
        return False
    if not isinstance(left, tuple):
        return bool(np.isclose(left, right, rtol=tolerance, atol=1e-12, equal_nan=True))
    if left[0] != right[0] or left[1].keys() != right[1].keys():
        return False
    counts = np.allclose(list(left[1].values()), [right[1][cell] for cell in left[1]], rtol=tolerance)
    return bool(counts and np.allclose(left[2:], right[2:], rtol=tolerance, equal_nan=True))
