"""What became of a service's requests, minute by minute; written again whenever more of a minute is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store.tail_documents import as_text, document_of
from store.tail_tables import tail_minutes
from store.upsert import batched, insert

_T = tail_minutes
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class MinuteRow:
    """A minute of a service; `version` is the writer's own word for what `document` was made by."""

    service: str
    start_ns: int
    document: dict[str, Any]
    version: int = 0


def put_minutes(connection: sa.Connection, rows: Sequence[MinuteRow]) -> None:
    """Keep minutes in place of those that are there; of one that comes twice, the last counts. The caller commits.

    Raises:
        ServiceRowError: a document that cannot be kept; nothing was written.
    """
    newest = {(row.service, row.start_ns): row for row in rows}
    values = [
        {
            "service": row.service,
            "start_ns": row.start_ns,
            "version": row.version,
            "document": as_text(f"minute {row.start_ns}", row.document),
        }
        for _, row in sorted(newest.items())
    ]
    statement = insert(connection, _T)
    replacing = statement.on_conflict_do_update(
        index_elements=["service", "start_ns"],
        set_={name: statement.excluded[name] for name in ("version", "document")},
    )
    for some in batched(values, _AT_ONCE):
        connection.execute(replacing, list(some))


def read_minutes(connection: sa.Connection, service: str, since_ns: int, until_ns: int) -> list[MinuteRow]:
    """Minutes that begin in [since_ns, until_ns), by time."""
    query = sa.select(_T.c.start_ns, _T.c.document, _T.c.version).where(
        _T.c.service == service, _T.c.start_ns >= since_ns, _T.c.start_ns < until_ns
    )
    return [
        MinuteRow(service, row.start_ns, document_of(row.document), row.version)
        for row in connection.execute(query.order_by(_T.c.start_ns))
    ]
