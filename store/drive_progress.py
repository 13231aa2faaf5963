"""How far the job of drives has come: numbers by scope and key, both in the job's own words.

Written in the transaction whose work they are about, under the job's lease: whoever goes on after a process that was
killed finds exactly what was committed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from store.drive_tables import drive_progress
from store.upsert import insert

_T = drive_progress


@dataclass(frozen=True, slots=True)
class Progress:
    """One entry; `body` is the job's own text."""

    value: int
    body: str | None = None


def read_progress(connection: sa.Connection, scope: str) -> dict[int, Progress]:
    """Key -> entry, of everything in a scope, by key."""
    query = sa.select(_T.c.key, _T.c.value, _T.c.body).where(_T.c.scope == scope).order_by(_T.c.key)
    return {row.key: Progress(row.value, row.body) for row in connection.execute(query)}


def write_progress(connection: sa.Connection, scope: str, entries: Mapping[int, Progress], now_ns: int) -> None:
    """Keep these entries in place of what is there under their keys."""
    rows = [
        {"scope": scope, "key": key, "value": one.value, "body": one.body, "updated_ns": now_ns}
        for key, one in sorted(entries.items())
    ]
    if rows:
        statement = insert(connection, _T)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["scope", "key"],
                set_={name: statement.excluded[name] for name in ("value", "body", "updated_ns")},
            ),
            rows,
        )


def forget_progress(connection: sa.Connection, scope: str, below_key: int | None = None) -> None:
    """Delete a scope, or only what has a smaller key."""
    condition = [_T.c.scope == scope] if below_key is None else [_T.c.scope == scope, _T.c.key < below_key]
    connection.execute(sa.delete(_T).where(*condition))
