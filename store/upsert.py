"""INSERT … ON CONFLICT, the same for SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Item = TypeVar("Item")


def batched(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in pieces of at most `size`: databases limit how many parameters a statement has."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """The dialect's INSERT, which knows `on_conflict_do_update` and `on_conflict_do_nothing`."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that break no uniqueness; the others are there already."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)


def larger(a: Any, b: Any) -> sa.ColumnElement[Any]:
    """The larger of two SQL expressions (max() in SQLite, greatest() in PostgreSQL)."""
    return sa.case((a >= b, a), else_=b)


def smaller(a: Any, b: Any) -> sa.ColumnElement[Any]:
    """The smaller of two SQL expressions."""
    return sa.case((a <= b, a), else_=b)
