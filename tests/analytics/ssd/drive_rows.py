"""Drive-days of a few odd drives for tests: made by hand or drawn by hypothesis."""

from datetime import date, timedelta
from typing import Any

import polars as pl
from hypothesis import strategies as st

from analytics.ssd.columns import DAYS
from analytics.ssd.days import canonical_days

DAY0 = date(2026, 1, 1)


def day(number: int) -> date:
    """So many days after DAY0."""
    return DAY0 + timedelta(days=number)


def rows(*each: dict[str, Any], drive: str = "S1") -> pl.DataFrame:
    """A table of drive-days; `day` as a number of days after DAY0, `drive` where a row names none."""
    filled = [{"drive": drive, **row, "day": day(row["day"])} for row in each]
    schema = {name: DAYS[name] for name in DAYS if any(name in row for row in filled)}
    return pl.DataFrame(filled, schema=schema)


def drive_days_of(*each: dict[str, Any], drive: str = "S1") -> pl.DataFrame:
    """The same in canonical form."""
    return canonical_days(rows(*each, drive=drive))


_COUNT = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 10**6), st.just(2**40), st.just(-1))
_GAUGE = st.one_of(st.none(), st.integers(0, 120))
#: What a counter that behaves gains between two rows; now and then it is reset.
_RISE = st.sampled_from([0, 0, 0, 1, 40, 3000, -(10**9)])
_COLUMNS = {
    "uncorrectable_total": _COUNT,
    "media_errors_total": _COUNT,
    "realloc_total": _COUNT,
    "pending_count": _COUNT,
    "power_on_h": _COUNT,
    "host_written_bytes": _COUNT,
    "nand_written_bytes": _COUNT,
    "wear_used_pct": _GAUGE,
    "spare_pct": _GAUGE,
    "temperature_c": st.one_of(st.none(), st.integers(-20, 90)),
    "critical_warning": st.one_of(st.none(), st.integers(0, 31)),
    "passed": st.sampled_from([None, 0, 1]),
    "model": st.sampled_from([None, "M1", "M2"]),
    "node": st.sampled_from([None, "n1", "n2"]),
    "rack": st.sampled_from([None, "r1"]),
}


@st.composite
def fleets(draw: st.DrawFn) -> pl.DataFrame:
    """Up to four drives with gaps, weekly snapshots, duplicate days, resets, negative counts, and NULL anywhere."""
    told = draw(st.sets(st.sampled_from(sorted(_COLUMNS)), min_size=1))
    records = []
    for number in range(draw(st.integers(1, 4))):
        steps = draw(st.lists(st.sampled_from([0, 1, 1, 1, 2, 7, 15, 31, 60]), min_size=1, max_size=14))
        at = draw(st.integers(0, 20))
        rising = {name: 0 for name in sorted(told) if _COLUMNS[name] is _COUNT and draw(st.booleans())}
        for step in steps:
            at += step
            row = {name: draw(_COLUMNS[name]) for name in sorted(told) if name not in rising}
            rising = {name: max(value + draw(_RISE), 0) for name, value in rising.items()}
            row |= rising
            records.append({"drive": f"S{number}", "day": day(at), **row})
    schema = {"drive": pl.String(), "day": pl.Date(), **{name: DAYS[name] for name in sorted(told)}}
    return pl.DataFrame(records, schema=schema)


def failures_of(days: pl.DataFrame) -> pl.DataFrame:
    """Every other drive of a fleet fails: in the middle of its days, so that it is seen again after it."""
    middle = days.group_by("drive").agg(pl.col("day").sort().get(pl.len() // 2)).sort("drive")
    return middle.gather_every(2)
