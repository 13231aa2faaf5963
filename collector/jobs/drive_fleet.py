"""What is known of the whole fleet, for drives that are judged in chunks: ranks within a model, and who has failed.

The tables of ranks are made once a day, of the days before it, and kept: all chunks of a day are compared with the
same tables, whichever collector judges them, and however often.
"""

import json
import logging
from datetime import date
from typing import Final

import polars as pl
import sqlalchemy as sa

from analytics.ssd.columns import DAYS
from analytics.ssd.feature_names import RANKED
from analytics.ssd.fleet_reference import FleetReference, fleet_reference
from collector.jobs.drive_intake import day_of
from collector.jobs.pace import Pace
from store.drive_actions import failures
from store.drive_days import read_days
from store.drive_progress import Progress, forget_progress, read_progress, write_progress
from store.drive_tables import drives
from store.errors import CorruptPageError
from store.upsert import batched

log = logging.getLogger(__name__)

#: Tables of ranks by day, as JSON.
REFERENCE_SCOPE: Final = "drives reference"
_WEEK_D: Final = 7
_NAMES_AT_ONCE: Final = 500
# What happened longer ago matters to no feature (analytics/ssd/neighbours.py looks 30 days back).
_FAILURES_D: Final = 31
_LOCATED: Final[dict[str, pl.DataType]] = {
    "drive": pl.String(),
    "day": pl.Date(),
    "node": pl.String(),
    "rack": pl.String(),
}


def kept_reference(engine: sa.Engine, chunks: list[int], day: int, now_ns: int, pace: Pace) -> FleetReference:
    """The tables of this day (days since 1970), made of all chunks where nobody has made them yet."""
    with engine.connect() as connection:
        known = read_progress(connection, REFERENCE_SCOPE).get(day)
    if known is not None and known.body is not None:
        try:
            return _from_json(known.body)
        except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
            log.warning("tables of ranks cannot be read, made anew day=%s error=%s", day_of(day), error)
    columns = {name: DAYS[name] for name in ("drive", "day", "model", *sorted(set(RANKED.values())))}
    newest: list[pl.DataFrame] = []
    for chunk in chunks:
        with engine.connect() as connection:
            try:
                days = read_days(connection, chunk, day_of(day - _WEEK_D + 1), day_of(day), columns)
            except CorruptPageError as error:
                pace.spare(f"ranks of chunk {chunk}", error)
                continue
        newest.append(days.unique("drive", keep="last", maintain_order=True))
        pace.rest()
    made = fleet_reference(pl.concat(newest) if newest else _NO_DAYS, day_of(day))
    with engine.begin() as connection:
        pace.hold(connection)
        write_progress(connection, REFERENCE_SCOPE, {day: Progress(made.tables.height, _to_json(made))}, now_ns)
        forget_progress(connection, REFERENCE_SCOPE, day - _WEEK_D)
    return made


def known_failures(connection: sa.Connection, today: int) -> pl.DataFrame | None:
    """Where drives failed lately, as operators said; None where nobody ever said that one did."""
    said = failures(connection)
    if not said:
        return None
    recent = [(number, day) for number, day in said if today - _FAILURES_D <= day <= today]
    places: dict[int, tuple[str, str | None, str | None]] = {}
    for some in batched([number for number, _ in recent], _NAMES_AT_ONCE):
        query = sa.select(drives.c.id, drives.c.drive, drives.c.node, drives.c.rack).where(drives.c.id.in_(some))
        places |= {row.id: (row.drive, row.node, row.rack) for row in connection.execute(query)}
    rows = [(drive, day_of(day), node, rack) for number, day in recent for drive, node, rack in [places[number]]]
    return pl.DataFrame(rows, schema=_LOCATED, orient="row")


def _to_json(made: FleetReference) -> str:
    rows = [(str(day), *rest) for day, *rest in made.tables.iter_rows()]
    return json.dumps(rows, separators=(",", ":"))


def _from_json(text: str) -> FleetReference:
    rows = [(date.fromisoformat(day), *rest) for day, *rest in json.loads(text)]
    return FleetReference(
        pl.DataFrame(rows, schema=fleet_reference(_NO_DAYS, date(2000, 1, 1)).tables.schema, orient="row")
    )


_NO_DAYS: Final = pl.DataFrame(schema=DAYS)
