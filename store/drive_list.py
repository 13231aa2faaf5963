"""Lists of drives: filtered, sorted, and read page by page in both directions.

A page begins right after (or ends right before) a place: the sorted value and the number of a drive. Numbers settle
ties, so pages neither repeat nor leave out a drive that stays where it is, whatever comes or goes meanwhile. Drives of
which the sorted value is not known come last, whichever way the list is sorted: nobody looks for those first. The two
parts are read apart, each along an index.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from store.drive_tables import drive_actions, drives
from store.drives import DriveRow, drive_rows

Sort: TypeAlias = Literal["probability", "state", "wear", "drive", "since"]

_T = drives
# "state" is worst first, which among drives of one state means the more probable to fail.
_SORTED_BY: dict[str, sa.Column[Any]] = {
    "probability": _T.c.p30,
    "state": _T.c.urgency,
    "wear": _T.c.wear_used_pct,
    "drive": _T.c.drive,
    "since": _T.c.since_ns,
}


@dataclass(frozen=True, slots=True)
class DriveFilter:
    """Which drives; what is None or empty does not matter.

    Attributes:
        states: any of these.
        min_probability: of failing within 30 days; drives without a probability are left out.
        text: part of a serial number, in any case of letters.
        acknowledged: whether somebody has acknowledged anything of it that still holds.
    """

    states: Sequence[int] = ()
    model: str | None = None
    vendor: str | None = None
    node: str | None = None
    rack: str | None = None
    firmware: str | None = None
    min_probability: float | None = None
    text: str = ""
    acknowledged: bool | None = None
    synthetic: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a sorted list a drive stands."""

    value: float | int | str | None
    drive_id: int


@dataclass(frozen=True, slots=True)
class DrivePage:
    """Drives in the order asked for; `after` and `before` are the places for the next and the previous page."""

    rows: tuple[DriveRow, ...]
    after: Place | None
    before: Place | None


def list_drives(
    connection: sa.Connection,
    where: DriveFilter,
    now_ns: int,
    *,
    sort: Sort = "state",
    descending: bool = True,
    limit: int = 100,
    after: Place | None = None,
    before: Place | None = None,
) -> DrivePage:
    """A page of the list: the first, the one after a place, or the one before it (not both)."""
    column, backward = _SORTED_BY[sort], before is not None
    place = before if backward else after
    conditions = _conditions(where, now_ns)
    rows: list[DriveRow] = []
    # Known values stand first; read backwards, the unknown ones come first.
    for known in (False, True) if backward else (True, False):
        if len(rows) > limit or (not known and not column.nullable):
            continue
        if place is not None and (place.value is not None) != known:
            if known != backward:
                continue  # that part lies on the other side of the place
            start = None
        else:
            start = place
        upward = descending == backward
        query = drive_rows().where(*conditions, *_part(column, known=known, start=start, upward=upward))
        query = query.order_by(*_order(column, known=known, upward=upward))
        rows += [DriveRow(*row) for row in connection.execute(query.limit(limit + 1 - len(rows)))]
    more = len(rows) > limit
    rows = rows[:limit]
    if backward:
        rows.reverse()
    if not rows:
        return DrivePage((), None, None)
    first, last = _place(sort, rows[0]), _place(sort, rows[-1])
    if backward:
        return DrivePage(tuple(rows), last, first if more else None)
    return DrivePage(tuple(rows), last if more else None, first if after is not None else None)


def _conditions(where: DriveFilter, now_ns: int) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if where.states:
        found.append(_T.c.state.in_(where.states))
    for name in ("model", "vendor", "node", "rack", "firmware", "synthetic"):
        wanted = getattr(where, name)
        if wanted is not None:
            found.append(_T.c[name] == wanted)
    if where.min_probability is not None:
        found.append(_T.c.p30 >= where.min_probability)
    if where.text:
        # From the index of names alone; walking drives in the order of the list would read every row.
        named = _T.alias()
        alike = sa.select(named.c.id).where(named.c.drive.icontains(where.text, autoescape=True))
        found.append(_T.c.id.in_(alike))
    if where.acknowledged is not None:
        actions = drive_actions
        acknowledged = sa.select(actions.c.drive_id).where(
            actions.c.kind == "acknowledge",
            actions.c.drive_id.is_not(None),
            actions.c.ended_ns.is_(None),
            sa.or_(actions.c.until_ns.is_(None), actions.c.until_ns > now_ns),
        )
        found.append(_T.c.id.in_(acknowledged) if where.acknowledged else _T.c.id.not_in(acknowledged))
    return found


def _part(column: sa.Column[Any], *, known: bool, start: Place | None, upward: bool) -> list[sa.ColumnElement[bool]]:
    """Only drives whose value is (or is not) known, and of those only what lies beyond the place."""
    found: list[sa.ColumnElement[bool]] = []
    if column.nullable:
        found.append(column.is_not(None) if known else column.is_(None))
    if start is not None:
        row: Any = sa.tuple_(column, _T.c.id) if known else _T.c.id
        place: Any = (
            sa.tuple_(sa.literal(start.value, column.type), sa.literal(start.drive_id)) if known else start.drive_id
        )
        found.append(row > place if upward else row < place)
    return found


def _order(column: sa.Column[Any], *, known: bool, upward: bool) -> list[sa.ColumnElement[Any]]:
    columns = [column, _T.c.id] if known else [_T.c.id]
    return [each.asc() if upward else each.desc() for each in columns]


def _place(sort: Sort, row: DriveRow) -> Place:
    return Place(getattr(row, _SORTED_BY[sort].name), row.id)
