"""Small drive-days as tests write them: a few columns, the others NULL."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from analytics.ssd.columns import DAYS, FLAGS

TODAY = date(2026, 3, 1)


def history(drive: str = "S1", *, kind: str = "ssd", newest: date = TODAY, **columns: Sequence[Any]) -> pl.DataFrame:
    """One row a day up to `newest`; each column is a list that ends on that day."""
    length = max(len(values) for values in columns.values())
    ages = {name: [None] * (length - len(values)) + list(values) for name, values in columns.items()}
    rows = [
        {"drive": drive, "kind": kind, "day": newest - timedelta(days=length - 1 - place)}
        | {name: values[place] for name, values in ages.items()}
        for place in range(length)
    ]
    return table(rows)


def table(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """DAYS of rows that hold some columns only, sorted by drive and day."""
    flags = dict.fromkeys(FLAGS, False)
    return pl.DataFrame([{**flags, "readings": 1, **row} for row in rows], schema=DAYS).sort("drive", "day")


def seen(values: Mapping[int, Mapping[str, Any]], drive: str = "S1", kind: str = "ssd") -> pl.DataFrame:
    """DAYS of one drive by how many days ago."""
    return table(
        [{"drive": drive, "kind": kind, "day": TODAY - timedelta(days=ago), **row} for ago, row in values.items()]
    )
