"""What every answer about sketches says of a group: how many values, between which extremes, how exact."""

from collections.abc import Iterator
from typing import cast

from api.answers import RangeAnswer
from api.responses import number
from pipeline.states import SketchState
from quantiles.sketch_column import SketchColumn


def side_by_side(found: RangeAnswer) -> SketchColumn:
    """The sketches of all groups in one column, so that each question to them is one call."""
    states = found.merged.states
    return SketchColumn.empty(found.merged.metric.scale) if states is None else cast(SketchState, states).column


def summaries(column: SketchColumn) -> Iterator[dict[str, object]]:
    """error_bound, count, nan_count, min, max and mean of each sketch, as JSON has them."""
    sums = column.sums.values()
    for count, nan_count, low, high, total in zip(
        column.totals().tolist(),
        column.nan_counts.tolist(),
        column.minima.tolist(),
        column.maxima.tolist(),
        sums if isinstance(sums, list) else sums.tolist(),
        strict=True,
    ):
        yield {
            "error_bound": column.error_bound,
            "count": count,
            "nan_count": nan_count,
            "min": number(low),
            "max": number(high),
            "mean": number(total / count) if count else None,
        }
