"""Tables of targets of a service, from draft to retired: one is active, and it can be gone back from.

    draft -> active -> retired (another one was activated)
                    -> rolled_back (somebody went back to the one that was active before it)

A retired one, and one that was rolled back, may be activated again. Every change is noted with who, when and why, and
says which version it takes to be the active one, so that two people do not undo each other unseen.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from store.errors import ServiceChangedError, ServiceRowError, TargetTableError
from store.gpu_counters import take_turn
from store.tail_documents import Document, as_text, document_of
from store.tail_services import THREADS_MAX, ensure_service
from store.tail_tables import NAME_MAX, tail_profiles, tail_services, tail_target_changes, tail_target_tables
from store.texts import is_storable, storable_text

State: TypeAlias = Literal["draft", "active", "retired", "rolled_back"]
NOTE_MAX: Final = 2_000
#: Versions of one service that are kept; beyond, the oldest drafts and retired ones go.
VERSIONS_MAX: Final = 1_000
_T, _CHANGES = tail_target_tables, tail_target_changes
_COUNTER = "tail target tables"


@dataclass(frozen=True, slots=True)
class TargetTableRow:
    """A table of targets.

    Attributes:
        version: counts from 1, per service.
        follows: the version that was active when this one became so; None: none was, or it never was active.
        max_degree: threads of one request that its targets were found with; None: those of the service's settings.
        changed_ns, changed_by, note: of the last change of its state.
        document: the policy, as analytics/tail/policy_documents.py writes it.
        evidence: what speaks for it, as a forecast or the report of a search; None: nothing was given.
    """

    service: str
    version: int
    state: State
    follows: int | None
    max_degree: int | None
    created_ns: int
    created_by: str
    changed_ns: int
    changed_by: str
    note: str
    document: dict[str, Any]
    evidence: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TargetChange:
    """A change of a table's state: to which, when, by whom and why."""

    version: int
    state: State
    changed_ns: int
    changed_by: str
    note: str


@dataclass(frozen=True, slots=True)
class Versions:
    """What servers are told is made of: the active table, the active profile, the settings.

    Numbers begin anew where a service was forgotten, or an older state of the database was put back; when each was
    made (`made_ns`) tells such ones apart.
    """

    table: int
    profile: int
    settings: int
    made_ns: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Expected:
    """The active version that a change expects: `Expected(None)` none at all; no Expected: whichever there is."""

    version: int | None = field(default=None)


def draft_table(
    connection: sa.Connection,
    service: str,
    document: Document,
    now_ns: int,
    *,
    by: str = "",
    note: str = "",
    evidence: Document | None = None,
    max_degree: int | None = None,
) -> TargetTableRow:
    """Keep a table under the next version. Must come first in its transaction, as the two below; the caller commits.

    Raises:
        ServiceRowError, ServiceLimitError: it cannot be kept.
    """
    if max_degree is not None and not 1 <= max_degree <= THREADS_MAX:
        raise ServiceRowError(f"max_degree is {max_degree}; want 1 to {THREADS_MAX}")
    text = as_text("a table of targets", document)
    evidence_text = None if evidence is None else as_text("evidence", evidence)
    take_turn(connection, _COUNTER)
    ensure_service(connection, service, now_ns)
    kept, newest = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(_T.c.version), 0)).where(_T.c.service == service)
    ).one()
    if kept >= VERSIONS_MAX:
        _forget_oldest(connection, service)
    version = int(newest) + 1
    connection.execute(
        sa.insert(_T).values(
            service=service,
            version=version,
            state="draft",
            follows=None,
            max_degree=max_degree,
            created_ns=now_ns,
            created_by=storable_text(by, NAME_MAX),
            changed_ns=now_ns,
            changed_by=storable_text(by, NAME_MAX),
            note=storable_text(note, NOTE_MAX),
            document=text,
            evidence=evidence_text,
        )
    )
    _note(connection, service, version, "draft", now_ns, by, note)
    return get_table(connection, service, version)


def activate_table(
    connection: sa.Connection,
    service: str,
    version: int,
    now_ns: int,
    *,
    by: str = "",
    note: str = "",
    expected: Expected | None = None,
) -> TargetTableRow:
    """Make a table the active one; the one that was active retires. One that is active already stays as it is.

    Raises:
        TargetTableError: there is no such table. ServiceChangedError: another one is active than expected.
    """
    take_turn(connection, _COUNTER)
    row = get_table(connection, service, version)
    active = active_table(connection, service)
    _check_expected(service, active, expected)
    if active is not None and active.version == version:
        return row
    if active is not None:
        _change(connection, active, "retired", now_ns, by, f"version {version} took its place")
    follows = None if active is None else active.version
    connection.execute(sa.update(_T).where(*_same(row)).values(follows=follows))
    _change(connection, row, "active", now_ns, by, note)
    return get_table(connection, service, version)


def roll_back_table(
    connection: sa.Connection,
    service: str,
    version: int,
    now_ns: int,
    *,
    by: str = "",
    note: str = "",
) -> TargetTableRow | None:
    """Take the active table back, for the one that was active before it; None: there was none, so none is active now.

    A table that was itself rolled back is passed over, for the one before that.

    Raises:
        TargetTableError: there is no such table. ServiceChangedError: it is not the active one.
    """
    take_turn(connection, _COUNTER)
    row = get_table(connection, service, version)
    active = active_table(connection, service)
    if active is None or active.version != version:
        seen = "none" if active is None else f"version {active.version}"
        raise ServiceChangedError(
            f"version {version} of {service!r} is {row.state}, and {seen} is active; only the active one can be rolled "
            "back",
            None if active is None else active.version,
        )
    before = _before(connection, row)
    _change(connection, row, "rolled_back", now_ns, by, note)
    if before is None:
        return None
    _change(connection, before, "active", now_ns, by, f"version {version} was rolled back")
    return get_table(connection, service, before.version)


