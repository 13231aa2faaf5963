"""Where a drive stands among those of its model: quantile tables of a day, so that chunks of a fleet can be told apart.

A percentile needs the whole fleet, and a fleet is worked on in chunks. So the tables are made once, of the newest row
of each drive in the week up to a day, and every row within TOLERANCE_D days after it is compared with them. They are
small: some 120 numbers a model and column. Levels lie closer towards the top, since that is where failing drives are:
with steps of 1 % alone, AUCPR on real hard disks is a sixth lower (validation days).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from analytics.errors import DataError
from analytics.ssd.feature_names import RANKED
from analytics.ssd.growth import Float32Array, Sheet
from analytics.ssd.timeline import TOLERANCE_D, Column, Int64Array, run_codes

#: Drives of a model below which a percentile says nothing.
LEAST_DRIVES: Final = 20
#: How far back the newest row of a drive may be to count for the day: fleets with weekly snapshots count whole.
_WEEK_D: Final = 7
#: 0 %, 1 % ... 99 %, then in steps of a tenth, a hundredth and a thousandth of that.
_LEVELS: Final = np.unique(
    np.concatenate([np.arange(100) / 100, 0.99 + np.arange(10) / 1e3, 0.999 + np.arange(10) / 1e4, [0.9999, 1.0]])
)
#: After the last level: larger than any count, equal to none.
_BEYOND: Final = np.iinfo(np.int64).max
_EPOCH: Final = date(1970, 1, 1)
_SCHEMA: Final[dict[str, pl.DataType]] = {
    "day": pl.Date(),
    "model": pl.String(),
    "column": pl.String(),
    "drives": pl.Int64(),
    "quantiles": pl.List(pl.Int64()),
}


@dataclass(frozen=True)
class FleetReference:
    """Quantile tables by day, model and column.

    Attributes:
        tables: columns day, model, column, drives, quantiles (values of the levels).
    """

    tables: pl.DataFrame

    def __post_init__(self) -> None:
        if dict(self.tables.schema) != _SCHEMA:
            raise DataError(f"tables of a fleet have the columns {dict(self.tables.schema)}; {_SCHEMA} is wanted")

    @classmethod
    def joined(cls, references: "Iterable[FleetReference]") -> "FleetReference":
        """Of several days, for training: each row is compared with the newest tables up to its day."""
        together = pl.concat([pl.DataFrame(schema=_SCHEMA), *(each.tables for each in references)])
        return cls(together.unique(["day", "model", "column"], maintain_order=True))

    @cached_property
    def of_models(self) -> "dict[str, dict[date, dict[str, _Table]]]":
        """Tables to look values up in, by model, day (ascending) and column."""
        found: dict[str, dict[date, dict[str, _Table]]] = {}
        for made, model, name, _, levels in self.tables.sort("model", "day").iter_rows():
            found.setdefault(model, {}).setdefault(made, {})[name] = _Table.of(levels)
        return found


def reference_day(day: date) -> date:
    """The day whose tables rows of `day` are compared with: one in seven, the same for a batch and day by day."""
    return day - timedelta(days=(day - _EPOCH).days % _WEEK_D)


def fleet_reference(days: pl.DataFrame, day: date) -> FleetReference:
    """The tables of one day, of the newest row of each drive in the seven days up to it.

    Args:
        days: drive-days of the whole fleet; only `drive`, `day`, `model` and the columns of RANKED are looked at.
    """
    columns = sorted(set(RANKED.values()))
    since = day - timedelta(days=_WEEK_D)
    week = days.filter((pl.col("day") <= day) & (pl.col("day") > since) & pl.col("model").is_not_null())
    newest = week.select("drive", "day", "model", *columns).sort("drive", "day").unique("drive", keep="last")
    rows = []
    for (model,), drives in newest.sort("model").group_by("model", maintain_order=True):
        for name in columns:
            values = np.sort(drives[name].drop_nulls().to_numpy())
            if values.size >= LEAST_DRIVES:
                # Nearest rank: whole numbers stay whole, so that a value equal to a quantile is seen to be.
                places = np.ceil(_LEVELS * values.size).astype(np.int64) - 1
                rows.append((day, model, name, values.size, values[np.maximum(places, 0)].tolist()))
    return FleetReference(pl.DataFrame(rows, schema=_SCHEMA, orient="row"))


def fleet_references(days: pl.DataFrame) -> FleetReference:
    """The tables that all rows of a batch are compared with: of every `reference_day`, and of the very first day."""
    present = days["day"].unique().sort().to_list()
    if not present:
        return FleetReference(pl.DataFrame(schema=_SCHEMA))
    wanted = sorted({present[0], *(reference_day(day) for day in present if reference_day(day) >= present[0])})
    by_day = days.sort("day")
    when = by_day["day"]
    parts = []
    for day in wanted:
        first, end = (when.search_sorted(day + timedelta(days=d)) for d in (1 - _WEEK_D, 1))
        parts.append(fleet_reference(by_day[first:end], day))
    return FleetReference.joined(parts)


@dataclass(frozen=True, slots=True)
class Models:
    """Which model each row is of, by number, and when.

    Attributes:
        names: of the models, by number.
        numbers: int64[rows], -1 where unknown.
        days: int64[rows], days since 1970.
    """

    names: list[str]
    numbers: Int64Array
    days: Int64Array

    @classmethod
    def of(cls, days: pl.DataFrame) -> "Models":
        """Of drive-days in order."""
        numbers, names = run_codes(days["model"])
        return cls(names, numbers, days["day"].cast(pl.Int64).to_numpy())


def rank_features(
    models: Models, rows: Int64Array, columns: Mapping[str, Column | None], reference: FleetReference, into: Sheet
) -> None:
    """Share of the model's drives below, ties halved, in [0, 1]; NaN without a value, or a table of the model."""
    for tables, members in _compared_with(models, rows, reference):
        here = rows[members]
        for word, name in RANKED.items():
            column, table = columns[name], tables.get(name)
            if column is not None and table is not None:
                ranks = table.ranks(column.values[here])
                if column.known is not None:
                    ranks[~column.known[here]] = np.nan
                into[f"{word}_rank_in_model"][members] = ranks


