"""The rule that every model has to beat: any symptom grew within 30 days.

It needs no training, and an operator can check it by eye. Growth is counted on the day on which it was seen; the first
value that a drive shows is no growth, however high. Columns are those of columns.SYMPTOMS that the data have.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.ssd.columns import SYMPTOMS
from analytics.ssd.labels import BoolArray

#: Days within which a growth counts.
WITHIN_D = 30
NAME = "any symptom grew in 30 days"


@dataclass(frozen=True, slots=True)
class Symptoms:
    """Of each row, in the order of the rows: whether a symptom grew of late, and whether the drive shows any at all."""

    grew: BoolArray
    any: BoolArray


def symptoms(days: pl.DataFrame, within_d: int = WITHIN_D) -> Symptoms:
    """Growth and presence of symptoms.

    Args:
        days: drive-days (columns.DAYS), in any order; missing symptom columns count as unknown.
    Cost: O(rows log rows), without Python per row.
    """
    rows = days.height
    in_order = days.select(pl.arg_sort_by("drive", "day"))["drive"].to_numpy() if rows else np.zeros(0, np.int64)
    drive = days["drive"].rle_id() if not rows else days["drive"][in_order].rle_id()
    day = days["day"].cast(pl.Int32).to_numpy()[in_order]
    place = np.arange(rows)
    first = np.maximum.accumulate(np.where(np.diff(drive.to_numpy(), prepend=-1) != 0, place, 0)) if rows else place
    grew, present = np.zeros(rows, bool), np.zeros(rows, bool)
    for column in SYMPTOMS:
        if column not in days.columns:
            continue
        values = days[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()[in_order]
        seen = _last_where(~np.isnan(values), place, first)
        level = np.where(seen >= first, values[np.maximum(seen, 0)], np.nan)
        before = np.where(place > first, np.roll(level, 1), np.nan)
        increased = _last_where(level > before, place, first)
        grew |= (increased >= first) & (day - day[np.maximum(increased, 0)] < within_d)
        present |= level > 0
    back = np.empty(rows, np.int64)
    back[in_order] = place
    return Symptoms(grew[back], present[back])


def _last_where(holds: BoolArray, place: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The newest place of the same drive up to each one at which it holds; before `first` where there is none."""
    # Places only grow along the rows, so a drive's start, less one, hides what the drive before it had.
    return np.maximum.accumulate(np.where(holds, place, first - 1)) if holds.size else place
