"""Opening the database: engine, connection settings, and whether its schema is the one we know.

SQLite and PostgreSQL get the same treatment above this module. On SQLite the driver's own transaction handling is
switched off so that BEGIN, COMMIT and what lies between are exactly ours, and every commit is synced to disk: the
collector lets the transport forget a record as soon as the commit has returned.
"""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from store import postgresql
from store.errors import DatabaseUrlError, SchemaError

_MIGRATIONS = Path(__file__).parent / "migrations"
_SQLITE_WAIT_S = 5
_UPGRADE_WAIT_S = 60
_UPGRADE_STATEMENT_S = 3600


def open_engine(url: str, *, read_only: bool = False, immediate: bool = False) -> sa.Engine:
    """An engine for `url`: sqlite:///…, or postgresql://… in any of its spellings, which psycopg then serves.

    Args:
        read_only: connections refuse to write, and answer also while the disk is full.
        immediate: SQLite takes the write lock as a transaction begins; reading first and writing then would fail
            whenever somebody else has written in between.
    Raises:
        DatabaseUrlError: not such an address; the message does not repeat it, for it may hold a password.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return postgresql.open_postgresql(parsed, read_only=read_only)
    engine = sa.create_engine(parsed)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _sqlite_begin(read_only=read_only, immediate=immediate))
    if read_only:
        sa.event.listen(engine, "connect", _forbid_writes_sqlite)
    return engine


def lose_patience(engine: sa.Engine, wait_s: float) -> None:
    """From now on wait at most this long for another process's lock.

    For the end of a process: it must not outlast its stop by waiting.
    """
    if engine.dialect.name == "postgresql":
        postgresql.lose_patience(engine, wait_s)
        return
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")


def cut_off(engine: sa.Engine, silent_s: float) -> bool:
    """End all waiting for a database that has said nothing for `silent_s`, from another thread; whether it was done.

    For the end of a process, as `lose_patience`. SQLite has no server that could be silent.
    """
    return engine.dialect.name == "postgresql" and postgresql.cut_off(engine, silent_s)


def upgrade(url: str) -> str:
    """Bring the database to this program's schema, creating it where it is empty; returns the revision.

    Raises:
        SchemaError: the database is of a newer release or another program.
    """
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            _alone(connection)
            _refuse_foreign(connection)
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return _head()
    finally:
        engine.dispose()


def check_schema(engine: sa.Engine) -> None:
    """Return when the database has exactly this program's schema.

    Raises:
        SchemaError: it has not; the message says what to run.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached.
    """
    with engine.connect() as connection:
        _refuse_foreign(connection)
        current = MigrationContext.configure(connection).get_current_revision()
    if current != _head():
        seen = "no Tailwatch schema" if current is None else f"schema {current}"
        raise SchemaError(f"the database has {seen}, this program needs {_head()}; run `tailwatch db upgrade`")


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseUrlError(
            "database.url is no address of a database; want sqlite:///FILE or postgresql+psycopg://USER@HOST:PORT/NAME "
            "(a password with @, : or / in it has to be percent-encoded)"
        ) from None
    if parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise DatabaseUrlError(
            f"database.url starts with {parsed.drivername}://; Tailwatch keeps its data in sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST:PORT/NAME"
        )
    return parsed


def _refuse_foreign(connection: sa.Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaError(
            f"the database has schema {current}, this program knows up to {_head()}; "
            "install the release that wrote it, or point database.url elsewhere"
        )
    if current is None:
        foreign = sorted(set(sa.inspect(connection).get_table_names()) - {"alembic_version"})
        if foreign:
            raise SchemaError(
                f"the database holds tables of another program ({', '.join(foreign[:5])}); "
                "point database.url at an empty one"
            )


def _alone(connection: sa.Connection) -> None:
    """Wait until nobody else upgrades this database; an upgrade may take longer than other statements."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_UPGRADE_WAIT_S}s'")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_UPGRADE_STATEMENT_S}s'")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('tailwatch schema'))")
    else:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_UPGRADE_WAIT_S * 1000}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _head() -> str:
    head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    if head is None:
        raise SchemaError("no migrations are installed beside the store package; reinstall tailwatch")
    return head


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _set_up_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(_SQLITE_WAIT_S * 1000)}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch to write-ahead logging; on a new file SQLite ignores busy_timeout here when two connections race."""
    until = time.monotonic() + _SQLITE_WAIT_S
    while not _switched(cursor, until):
        time.sleep(0.005)


def _switched(cursor: sqlite3.Cursor, until: float) -> bool:
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > until:
            raise
        return False
    return True


def _forbid_writes_sqlite(connection: Any, record: object) -> None:
    del record
    connection.execute("PRAGMA query_only = ON")


def _sqlite_begin(*, read_only: bool, immediate: bool) -> Callable[[sa.Connection], None]:
    if read_only:
        return _begin_reading_sqlite
    return _begin_immediate_sqlite if immediate else _begin_sqlite


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_reading_sqlite(connection: sa.Connection) -> None:
    # Straight to the driver: through SQLAlchemy it takes 30 us, a tenth of a small question.
    driver: Any = connection.connection.dbapi_connection
    driver.execute("BEGIN")


def _begin_immediate_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