def _compared_with(
    models: Models, rows: Int64Array, reference: FleetReference
) -> "Iterator[tuple[dict[str, _Table], Int64Array]]":
    """The newest tables of a model up to a row's day, at most TOLERANCE_D old, and which wanted rows they fit."""
    when, numbers = models.days[rows], models.numbers[rows]
    for number, members in enumerate(_groups(numbers, len(models.names))):
        dated = reference.of_models.get(models.names[number], {})
        if not dated or not members.size:
            continue
        made_on = np.array([(made - _EPOCH).days for made in dated], np.int64)
        newest = np.searchsorted(made_on, when[members], side="right") - 1
        newest[when[members] - made_on[newest] > TOLERANCE_D] = -1
        for tables, mine in zip(dated.values(), _groups(newest, len(dated)), strict=True):
            if mine.size:
                yield tables, members[mine]


def _groups(numbers: Int64Array, count: int) -> Iterator[Int64Array]:
    """For each of the numbers 0 .. count - 1 where it stands, in order; other numbers are left out."""
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(count + 1))
    return (order[bounds[number] : bounds[number + 1]] for number in range(count))


@dataclass(frozen=True, slots=True)
class _Table:
    """Quantiles of one model and column, and the ranks of values equal to each, and between it and the one before."""

    levels: Int64Array
    equal: Float32Array
    below: Float32Array

    @classmethod
    def of(cls, levels: list[int]) -> "_Table":
        table = np.array(levels, np.int64)
        # Values equal to several levels stand in the middle of them, others between the two around them.
        ends = np.append(_LEVELS, 1.0)
        first, after = (table.searchsorted(table, side=side) for side in ("left", "right"))
        equal = np.append((ends[first] + ends[after]) / 2, 1.0)
        below = np.concatenate([[0.0], (_LEVELS[:-1] + _LEVELS[1:]) / 2, [1.0]])
        return cls(np.append(table, _BEYOND), equal.astype(np.float32), below.astype(np.float32))

    def ranks(self, values: Int64Array) -> Float32Array:
        """float32[values], each in [0, 1]."""
        some = values.nonzero()[0]
        if some.size * 2 > values.size:
            return self._looked_up(values)
        # Most counters of trouble are 0, so that is looked up once.
        found = self._looked_up(np.append(values[some], 0))
        ranks = np.full(values.size, found[-1])
        ranks[some] = found[:-1]
        return ranks

    def _looked_up(self, values: Int64Array) -> Float32Array:
        at = self.levels[:-1].searchsorted(values)
        return np.where(self.levels[at] == values, self.equal[at], self.below[at])
