"""How far a job has come: numbers by scope and key, both in the job's own words, in a table of the job's own.

Written in the transaction whose work they are about, under the job's lease: whoever goes on after a process that was
killed finds exactly what was committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store.upsert import batched, insert

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """One entry; `body` is the job's own text."""

    value: int
    body: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressTable:
    """The progress of one job; `table` has the columns scope, key, value, body and updated_ns."""

    table: sa.Table

    def read(self, connection: sa.Connection, scope: str) -> dict[int, Progress]:
        """Key -> entry, of everything in a scope, by key."""
        c = self.table.c
        query = sa.select(c.key, c.value, c.body).where(c.scope == scope).order_by(c.key)
        return {row.key: Progress(row.value, row.body) for row in connection.execute(query)}

    def write(self, connection: sa.Connection, scope: str, entries: Mapping[int, Progress], now_ns: int) -> None:
        """Keep these entries in place of what is there under their keys."""
        rows = [
            {"scope": scope, "key": key, "value": one.value, "body": one.body, "updated_ns": now_ns}
            for key, one in sorted(entries.items())
        ]
        if rows:
            statement = insert(connection, self.table)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["scope", "key"],
                    set_={name: statement.excluded[name] for name in ("value", "body", "updated_ns")},
                ),
                rows,
            )

    def forget(self, connection: sa.Connection, scope: str, below_key: int | None = None) -> None:
        """Delete a scope, or only what has a smaller key."""
        c = self.table.c
        condition = [c.scope == scope] if below_key is None else [c.scope == scope, c.key < below_key]
        connection.execute(sa.delete(self.table).where(*condition))

    def drop(self, connection: sa.Connection, scope: str, keys: Sequence[int]) -> None:
        """Delete these entries of a scope."""
        c = self.table.c
        for some in batched(sorted(keys), _AT_ONCE):
            connection.execute(sa.delete(self.table).where(c.scope == scope, c.key.in_(some)))
