"""The groups that a query holds between two checkpoints: what they take in memory, and which rows still find room.

Bytes are those of the arrays themselves: a group of a count takes 60 bytes, one of a wide sketch several thousand,
so no constant per group would do for a bound on memory.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass

import numpy as np
import polars as pl

from pipeline.grouping import group, label_text, window_starts
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.schema import TIME_COLUMN
from pipeline.state import BoolArray

# Names of the fields of states and what they are made of: looking them up took longer than adding up.
_PARTS: dict[type[object], tuple[str, ...]] = {}


def bytes_of(partial: Partial) -> int:
    """What the keys and states of a partial take in memory."""
    parts = [partial.keys, *partial.states.values(), *(label.codes for label in partial.coded.values())]
    return sum(_bytes(part) for part in parts)


def rows_with_room(rows: pl.DataFrame, plan: Plan, held: Sequence[Partial], more_groups: int) -> BoolArray:
    """bool[n] of rows of the last cut: true for those of groups held already, and of the first `more_groups` others.

    Groups are told apart by the texts of their labels, as partials do: NULL and "" are one label.
    """
    starts = window_starts(rows[TIME_COLUMN].to_numpy(), plan.window_ns)
    groups = group(starts, plan.window_ns, [rows[name] for name in plan.labels])
    keys = pl.DataFrame(
        [
            pl.Series("window", starts[groups.firsts], dtype=pl.Int64),
            *(label_text(rows[name].gather(groups.firsts)).alias(name) for name in plan.labels),
        ]
    )
    found = _among(keys, held)
    found[np.flatnonzero(~found)[: max(0, more_groups)]] = True
    return found[groups.codes]


def _among(keys: pl.DataFrame, held: Sequence[Partial]) -> BoolArray:
    """Which of the keys one of the partials has."""
    found = np.zeros(keys.height, np.bool_)
    numbered = keys.with_row_index("#group")
    for partial in held:
        known = numbered.join(partial.keys, on=keys.columns, how="semi")
        found[known["#group"].to_numpy()] = True
    return found


def _bytes(held: object) -> int:
    if isinstance(held, np.ndarray):
        return held.nbytes
    if isinstance(held, pl.DataFrame | pl.Series):
        return int(held.estimated_size())
    kind = type(held)
    if kind not in _PARTS:
        _PARTS[kind] = tuple(field.name for field in fields(held)) if is_dataclass(held) else ()
    total = 0
    for name in _PARTS[kind]:
        total += _bytes(getattr(held, name))
    return total
