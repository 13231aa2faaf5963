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
    return [row for chunk in chunks(connection, text, values, 0) for row in chunk]


def chunks(connection: sa.Connection, text: str, values: Sequence[object], size: int) -> Iterator[list[Row]]:
    """The rows in lists of at most `size`, as they come from the database; 0: all in one, which may be empty."""
    if connection.dialect.name != "sqlite":
        found = binary(connection).exec_driver_sql(text.replace("?", "%s"), tuple(values))
        yield from ([tuple(row) for row in part] for part in (found.partitions(size) if size else [found.all()]))
        return
    if not connection.in_transaction():
        connection.begin()  # ours to begin: the driver itself never does
    driver: Any = connection.connection.dbapi_connection
    try:
        cursor = driver.execute(text, values)
        if not size:
            yield cursor.fetchall()
            return
        while part := cursor.fetchmany(size):
            yield part
    except connection.dialect.loaded_dbapi.Error as error:
        raise sa.exc.DBAPIError.instance(
            text, tuple(values), error, connection.dialect.loaded_dbapi.Error, dialect=connection.dialect
        ) from error