def active_table(connection: sa.Connection, service: str) -> TargetTableRow | None:
    """The table that servers are told, None where there is none."""
    row = connection.execute(sa.select(_T).where(_T.c.service == service, _T.c.state == "active")).one_or_none()
    return None if row is None else _row(row)


def versions_now(connection: sa.Connection, service: str) -> Versions | None:
    """What servers are to be told now, in one small query; None: no table is active, or no profile."""
    if not is_storable(service, NAME_MAX):
        return None
    profiles, services = tail_profiles, tail_services
    query = (
        sa.select(
            _T.c.version,
            profiles.c.version,
            services.c.version,
            _T.c.created_ns,
            profiles.c.created_ns,
            services.c.changed_ns,
        )
        .join(profiles, sa.and_(profiles.c.service == _T.c.service, profiles.c.active))
        .join(services, services.c.service == _T.c.service)
        .where(_T.c.service == service, _T.c.state == "active")
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Versions(*row[:3], made_ns=tuple(row[3:]))


def get_table(connection: sa.Connection, service: str, version: int) -> TargetTableRow:
    """One table.

    Raises:
        TargetTableError: there is none of this version.
    """
    row = connection.execute(sa.select(_T).where(_T.c.service == service, _T.c.version == version)).one_or_none()
    if row is None:
        newest = connection.execute(
            sa.select(_T.c.version).where(_T.c.service == service).order_by(_T.c.version.desc()).limit(10)
        ).scalars()
        known = ", ".join(map(str, newest)) or "none yet"
        raise TargetTableError(f"service {service[:80]!r} has no table of targets {version}; newest are {known}")
    return _row(row)


def list_tables(
    connection: sa.Connection, service: str, before_version: int | None = None, limit: int = 100
) -> list[TargetTableRow]:
    """Tables of a service, the newest version first; those below `before_version`."""
    query = sa.select(_T).where(_T.c.service == service)
    if before_version is not None:
        query = query.where(_T.c.version < before_version)
    return [_row(row) for row in connection.execute(query.order_by(_T.c.version.desc()).limit(limit))]


def table_changes(connection: sa.Connection, service: str, limit: int = 100) -> list[TargetChange]:
    """What became of a service's tables, the newest change first."""
    query = sa.select(*(_CHANGES.c[name] for name in TargetChange.__slots__)).where(_CHANGES.c.service == service)
    return [TargetChange(*row) for row in connection.execute(query.order_by(_CHANGES.c.id.desc()).limit(limit))]


def _before(connection: sa.Connection, row: TargetTableRow) -> TargetTableRow | None:
    """What was active before; versions that were gone back behind, or are kept no longer, are passed over."""
    seen, follows = {row.version}, row.follows
    while follows is not None and follows not in seen:
        seen.add(follows)
        found = connection.execute(
            sa.select(_T).where(_T.c.service == row.service, _T.c.version == follows)
        ).one_or_none()
        if found is None:
            return None
        if found.state == "retired":
            return _row(found)
        follows = found.follows
    return None


def _change(connection: sa.Connection, row: TargetTableRow, state: State, now_ns: int, by: str, note: str) -> None:
    connection.execute(
        sa.update(_T)
        .where(*_same(row))
        .values(
            state=state,
            changed_ns=now_ns,
            changed_by=storable_text(by, NAME_MAX),
            note=storable_text(note, NOTE_MAX),
        )
    )
    _note(connection, row.service, row.version, state, now_ns, by, note)


def _note(connection: sa.Connection, service: str, version: int, state: State, now_ns: int, by: str, note: str) -> None:
    connection.execute(
        sa.insert(_CHANGES).values(
            service=service,
            version=version,
            state=state,
            changed_ns=now_ns,
            changed_by=storable_text(by, NAME_MAX),
            note=storable_text(note, NOTE_MAX),
        )
    )


def _check_expected(service: str, active: TargetTableRow | None, expected: Expected | None) -> None:
    seen = None if active is None else active.version
    if expected is not None and expected.version != seen:
        raise ServiceChangedError(
            f"{_named(seen)} of {service!r} is active, and {_named(expected.version)} was expected to be; look "
            "at what somebody changed, and ask again with what is there now",
            seen,
        )


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def _forget_oldest(connection: sa.Connection, service: str) -> None:
    """Make room for one more: the oldest goes that is neither active nor what the active one follows."""
    active = active_table(connection, service)
    followed = None if active is None else active.follows
    idle = sa.select(_T.c.version).where(_T.c.service == service, _T.c.state != "active")
    if followed is not None:
        idle = idle.where(_T.c.version != followed)
    oldest = connection.execute(idle.order_by(_T.c.version).limit(1)).scalar_one()
    connection.execute(sa.delete(_T).where(_T.c.service == service, _T.c.version == oldest))


def _same(row: TargetTableRow) -> "tuple[sa.ColumnElement[bool], ...]":
    return _T.c.service == row.service, _T.c.version == row.version


def _row(row: "sa.Row[Any]") -> TargetTableRow:
    values = row._asdict()
    values["document"] = document_of(values["document"])
    values["evidence"] = None if values["evidence"] is None else document_of(values["evidence"])
    return TargetTableRow(**values)
