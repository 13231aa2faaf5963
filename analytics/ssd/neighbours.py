"""How many other drives failed lately on the same node and in the same rack: what a shared cause looks like.

In 18,375 real failures of SSDs another drive of the node had failed within the 30 days around in 29 %. Only failures
before the day count, since on the day itself nobody knew of them, and never the drive's own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from analytics.errors import DataError
from analytics.ssd.columns import FAILURES
from analytics.ssd.growth import Sheet
from analytics.ssd.timeline import TOLERANCE_D, WINDOW_D, Int64Array, run_codes

#: Longer than any two days of a calendar are apart.
_STRIDE: Final = 2**23
_PLACES: Final = ("node", "rack")


def located_failures(failures: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Failures with `node` and `rack`: their own, or of the drive's newest day in the 14 days up to it.

    A chunk of a fleet does not know where the drives of other chunks were: give it failures that are located already.
    """
    missing = [name for name in FAILURES if name not in failures.columns]
    if missing:
        raise DataError(
            f"failures have no column {', '.join(missing)}; drive and day are wanted, node and rack welcome"
        )
    if all(place in failures.columns for place in _PLACES):
        return failures.select(*FAILURES, *_PLACES)
    failures = failures.select(FAILURES.keys()).unique().sort("drive", "day")
    seen = (
        days.lazy()
        .join(failures.lazy().select("drive").unique(), on="drive", how="semi")
        .select("drive", "day", *_PLACES)
    )
    joined = seen.join(failures.lazy().rename({"day": "failed"}), on="drive")
    age = (pl.col("failed") - pl.col("day")).dt.total_days()
    newest = (
        joined.filter((age >= 0) & (age <= TOLERANCE_D))
        .sort("drive", "failed", "day")
        .unique(["drive", "failed"], keep="last")
    )
    places = newest.select("drive", pl.col("failed").alias("day"), *_PLACES).collect()
    return failures.join(places, on=["drive", "day"], how="left")


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Failures of a fleet by place, ready to be counted around any rows.

    Attributes:
        days: int64[rows], days since 1970.
        sites: by node and rack, int64[rows]: the number of the row's place, -1 where unknown.
        failed: by node and rack, int64[failures]: number of the place * stride + day, ascending.
        own: by node and rack, int64[rows]: how many of the failures near a row are the drive's own.
    """

    days: Int64Array
    sites: dict[str, Int64Array]
    failed: dict[str, Int64Array]
    own: dict[str, Int64Array]

    @classmethod
    def of(cls, days: pl.DataFrame, failures: pl.DataFrame) -> "Neighbourhood":
        """Of failures as `located_failures` gives them."""
        when = failures.unique(["drive", "day"], keep="first", maintain_order=True)
        sites, failed, own = {}, {}, {}
        for place in _PLACES:
            sites[place], names = run_codes(days[place])
            here = when.filter(pl.col(place).is_in(names))
            numbers = here[place].replace_strict(names, range(len(names)), return_dtype=pl.Int64)
            failed[place] = np.sort(numbers.to_numpy() * _STRIDE + here["day"].cast(pl.Int64).to_numpy())
            own[place] = _own(days, here, place)
        return cls(days["day"].cast(pl.Int64).to_numpy(), sites, failed, own)

    def count(self, rows: Int64Array, into: Sheet) -> None:
        """Failures of the last 30 days, the day itself and the drive's own aside; NaN where the place is unknown."""
        for place in _PLACES:
            sites, failed = self.sites[place][rows], self.failed[place]
            feature = into[f"failures_on_{place}_30d"]
            feature[:] = 0
            if failed.size:
                now = sites * _STRIDE + self.days[rows]
                before, long_before = failed.searchsorted(now), failed.searchsorted(now - WINDOW_D)
                feature[:] = before - long_before - self.own[place][rows]
            feature[sites < 0] = np.nan


def _own(days: pl.DataFrame, failures: pl.DataFrame, place: str) -> Int64Array:
    """A drive that is read on after its failure is not its own neighbour."""
    counts = np.zeros(days.height, np.int64)
    if failures.height:
        mine = days.select("drive", "day", place).with_row_index("row")
        mine = mine.filter(pl.col("drive").is_in(failures["drive"].unique().implode()))
        joined = mine.join(failures.select("drive", place, failed="day"), on=["drive", place])
        age = (pl.col("day") - pl.col("failed")).dt.total_days()
        own = joined.filter((age >= 1) & (age <= WINDOW_D)).group_by("row").len()
        counts[own["row"].to_numpy()] = own["len"].to_numpy()
    return counts
