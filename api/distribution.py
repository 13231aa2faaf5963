"""Whole distributions: buckets for heat maps, and how many values lie at or below given ones.

Buckets are those of the merged sketches, at their own scale or exactly re-counted at a coarser one; all groups of an
answer share the scale, so that their rows line up in a heat map. Counts at or below a value come from the finest scale
there is, with the two counts between which the exact one lies.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from api.config import ApiConfig
from api.errors import LimitError, ParameterError
from api.params import split_items
from api.responses import numbers
from quantiles.bins import MIN_SCALE, bins_of
from quantiles.rank_bounds import rank_bounds
from quantiles.sketch_column import SketchColumn

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
BELOW_COLUMNS = ("below", "count", "count_low", "count_high", "fraction", "fraction_low", "fraction_high")


@dataclass(frozen=True, slots=True)
class Resolution:
    """How fine buckets may be: no finer than `scale`, at most `per_group` in any group; None leaves that open."""

    scale: int | None
    per_group: int | None


def read_resolution(scale: int | None, per_group: int | None) -> Resolution:
    """The resolution asked for; whether the metric has that scale is seen later.

    Raises:
        ParameterError: a scale below 0, or no bucket at all.
    """
    if scale is not None and scale < MIN_SCALE:
        raise ParameterError(f"scale={str(scale)[:60]} is below {MIN_SCALE}, the coarsest there is", parameter="scale")
    if per_group is not None and per_group < 1:
        raise ParameterError(
            f"max_buckets={str(per_group)[:60]} is below 1; ask for 1 or more", parameter="max_buckets"
        )
    return Resolution(scale, per_group)


def read_below(given: Sequence[str], config: ApiConfig) -> list[float]:
    """The values to count at or below of, in the order given, each once.

    Raises:
        ParameterError: not a finite number.
        LimitError: more than one answer may hold.
    """
    values = list(dict.fromkeys(_finite(text) for text in split_items(given, "below")))
    if len(values) > config.max_quantiles:
        raise LimitError(
            f"below lists {len(values)} values, at most {config.max_quantiles} are answered at once; ask for fewer",
            parameter="below",
            limit=config.max_quantiles,
        )
    return values


def at_resolution(column: SketchColumn, wanted: Resolution, config: ApiConfig) -> SketchColumn:
    """The sketches at the finest scale that was asked for and fits.

    Raises:
        ParameterError: a finer scale than the metric's.
        LimitError: too many buckets in one group, at scale 0 even, or in the whole answer.
    """
    if wanted.scale is not None and wanted.scale > column.scale:
        raise ParameterError(
            f"scale={str(wanted.scale)[:60]} is finer than the metric's scale {column.scale}, and detail that is gone "
            f"stays gone; ask for {column.scale} or less",
            parameter="scale",
        )
    if wanted.scale is not None:
        column = column.downscale(wanted.scale)
    while wanted.per_group is not None and _widest(column) > wanted.per_group:
        if column.scale == MIN_SCALE:
            raise LimitError(
                f"a group has {_widest(column)} buckets even at scale {MIN_SCALE}, the coarsest; ask for "
                f"max_buckets={_widest(column)} or more",
                parameter="max_buckets",
            )
        column = column.downscale(column.scale - 1)
    if len(column.cells) > config.max_buckets:
        raise LimitError(
            f"the answer has {len(column.cells)} buckets, at most {config.max_buckets} are sent at once; ask with a "
            "smaller scale or max_buckets, a longer step, fewer labels in by, or a shorter range",
            parameter="scale",
            limit=config.max_buckets,
        )
    return column


def buckets_of(column: SketchColumn) -> list[list[list[Any]]]:
    """[low end, high end, count] of every bucket that holds anything, per sketch, in ascending order."""
    low, high = bins_of(column.scale).bounds(column.cells)
    ends = zip(numbers(low.tolist()), numbers(high.tolist()), strict=True)
    buckets = [[*pair, count] for pair, count in zip(ends, column.counts.tolist(), strict=True)]
    return [buckets[start:end] for start, end in pairwise(column.offsets.tolist())]


def at_or_below(column: SketchColumn, values: Sequence[float]) -> list[list[dict[str, float | None]]]:
    """What BELOW_COLUMNS name, for every sketch and value; fractions of nothing are None."""
    if not values:
        return [[] for _ in range(len(column))]
    counted = column.ranks(values), *rank_bounds(column, values), column.totals()
    return [
        [
            dict(zip(BELOW_COLUMNS, (x, *three, *(n / total if total else None for n in three)), strict=True))
            for x, *three in zip(values, counts, low, high, strict=True)
        ]
        for counts, low, high, total in zip(*(part.tolist() for part in counted), strict=True)
    ]


def _widest(column: SketchColumn) -> int:
    return int((column.offsets[1:] - column.offsets[:-1]).max(initial=0))


def _finite(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else float("inf")
    if value in (float("inf"), float("-inf")):
        raise ParameterError(
            f"below={text[:60]!r} is no finite number; give values in the metric's unit, such as below=200,500",
            parameter="below",
        )
    return value + 0.0
