"""What was learned of a service's speed-ups, by version: the newest one that was put in use is active."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.gpu_counters import take_turn
from store.tail_documents import Document, as_text, document_of
from store.tail_services import ensure_service
from store.tail_tables import tail_profiles

_T = tail_profiles
_COUNTER = "tail profiles"


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A profile; `document` is as analytics/tail/profile_documents.py writes it. Versions count from 1."""

    service: str
    version: int
    created_ns: int
    active: bool
    document: dict[str, Any]


def put_profile(
    connection: sa.Connection, service: str, document: Document, now_ns: int, *, activate: bool = True
) -> ProfileRow:
    """Keep a profile under the next version, active unless told otherwise. Must come first in its transaction.

    Raises:
        ServiceRowError, ServiceLimitError: it cannot be kept; nothing was written.
    """
    text = as_text("a profile", document)
    take_turn(connection, _COUNTER)
    ensure_service(connection, service, now_ns)
    newest = sa.select(sa.func.coalesce(sa.func.max(_T.c.version), 0)).where(_T.c.service == service)
    version = int(connection.execute(newest).scalar_one()) + 1
    if activate:
        connection.execute(sa.update(_T).where(_T.c.service == service, _T.c.active).values(active=False))
    connection.execute(
        sa.insert(_T).values(service=service, version=version, created_ns=now_ns, active=activate, document=text)
    )
    return ProfileRow(service, version, now_ns, activate, document_of(text))


def active_profile(connection: sa.Connection, service: str) -> ProfileRow | None:
    """The profile in use, None where there is none."""
    row = connection.execute(sa.select(_T).where(_T.c.service == service, _T.c.active)).one_or_none()
    return None if row is None else _row(row)


def get_profile(connection: sa.Connection, service: str, version: int) -> ProfileRow | None:
    """One profile, None where it is not kept."""
    row = connection.execute(sa.select(_T).where(_T.c.service == service, _T.c.version == version)).one_or_none()
    return None if row is None else _row(row)


def list_profiles(connection: sa.Connection, service: str, limit: int = 100) -> list[ProfileRow]:
    """Profiles that are kept, the newest first."""
    query = sa.select(_T).where(_T.c.service == service).order_by(_T.c.version.desc()).limit(limit)
    return [_row(row) for row in connection.execute(query)]


def _row(row: "sa.Row[Any]") -> ProfileRow:
    return ProfileRow(row.service, row.version, row.created_ns, row.active, document_of(row.document))
