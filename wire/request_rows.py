"""Records of requests to rows: units, times and ranges, a whole batch at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import polars as pl

from pipeline.schema import TIME_COLUMN
from wire.request_samples import COUNTS, DURATIONS, FIELDS, UNITS

#: A time of arrival further than this from the receiver's clock is not believed, unless told to look further back.
TIME_OFF_NS: Final = 3600 * 10**9
#: No request waits or works for longer.
LONGEST_US: Final = 86_400e6
#: Columns of rows: what was not told is NULL, `explored` is 0 or 1, `weight` at least 1.
TYPES: Final[dict[str, pl.DataType]] = {
    TIME_COLUMN: pl.Int64(),
    "service": pl.String(),
    **{f"{name}_us": pl.Float64() for name in DURATIONS},
    **{name: pl.Int64() for name in COUNTS if name != "weight"},
    "explored": pl.Int64(),
    "weight": pl.Int64(),
}
#: Why a row is left out that becomes one elsewhere, where its time does not matter so much.
TIME_OFF: Final = "time_off"
_ARRIVALS: Final = {f"arrival_{unit}": micros for unit, micros in UNITS.items()}
_TYPES_SENT: Final[dict[str, pl.DataType]] = {
    "service": pl.String(),
    "explored": pl.Int64(),
    "arrival_ns": pl.Int64(),
    **{name: pl.Int64() for name in COUNTS},
}
_RECEIVED: Final = "received_ns"
_values = attrgetter(*FIELDS)


@dataclass(slots=True)
class Rows:
    """Rows of records.

    Attributes:
        frame: with the columns of TYPES.
        left_out: records that became no row, by reason (request_samples.REASONS, TIME_OFF).
        records: for each of these reasons, the place of one.
        time_off: rows whose time of arrival was not believed.
    """

    frame: pl.DataFrame
    left_out: dict[str, int] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)
    time_off: int = 0


def rows_of(records: Sequence[Any], received_ns: Sequence[int], oldest_ns: int | None = None) -> Rows:
    """A row for each record that can be one; `received_ns` is when each record was received.

    A request whose time of arrival is not told arrived when it was received, less what it took.

    Args:
        oldest_ns: how old a record may be; one that is older, or more than TIME_OFF_NS ahead, is left out. None: it
            may be as old as TIME_OFF_NS, and a time that is not believed counts as not told.
    """
    if not records:
        return Rows(pl.DataFrame(schema=TYPES))
    columns = zip(FIELDS, zip(*map(_values, records), strict=True), strict=True)
    series = [pl.Series(name, values, _TYPES_SENT.get(name, pl.Float64()), strict=False) for name, values in columns]
    told = [one for one in series if one.null_count() < len(records) or one.name == "service"]
    sent = pl.DataFrame([*told, pl.Series(_RECEIVED, received_ns, pl.Int64())])
    reasons = _reasons(sent)
    rows = Rows(sent)
    if reasons.null_count() < len(records):
        counted = reasons.drop_nulls().value_counts()
        rows.left_out = dict(counted.iter_rows())
        rows.examples = {reason: reasons.index_of(reason) or 0 for reason in rows.left_out}
        sent = sent.filter(reasons.is_null())
    in_us = sent.with_columns(_in_us(sent, name).alias(f"{name}_us") for name in DURATIONS)
    timed = _timed(in_us, TIME_OFF_NS if oldest_ns is None else oldest_ns)
    rows.time_off = int(timed["off"].sum())
    if oldest_ns is not None and rows.time_off:
        rows.left_out[TIME_OFF] = rows.time_off
        timed = timed.filter(~pl.col("off"))
    given = set(timed.columns)
    rows.frame = timed.select(
        pl.col(name) if name in given else pl.lit(None, kind).alias(name) for name, kind in TYPES.items()
    ).with_columns(pl.col("weight").fill_null(1))
    return rows


def _reasons(sent: pl.DataFrame) -> pl.Series:
    """Why a record is left out; NULL where it is not."""
    durations = {name: _given(sent, name) for name in DURATIONS}
    arrivals = [name for name in _ARRIVALS if name in sent.columns]
    told = [name for names in durations.values() for name in names]
    times = durations["wait"] + durations["service"]
    never, always = pl.lit(value=False), pl.lit(value=True)
    several = [names for names in (*durations.values(), arrivals) if len(names) > 1]
    twice = pl.any_horizontal(never, *(pl.sum_horizontal(pl.col(names).is_not_null()) > 1 for names in several))
    bad = pl.any_horizontal(never, *(~pl.col(name).is_between(0.0, _longest(name)) for name in told))
    timeless = pl.all_horizontal(always, *(pl.col(name).is_null() for name in times))
    return sent.select(
        pl.when(pl.col("service").fill_null("") == "").then(pl.lit("no_service"))
        .when(twice).then(pl.lit("two_units"))
        .when(bad.fill_null(value=False)).then(pl.lit("bad_values"))
        .when(timeless).then(pl.lit("no_times"))
        .alias("reason")
    ).to_series()  # fmt: skip


def _given(sent: pl.DataFrame, name: str) -> list[str]:
    return [column for unit in UNITS if (column := f"{name}_{unit}") in sent.columns]


def _longest(column: str) -> float:
    return LONGEST_US / UNITS[column.rpartition("_")[2]]


def _in_us(sent: pl.DataFrame, name: str) -> pl.Expr:
    factors = [(pl.col(column) * UNITS[column.rpartition("_")[2]]) for column in _given(sent, name)]
    return pl.coalesce(*factors, pl.lit(None, pl.Float64()))


def _timed(rows: pl.DataFrame, oldest_ns: int) -> pl.DataFrame:
    """With `ts`, and with `off` where the time of arrival is not believed."""
    took_us = pl.col("wait_us").fill_null(0.0) + pl.col("service_us").fill_null(0.0)
    received = pl.col(_RECEIVED)
    otherwise = received - (took_us * 1e3).cast(pl.Int64())
    names = [name for name in _ARRIVALS if name in rows.columns]
    told = pl.any_horizontal(pl.lit(value=False), *(pl.col(name).is_not_null() for name in names))
    arrival = pl.coalesce(*(_in_ns(name) for name in names), pl.lit(None, pl.Int64()))
    known = arrival.is_between(received - oldest_ns, received + TIME_OFF_NS).fill_null(value=False)
    return rows.with_columns(
        pl.when(known).then(arrival).otherwise(otherwise).alias(TIME_COLUMN), (told & ~known).alias("off")
    )


def _in_ns(name: str) -> pl.Expr:
    """Whole microseconds, unless ns were sent: a float of seconds since 1970 has no more."""
    if name == "arrival_ns":
        return pl.col(name)
    micros = (pl.col(name) * _ARRIVALS[name]).round()
    usual = micros.is_between(0.0, 9e15)  # beyond, and for NaN, nothing that could be a time
    return pl.when(usual).then(micros).cast(pl.Int64(), strict=False) * 1000
