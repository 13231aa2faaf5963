"""Which drives there are, and what was last said of each: written in bulk by the job, listed for people.

A drive's number is given out once and is never another drive's; chunk = number // DRIVES_PER_CHUNK says in whose blob
its days lie. Only store/drive_retention.py deletes a drive. Writers hold the job's lease (store/leases.py) in the same
transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from store.drive_tables import DRIVES_PER_CHUNK, drive_states, drives
from store.errors import UnknownDriveError
from store.upsert import batched, insert, larger, smaller

_T = drives
_NAMES_AT_ONCE = 500
_PLACE = ("node", "rack")
_IDENTITY = ("model", "vendor", "family", "firmware", "kind")
_BIGGEST_ID = 2**63 - 1
#: What the column `state` holds.
UNKNOWN, GOOD, WATCH, REPLACE = -1, 0, 1, 2


@dataclass(frozen=True, slots=True)
class DriveSeen:
    """Which drive it is, as it was on `day` (days since 1970); unknown is None. `synthetic`: a generator made it."""

    drive: str
    day: int
    node: str | None = None
    rack: str | None = None
    model: str | None = None
    vendor: str | None = None
    family: str | None = None
    firmware: str | None = None
    kind: str | None = None
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class DriveVerdict:
    """What is said of one drive from now on.

    Attributes:
        since_ns: from when on the state holds.
        why: the state in a few words, for the history of states.
        p7, p30: probabilities in [0, 1]; None where there is none.
        scored_day: the newest day looked at, as days since 1970.
        verdict: everything as JSON, for the API; memory: what the job wants back (`chunk_rows`).
        model_synthetic: the model of `model_digest` was trained on made-up drives.
    """

    drive_id: int
    state: int
    since_ns: int
    why: str
    scored_day: int
    p7: float | None = None
    p30: float | None = None
    wear_used_pct: float | None = None
    wear_ends_day: int | None = None
    wear_ends_early_day: int | None = None
    wear_ends_late_day: int | None = None
    model_digest: str | None = None
    model_synthetic: bool = False
    verdict: str | None = None
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class DriveRow:
    """One drive as the database knows it; days are days since 1970, `scored_ns` None means never assessed."""

    id: int
    drive: str
    node: str | None
    rack: str | None
    model: str | None
    vendor: str | None
    family: str | None
    firmware: str | None
    kind: str | None
    first_day: int
    last_day: int
    state: int
    since_ns: int
    urgency: float
    p7: float | None
    p30: float | None
    wear_used_pct: float | None
    wear_ends_day: int | None
    wear_ends_early_day: int | None
    wear_ends_late_day: int | None
    synthetic: bool
    model_digest: str | None
    model_synthetic: bool
    scored_ns: int | None
    scored_day: int | None
    verdict: str | None
    memory: str | None

    @property
    def chunk(self) -> int:
        """Whose blob holds its days."""
        return chunk_of(self.id)


@dataclass(frozen=True, slots=True)
class StateChange:
    """One change of a drive's state: found at `at_ns`, said to hold since `since_ns`."""

    at_ns: int
    since_ns: int
    was: int
    state: int
    why: str


def chunk_of(drive_id: int) -> int:
    """The chunk that a drive's days and features lie in."""
    return drive_id // DRIVES_PER_CHUNK


def note_drives(connection: sa.Connection, seen: Iterable[DriveSeen]) -> dict[str, int]:
    """Number of each of these drives; new ones get one, of known ones the identity of the newest day is kept.

    Of several entries of one day the last one counts. What is unknown on a newer day stays as it was; a drive on
    another node is no longer in the rack of the one before.
    """
    by_drive: dict[str, _Known] = {}
    for one in sorted(seen, key=lambda one: one.day):
        before = by_drive.get(one.drive)
        by_drive[one.drive] = _Known(one, one.day) if before is None else before.and_later(one)
    numbers = drive_ids(connection, by_drive)
    # In one order everywhere, so that two writers cannot wait for each other. Only what is missing is inserted:
    # a conflict would use up a number on PostgreSQL, and chunks would fill with holes.
    missing = sorted(by_drive.keys() - numbers.keys())
    for some in batched(missing, _NAMES_AT_ONCE):
        rows = [_new_row(by_drive[name]) for name in some]
        connection.execute(insert(connection, _T).on_conflict_do_nothing(index_elements=["drive"]), rows)
        numbers |= drive_ids(connection, some)
    known = [(numbers[name], by_drive[name]) for name in by_drive.keys() - set(missing)]
    _update_identities(connection, _changed(connection, sorted(known, key=lambda pair: pair[0])))
    return numbers


