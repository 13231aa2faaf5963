"""Rows of a statement that is asked often: prepared text and tuples, past what SQLAlchemy adds to each execution.

On SQLite a small statement takes 1 to 10 us in the driver and 30 to 150 us through SQLAlchemy; a question asks seven.
PostgreSQL's driver prepares by itself, and a round trip costs more than could be saved: there it goes the usual way.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from store.postgresql import binary

Row = tuple[Any, ...]


def rows(connection: sa.Connection, text: str, values: Sequence[object] = ()) -> list[Row]:
    """All rows of a SELECT, inside the connection's transaction.

    Args:
        text: with ? for values; it must hold no other question mark or percent sign.
    Raises:
        sqlalchemy.exc.SQLAlchemyError: as from the connection itself.
    """
    if connection.dialect.name != "sqlite":
        return [tuple(row) for row in _asked(connection, text, values)]
    try:
        found: list[Row] = _driver(connection).execute(text, values).fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, text, values, error) from error
    return found


def chunks(connection: sa.Connection, text: str, values: Sequence[object], size: int) -> Iterator[list[Row]]:
    """As `rows`, in lists of at most `size`, as they come from the database."""
    if connection.dialect.name != "sqlite":
        yield from ([tuple(row) for row in part] for part in _asked(connection, text, values).partitions(size))
        return
    try:
        cursor = _driver(connection).execute(text, values)
        while part := cursor.fetchmany(size):
            yield part
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, text, values, error) from error


def _asked(connection: sa.Connection, text: str, values: Sequence[object]) -> sa.CursorResult[Any]:
    return binary(connection).exec_driver_sql(text.replace("?", "%s"), tuple(values))


def _driver(connection: sa.Connection) -> Any:
    if not connection.in_transaction():
        connection.begin()  # ours to begin: the driver itself never does
    return connection.connection.dbapi_connection


def _wrapped(connection: sa.Connection, text: str, values: Sequence[object], error: Exception) -> Exception:
    """The driver's error as SQLAlchemy raises it."""
    dialect = connection.dialect
    return sa.exc.DBAPIError.instance(text, tuple(values), error, dialect.loaded_dbapi.Error, dialect=dialect)
