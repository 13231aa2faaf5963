"""What is wrong with services now, as it was last found, and every time that it changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from store.tail_documents import as_text, document_of
from store.tail_tables import tail_alert_changes, tail_alerts
from store.texts import storable_text
from store.upsert import insert

_T, _CHANGES = tail_alerts, tail_alert_changes
_TEXT_MAX = 4_000


class Found(Protocol):
    """An alert as it was found: analytics/tail/tail_alerts.py's."""

    @property
    def name(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def firing(self) -> bool: ...
    @property
    def since_ns(self) -> int: ...
    @property
    def cause(self) -> str | None: ...
    @property
    def text(self) -> str: ...
    @property
    def figures(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert of a service; `changed_ns`: when it last began, ended, or changed its severity or cause."""

    service: str
    name: str
    severity: str
    firing: bool
    since_ns: int
    changed_ns: int
    cause: str | None
    text: str
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What an alert became, and when; `id` counts up over all of them."""

    id: int
    service: str
    name: str
    severity: str
    firing: bool
    changed_ns: int
    cause: str | None
    text: str


def put_alerts(connection: sa.Connection, service: str, alerts: Sequence[Found], now_ns: int) -> int:
    """Take in all that was found of a service; what is not in it is not wrong any more. Returns how many changed.

    A change of text and figures alone is kept, and is no change. The caller commits.

    Raises:
        ServiceRowError: figures that cannot be kept.
    """
    before = {row.name: row for row in list_alerts(connection, service)}
    found = [_taken(service, one, before.get(one.name), now_ns) for one in alerts]
    named = {row.name for row in found}
    found += [_ended(row, now_ns) for row in before.values() if row.firing and row.name not in named]
    written = [row for row in found if before.get(row.name) != row]
    if written:
        statement = insert(connection, _T)
        names = [name for name in AlertRow.__slots__ if name not in ("service", "name")]
        replacing = statement.on_conflict_do_update(
            index_elements=["service", "name"], set_={name: statement.excluded[name] for name in names}
        )
        connection.execute(replacing, [_values(row) for row in written])
    changed = [row for row in written if row.changed_ns == now_ns and _is_news(row, before.get(row.name))]
    if changed:
        names = [name for name in AlertChange.__slots__ if name != "id"]
        connection.execute(sa.insert(_CHANGES), [{name: getattr(row, name) for name in names} for row in changed])
    return len(changed)


def list_alerts(
    connection: sa.Connection,
    service: str | None = None,
    *,
    firing: bool | None = None,
    severity: str | None = None,
    limit: int = 100_000,
    after: tuple[str, str] | None = None,
) -> list[AlertRow]:
    """Alerts by service and name: of one service or all, only those that fire (or do not), or of one severity.

    Args:
        after: (service, name) that they come after.
    """
    query = sa.select(_T).order_by(_T.c.service, _T.c.name).limit(limit)
    if service is not None:
        query = query.where(_T.c.service == service)
    if firing is not None:
        query = query.where(_T.c.firing == firing)
    if severity is not None:
        query = query.where(_T.c.severity == severity)
    if after is not None:
        query = query.where(sa.tuple_(_T.c.service, _T.c.name) > sa.tuple_(*map(sa.literal, after)))
    rows = connection.execute(query)
    return [AlertRow(**{**row._asdict(), "figures": document_of(row.figures)}) for row in rows]


def alert_changes(
    connection: sa.Connection,
    service: str,
    since_ns: int,
    until_ns: int,
    limit: int = 1_000,
    *,
    before_id: int | None = None,
) -> list[AlertChange]:
    """What became of a service's alerts in [since_ns, until_ns), the newest change first; those below `before_id`."""
    query = (
        sa.select(*(_CHANGES.c[name] for name in AlertChange.__slots__))
        .where(_CHANGES.c.service == service, _CHANGES.c.changed_ns >= since_ns, _CHANGES.c.changed_ns < until_ns)
        .order_by(_CHANGES.c.id.desc())
        .limit(limit)
    )
    if before_id is not None:
        query = query.where(_CHANGES.c.id < before_id)
    return [AlertChange(*row) for row in connection.execute(query)]


def _taken(service: str, one: Found, before: AlertRow | None, now_ns: int) -> AlertRow:
    same = before is not None and (before.firing, before.severity, before.cause) == (
        one.firing, one.severity, one.cause
    )  # fmt: skip
    return AlertRow(
        service=service,
        name=one.name,
        severity=one.severity,
        firing=one.firing,
        since_ns=one.since_ns,
        changed_ns=before.changed_ns if before is not None and same else now_ns,
        cause=one.cause,
        text=storable_text(one.text, _TEXT_MAX),
        figures=document_of(as_text("figures", one.figures)),
    )


def _ended(row: AlertRow, now_ns: int) -> AlertRow:
    return AlertRow(row.service, row.name, row.severity, False, now_ns, now_ns, row.cause, row.text, row.figures)


def _is_news(row: AlertRow, before: AlertRow | None) -> bool:
    """What begins by being well is no news."""
    if before is None:
        return row.firing
    return (before.firing, before.severity, before.cause) != (row.firing, row.severity, row.cause)


def _values(row: AlertRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in AlertRow.__slots__}
    return {**values, "figures": as_text("figures", row.figures)}
