"""A command's way into the configured database: it has to be there, and to have this release's tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa


@contextmanager
def open_database(url: str, *, read_only: bool = False) -> "Iterator[sa.Engine]":
    """An engine that is disposed of at the end; SQLite's write lock is taken as a transaction begins.

    Raises:
        SchemaError: there is no database, or not one with this release's tables.
    """
    from store.connect import check_schema, open_engine
    from store.errors import SchemaError
    from tailwatch.database_file import sqlite_file

    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise SchemaError(f"there is no database at {file}; make it with `tailwatch db upgrade`, or set database.url")
    engine = open_engine(url, read_only=read_only, immediate=not read_only)
    try:
        check_schema(engine)
        yield engine
    finally:
        engine.dispose()
