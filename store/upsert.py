"""INSERT … ON CONFLICT, the same for SQLite and PostgreSQL."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


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
