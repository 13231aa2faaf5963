"""Drive-days with what a model is told and what it should have said, as arrays, for training and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import TooFewDataError
from analytics.ssd.baseline import symptoms
from analytics.ssd.labels import BoolArray, Int32Array, Labels, labels
from analytics.ssd.matrix import Encoding, encode, vocabulary_of
from analytics.ssd.verdicts import Float32Array


@dataclass(frozen=True, slots=True)
class Examples:
    """Usable rows (labels.py), in order of drive and day.

    Attributes:
        matrix: float32[rows, columns of the encoding].
        keys: drive, day, node, model of each row.
        drive: int32[rows], numbers of drives from 0, ascending.
        positive: bool[rows]. grew, any_symptom: bool[rows], what the rule sees (baseline.py).
        dropped: how many rows were left out, by reason.
    """

    encoding: Encoding
    matrix: Float32Array
    keys: pl.DataFrame
    drive: Int32Array
    labels: Labels
    positive: BoolArray
    grew: BoolArray
    any_symptom: BoolArray
    dropped: dict[str, int]
    first_day: int

    @property
    def day(self) -> Int32Array:
        """int32[rows], days since 1970-01-01."""
        return self.labels.day

    def failed_drives(self, rows: npt.NDArray[np.int64]) -> int:
        """How many drives the positive rows among the given ones are of."""
        return int(np.unique(self.drive[rows[self.positive[rows]]]).size)

    def drives(self, rows: npt.NDArray[np.int64]) -> int:
        """How many drives the rows are of."""
        return int(np.unique(self.drive[rows]).size)


def examples(
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    horizon_d: int,
    names: Sequence[str],
    *,
    encoding: Encoding | None = None,
    last_day: int | None = None,
) -> Examples:
    """Join features with nodes, symptoms and labels.

    Args:
        days: drive-days; features: one row for each of some of them, with the columns `names`.
        encoding: of a model that is to score them; by default a new one.
        last_day: the last day of which failures are known; by default the newest drive-day.
    Raises:
        DataError: a column is missing. TooFewDataError: no row is usable.
    """
    seen = symptoms(days)
    told = days.select("drive", "day", "node").with_columns(grew=pl.Series(seen.grew), any=pl.Series(seen.any))
    last = int(days["day"].cast(pl.Int32).max() or 0) if last_day is None else last_day  # type: ignore[arg-type]
    rows = features.sort("drive", "day")
    known = labels(rows, failures, horizon_d, last)
    usable = known.usable
    if not usable.any():
        raise TooFewDataError(
            f"none of {rows.height} drive-days has {horizon_d} days after it in the data, or a failure in them"
        )
    kept = rows.filter(pl.Series(usable))
    keys = kept.select("drive", "day", "model").join(told, on=["drive", "day"], how="left", maintain_order="left")
    encoding = Encoding(tuple(names), vocabulary_of(kept)) if encoding is None else encoding
    chosen = Labels(known.day[usable], known.failed_on[usable], horizon_d, last)
    dropped = {
        "after the failure": int(known.after_failure.sum()),
        "window not over when the data end": int(known.censored.sum()),
    }
    return Examples(
        encoding,
        encode(kept, encoding),
        keys.select("drive", "day", "node", "model"),
        keys["drive"].rle_id().cast(pl.Int32).to_numpy(),
        chosen,
        chosen.positive,
        keys["grew"].fill_null(value=False).to_numpy(),
        keys["any"].fill_null(value=False).to_numpy(),
        dropped,
        int(known.day.min()),
    )