def drive_ids(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Number of each of these drives that is known."""
    found: dict[str, int] = {}
    for some in batched(sorted(set(names)), _NAMES_AT_ONCE):
        query = sa.select(_T.c.drive, _T.c.id).where(_T.c.drive.in_(some))
        found |= {row.drive: row.id for row in connection.execute(query)}
    return found


def chunks(connection: sa.Connection) -> list[int]:
    """Every chunk that has drives, ascending."""
    low, high = connection.execute(sa.select(sa.func.min(_T.c.id), sa.func.max(_T.c.id))).one()
    return [] if low is None else list(range(chunk_of(low), chunk_of(high) + 1))


def chunk_rows(connection: sa.Connection, chunk: int) -> list[DriveRow]:
    """The drives of a chunk, by number: names, identity, what was last said of them, and the job's memory."""
    query = drive_rows().where(_T.c.id.between(chunk * DRIVES_PER_CHUNK, (chunk + 1) * DRIVES_PER_CHUNK - 1))
    return [DriveRow(*row) for row in connection.execute(query.order_by(_T.c.id))]


def write_verdicts(connection: sa.Connection, verdicts: Sequence[DriveVerdict], now_ns: int) -> int:
    """Keep what is said of these drives, and every change of a state in its history; returns how many changed.

    Writing the same again changes nothing but `scored_ns`.
    """
    changed = 0
    for some in batched(verdicts, _NAMES_AT_ONCE):
        query = sa.select(_T.c.id, _T.c.state).where(_T.c.id.in_([one.drive_id for one in some]))
        was = {row.id: row.state for row in connection.execute(query)}
        changes = [
            {
                "drive_id": one.drive_id,
                "at_ns": now_ns,
                "since_ns": one.since_ns,
                "was": was[one.drive_id],
                "state": one.state,
                "why": one.why,
            }
            for one in some
            if one.drive_id in was and was[one.drive_id] != one.state
        ]
        if changes:
            connection.execute(sa.insert(drive_states), changes)
        changed += len(changes)
        connection.execute(_WRITE, [_verdict_row(one, now_ns) for one in some])
    return changed


def one_drive(connection: sa.Connection, which: str | int) -> DriveRow:
    """The drive of this serial number, or else of this number; an `int` is a number and nothing else.

    Raises:
        UnknownDriveError: there is none; `.nearest` is a drive whose name begins alike.
    """
    text = str(which)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    numbered = [_T.c.id == number] if 0 <= number <= _BIGGEST_ID else []
    # A serial number may be a plain number, and is what stands on the drive.
    for where in [*([] if isinstance(which, int) else [_T.c.drive == text]), *numbered]:
        row = connection.execute(drive_rows().where(where)).one_or_none()
        if row is not None:
            return DriveRow(*row)
    alike = sa.select(_T.c.drive).where(_T.c.drive.startswith(text[:4], autoescape=True)).order_by(_T.c.drive).limit(20)
    raise UnknownDriveError("drive", text, connection.execute(alike).scalars())


def states_of(connection: sa.Connection, drive_id: int, limit: int = 1000) -> list[StateChange]:
    """The history of a drive's states, newest first."""
    table = drive_states
    query = sa.select(table.c.at_ns, table.c.since_ns, table.c.was, table.c.state, table.c.why)
    query = query.where(table.c.drive_id == drive_id).order_by(table.c.id.desc()).limit(limit)
    return [StateChange(*row) for row in connection.execute(query)]


def urgency(state: int, probability: float | None) -> float:
    """What "worst first" sorts by: the state, and among equals the probability."""
    return state + 0.5 * (probability or 0.0)


def drive_rows() -> "sa.Select[Any]":
    """A SELECT of what `DriveRow` takes, in its order."""
    return sa.select(*(_T.c[name] for name in DriveRow.__slots__))


@dataclass(frozen=True, slots=True)
class _Known:
    """All that one call says of a drive: as it was on its newest day, and the oldest day."""

    newest: DriveSeen
    first_day: int

    def and_later(self, one: DriveSeen) -> "_Known":
        unknown = [name for name in _IDENTITY if getattr(one, name) is None] + list(_PLACE if one.node is None else ())
        kept = {name: getattr(self.newest, name) for name in unknown}
        return _Known(replace(one, synthetic=one.synthetic or self.newest.synthetic, **kept), self.first_day)


def _new_row(known: _Known) -> dict[str, Any]:
    one = known.newest
    identity = {name: getattr(one, name) for name in _PLACE + _IDENTITY}
    days = {"first_day": known.first_day, "last_day": one.day}
    return {"drive": one.drive, "synthetic": one.synthetic, **days, **identity}


def _changed(connection: sa.Connection, known: Sequence[tuple[int, _Known]]) -> list[tuple[int, _Known]]:
    """Those of which the database says something else; only under the job's lease does that stay so."""
    columns = _T.c.id, _T.c.first_day, _T.c.last_day, _T.c.synthetic, *(_T.c[name] for name in _PLACE + _IDENTITY)
    changed: list[tuple[int, _Known]] = []
    for some in batched(known, _NAMES_AT_ONCE):
        query = sa.select(*columns).where(_T.c.id.in_([number for number, _ in some]))
        rows = {row.id: row for row in connection.execute(query)}
        changed += [(number, one) for number, one in some if number in rows and _differs(rows[number], one)]
    return changed


def _differs(row: "sa.Row[Any]", known: _Known) -> bool:
    """Whether the update would write anything that is not there."""
    one = known.newest
    if known.first_day < row.first_day or one.day > row.last_day or (one.synthetic and not row.synthetic):
        return True
    if one.day < row.last_day:
        return False
    said = [name for name in _IDENTITY if getattr(one, name) is not None] + list(_PLACE if one.node is not None else ())
    return any(getattr(row, name) != getattr(one, name) for name in said)


def _update_identities(connection: sa.Connection, known: Sequence[tuple[int, _Known]]) -> None:
    if not known:
        return
    day = sa.bindparam("day_", type_=sa.Integer)
    newer = day >= _T.c.last_day
    given = {name: sa.bindparam(f"{name}_", type_=sa.String) for name in _PLACE + _IDENTITY}
    counts: dict[str, sa.ColumnElement[bool]] = dict.fromkeys(_PLACE, sa.and_(newer, given["node"].is_not(None)))
    counts |= {name: sa.and_(newer, given[name].is_not(None)) for name in _IDENTITY}
    identity: dict[str, Any] = {name: sa.case((counts[name], given[name]), else_=_T.c[name]) for name in given}
    connection.execute(
        sa.update(_T)
        .where(_T.c.id == sa.bindparam("id_"))
        .values(
            **identity,
            first_day=smaller(sa.bindparam("first_day_", type_=sa.Integer), _T.c.first_day),
            last_day=larger(day, _T.c.last_day),
            synthetic=sa.or_(_T.c.synthetic, sa.bindparam("synthetic_", type_=sa.Boolean)),
        ),
        [
            {"id_": number, "day_": one.newest.day, "first_day_": one.first_day, "synthetic_": one.newest.synthetic}
            | {f"{name}_": getattr(one.newest, name) for name in given}
            for number, one in known
        ],
    )


_SAID = tuple(name for name in DriveVerdict.__slots__ if name not in ("drive_id", "why"))
_WRITE = (
    sa.update(_T)
    .where(_T.c.id == sa.bindparam("id_"))
    .values({name: sa.bindparam(f"{name}_") for name in (*_SAID, "urgency", "scored_ns")})
)


def _verdict_row(one: DriveVerdict, now_ns: int) -> dict[str, Any]:
    said = {f"{name}_": getattr(one, name) for name in _SAID}
    return said | {"id_": one.drive_id, "urgency_": urgency(one.state, one.p30), "scored_ns_": now_ns}
