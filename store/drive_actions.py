"""What operators said of drives: acknowledged causes, muted columns, and what became of a drive.

Entries are never deleted: one that is taken back, or replaced by a newer one of the same kind, ends, and its row says
when and by whom. So the history of a drive tells who silenced what, and training takes outcomes from here. Only the
API and the command line write here; the job only reads.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from store.drive_tables import DRIVES_PER_CHUNK, drive_actions, drives
from store.errors import DriveActionError, UnknownActionError

Kind: TypeAlias = Literal["acknowledge", "mute", "outcome"]
Outcome: TypeAlias = Literal["failed", "replaced_healthy", "back"]
OUTCOMES: tuple[Outcome, ...] = ("failed", "replaced_healthy", "back")

_T = drive_actions
_CAUSE_MAX = 128
_NOTE_MAX = 4000


@dataclass(frozen=True, slots=True)
class DriveAction:
    """One entry.

    Attributes:
        drive_id: None for a mute of a model or of the whole fleet; model: None but for a mute of a model.
        cause: what was acknowledged, the column that is muted, or the outcome.
        level: the cause's value when it was acknowledged.
        day: the day of an outcome, as days since 1970.
        who: the name of the API key, or of the user of the command line.
        until_ns: it holds until then; None: until it is taken back.
        ended_ns, ended_by: when it was taken back or replaced, and by whom.
    """

    id: int
    kind: Kind
    drive_id: int | None
    model: str | None
    cause: str
    level: float | None
    day: int | None
    note: str
    who: str
    created_ns: int
    until_ns: int | None
    ended_ns: int | None
    ended_by: str | None

    def holds(self, now_ns: int) -> bool:
        """Whether it still counts."""
        return self.ended_ns is None and (self.until_ns is None or now_ns < self.until_ns)


def acknowledge(
    connection: sa.Connection,
    drive_id: int,
    cause: str,
    level: float | None,
    who: str,
    now_ns: int,
    *,
    until_ns: int | None = None,
    note: str = "",
) -> DriveAction:
    """Keep that somebody has seen this cause on a drive at this level; replaces what they said of it before.

    Raises:
        DriveActionError: an empty or overlong text, or an end that has passed.
    """
    values = {"drive_id": drive_id, "cause": cause, "level": level, "note": note, "until_ns": until_ns}
    return _kept(connection, "acknowledge", values, who, now_ns)


def mute(
    connection: sa.Connection,
    column: str,
    who: str,
    now_ns: int,
    *,
    drive_id: int | None = None,
    model: str | None = None,
    until_ns: int | None = None,
    note: str = "",
) -> DriveAction:
    """Leave a column out of rules and states: of a drive, of a model, or (neither) of the whole fleet.

    Raises:
        DriveActionError: both a drive and a model; an empty or overlong text; an end that has passed.
    """
    if drive_id is not None and model is not None:
        raise DriveActionError("a mute is for a drive, a model or the whole fleet; this one names a drive and a model")
    values = {"drive_id": drive_id, "model": model, "cause": column, "note": note, "until_ns": until_ns}
    return _kept(connection, "mute", values, who, now_ns)


def record_outcome(
    connection: sa.Connection, drive_id: int, outcome: Outcome, day: int, who: str, now_ns: int, *, note: str = ""
) -> DriveAction:
    """Keep what became of a drive on a day (days since 1970); it replaces an outcome of the same day.

    Raises:
        DriveActionError: no such outcome, or an overlong text.
    """
    if outcome not in OUTCOMES:
        raise DriveActionError(f"{outcome!r} is no outcome; want {', '.join(OUTCOMES)}")
    return _kept(connection, "outcome", {"drive_id": drive_id, "cause": outcome, "day": day, "note": note}, who, now_ns)


def take_back(connection: sa.Connection, action_id: int, who: str, now_ns: int) -> DriveAction:
    """End an entry; one that has ended already stays as it is. Returns the entry as it is now.

    Raises:
        UnknownActionError: there is no such entry.
    """
    connection.execute(
        sa.update(_T).where(_T.c.id == action_id, _T.c.ended_ns.is_(None)).values(ended_ns=now_ns, ended_by=who)
    )
    return one_action(connection, action_id)


def one_action(connection: sa.Connection, action_id: int) -> DriveAction:
    """The entry of this number.

    Raises:
        UnknownActionError: there is none.
    """
    row = connection.execute(sa.select(_T).where(_T.c.id == action_id)).one_or_none()
    if row is None:
        newest = connection.execute(sa.select(_T.c.id).order_by(_T.c.id.desc()).limit(20)).scalars()
        raise UnknownActionError("action", str(action_id), map(str, newest))
    return DriveAction(*row)


def actions_of(
    connection: sa.Connection, drive_id: int, model: str | None = None, limit: int = 1000
) -> list[DriveAction]:
    """Everything said of a drive, newest first; with its model also what was muted for the model and the fleet."""
    of_drive = [_T.c.drive_id == drive_id]
    if model is not None:
        of_drive.append(sa.and_(_T.c.drive_id.is_(None), sa.or_(_T.c.model == model, _T.c.model.is_(None))))
    query = sa.select(_T).where(sa.or_(*of_drive)).order_by(_T.c.id.desc()).limit(limit)
    return [DriveAction(*row) for row in connection.execute(query)]


def acknowledged_in(connection: sa.Connection, chunk: int, now_ns: int) -> dict[int, list[DriveAction]]:
    """Drive's number -> the acknowledgements that hold, of a chunk's drives."""
    return _by_drive(connection, chunk, "acknowledge", now_ns)


def muted_in(connection: sa.Connection, chunk: int, now_ns: int) -> dict[int, list[DriveAction]]:
    """Drive's number -> the mutes of it alone that hold, of a chunk's drives."""
    return _by_drive(connection, chunk, "mute", now_ns)


def fleet_mutes(connection: sa.Connection, now_ns: int) -> list[DriveAction]:
    """The mutes of models and of the whole fleet that hold, oldest first."""
    query = sa.select(_T).where(_T.c.kind == "mute", _T.c.drive_id.is_(None), *_hold(now_ns)).order_by(_T.c.id)
    return [DriveAction(*row) for row in connection.execute(query)]


def mutes_in_force(
    connection: sa.Connection, now_ns: int, limit: int, before: int | None = None
) -> list[tuple[DriveAction, str | None]]:
    """Every mute that holds, newest first, each with the name of its drive; only entries below number `before`."""
    query = sa.select(_T, drives.c.drive).outerjoin(drives, drives.c.id == _T.c.drive_id)
    query = query.where(_T.c.kind == "mute", *_hold(now_ns))
    if before is not None:
        query = query.where(_T.c.id < before)
    rows = connection.execute(query.order_by(_T.c.id.desc()).limit(limit))
    return [(DriveAction(*row[:-1]), row[-1]) for row in rows]


def failures(connection: sa.Connection, numbers: Collection[int] | None = None) -> list[tuple[int, int]]:
    """(drive's number, day) of every drive that failed, by number.

    The newest outcome of a drive decides: one that came back, or was healthy after all, has not failed.
    """
    later = _T.alias()
    outcomes = [_T.c.kind == "outcome", _T.c.ended_ns.is_(None)]
    newer = sa.exists().where(
        later.c.kind == "outcome",
        later.c.ended_ns.is_(None),
        later.c.drive_id == _T.c.drive_id,
        sa.tuple_(later.c.day, later.c.id) > sa.tuple_(_T.c.day, _T.c.id),
    )
    query = sa.select(_T.c.drive_id, _T.c.day).where(*outcomes, _T.c.cause == "failed", ~newer)
    if numbers is not None:
        query = query.where(_T.c.drive_id.between(min(numbers, default=0), max(numbers, default=-1)))
    found = [(row.drive_id, row.day) for row in connection.execute(query.order_by(_T.c.drive_id))]
    wanted = None if numbers is None else set(numbers)
    return [pair for pair in found if wanted is None or pair[0] in wanted]


def _by_drive(connection: sa.Connection, chunk: int, kind: Kind, now_ns: int) -> dict[int, list[DriveAction]]:
    low = chunk * DRIVES_PER_CHUNK
    query = sa.select(_T).where(
        _T.c.drive_id.between(low, low + DRIVES_PER_CHUNK - 1), _T.c.kind == kind, *_hold(now_ns)
    )
    found: dict[int, list[DriveAction]] = {}
    for row in connection.execute(query.order_by(_T.c.id)):
        found.setdefault(row.drive_id, []).append(DriveAction(*row))
    return found


def _hold(now_ns: int) -> Sequence[sa.ColumnElement[bool]]:
    return _T.c.ended_ns.is_(None), sa.or_(_T.c.until_ns.is_(None), _T.c.until_ns > now_ns)


def _kept(connection: sa.Connection, kind: Kind, values: dict[str, Any], who: str, now_ns: int) -> DriveAction:
    _check(values, who, now_ns)
    same = [
        _T.c[name].is_(None) if values.get(name) is None else _T.c[name] == values[name]
        for name in (("drive_id", "day") if kind == "outcome" else ("drive_id", "model", "cause"))
    ]
    connection.execute(
        sa.update(_T).where(_T.c.kind == kind, _T.c.ended_ns.is_(None), *same).values(ended_ns=now_ns, ended_by=who)
    )
    row = {"kind": kind, "who": who, "created_ns": now_ns, **values}
    return DriveAction(*connection.execute(sa.insert(_T).values(row).returning(*_T.c)).one())


def _check(values: dict[str, Any], who: str, now_ns: int) -> None:
    cause, note, until_ns = values["cause"], values["note"], values.get("until_ns")
    if not 0 < len(cause) <= _CAUSE_MAX or not who:
        raise DriveActionError(
            f"{cause[:80]!r} by {who!r}: want a cause of 1 to {_CAUSE_MAX} characters, and who says it"
        )
    if len(note) > _NOTE_MAX:
        raise DriveActionError(f"a note of {len(note)} characters; at most {_NOTE_MAX} are kept")
    if until_ns is not None and until_ns <= now_ns:
        raise DriveActionError("it would have ended already; want a time to come, or none")
