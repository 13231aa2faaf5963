"""Short read transactions, and a plain sentence for every way a database can refuse.

One engine per process. A read is one transaction, so an answer never mixes two flushes. Driver texts stay in the log:
they may hold host names, paths or SQL; the caller gets a fixed sentence that says what is wrong and what to do.
"""

import contextlib
import logging
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from api.errors import DatabaseUnavailableError
from api.own_metrics import OwnMetrics
from api.running import Run, interrupt
from store.connect import check_schema
from store.errors import SchemaError
from store.refusals import in_short, reason_of

log = logging.getLogger(__name__)

_SENTENCES = {
    "stopping": "the server is stopping and gave up this read; ask again in a moment",
    "locked": "another process holds the database locked; ask again in a moment",
    "busy": "all database connections are taken; ask again in a moment",
    "disk": "the disk that holds the database is full or failing; free space there, then check it",
    "schema": "the database does not have the tables this release reads; run `tailwatch db upgrade`",
    "damaged": "the database file is damaged or no database; check database.url, or restore a copy",
    "unreachable": "the database cannot be reached; check database.url and that the database is running",
    "other": "the database refused the read; the log of the API says more",
}


class Database:
    """All access of this process to the store."""

    def __init__(self, engine: sa.Engine, metrics: OwnMetrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._lock = threading.Lock()
        self._reading: set[Any] = set()
        self._held = threading.local()
        self._kept: list[sa.Connection] = []

    def reading(self) -> "_Reading":
        """A connection inside one read transaction, for the length of the block.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or refused anything inside the block; counted.
            QuestionTimeoutError, ClientGoneError: the question that this thread answers was ended.
        """
        return _Reading(self)

    def check_schema(self) -> None:
        """Return when the tables are those of this release.

        Raises:
            SchemaError: they are not; the message says what to run.
            DatabaseUnavailableError: the database cannot be reached; counted.
        """
        try:
            check_schema(self._engine)
        except SchemaError:
            raise
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def interrupt(self) -> None:
        """End the reads that are running, from another thread, so that a stop does not wait for a long one."""
        with self._lock:
            for driver in self._reading:
                interrupt(driver)

    def close(self) -> None:
        """Close idle connections; one that is read from is closed by its thread's end."""
        with self._lock:
            kept = [held for held in self._kept if held.connection.dbapi_connection not in self._reading]
            self._kept.clear()
        self._held = threading.local()
        for connection in kept:
            connection.close()
        self._engine.dispose()

    def _begin(self, run: Run | None) -> tuple[sa.Connection, Any]:
        """A connection and its driver's, which is registered as read from.

        The threads for questions keep theirs where the database is a file: taking one out of the pool and giving it
        back is a tenth of a small question. A server's may be cut any time, which the pool finds out before it gives
        one away.
        """
        connection: sa.Connection | None = None
        if run is not None and self._engine.dialect.name == "sqlite":
            connection = getattr(self._held, "connection", None)
            if connection is None:
                connection = self._held.connection = self._engine.connect()
                with self._lock:
                    self._kept.append(connection)
        else:
            connection = self._engine.connect()
        driver = connection.connection.dbapi_connection
        with self._lock:
            self._reading.add(driver)
        if run is not None:
            run.reads_from(driver)
        return connection, driver

    def _end(self, connection: sa.Connection, driver: Any, run: Run | None, *, failed: bool) -> None:
        if run is not None:
            run.reads_from(None)
        with self._lock:
            self._reading.discard(driver)
        kept = getattr(self._held, "connection", None) is connection
        if kept and not failed:
            connection.rollback()
            return
        if kept:
            del self._held.connection
            with self._lock, contextlib.suppress(ValueError):
                self._kept.remove(connection)
        connection.close()

    def _unavailable(self, error: SQLAlchemyError) -> DatabaseUnavailableError:
        reason = reason_of(error)
        self._metrics.database_errors.labels(reason).inc()
        log.warning("database read failed reason=%s error=%s", reason, in_short(error))
        return DatabaseUnavailableError(_SENTENCES[reason], reason=reason)


class _Reading:
    """See Database.reading. A class, as it runs with every question: nested generators took three times as long."""

    __slots__ = ("_connection", "_database", "_driver", "_run")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run = Run.current()

    def __enter__(self) -> sa.Connection:
        try:
            # The driver's own: a connection that was cut in the middle no longer says which it had.
            self._connection, self._driver = self._database._begin(self._run)
        except SQLAlchemyError as error:
            raise self._said(error) from error
        if self._run is not None and self._run.ended is not None:
            self._database._end(self._connection, self._driver, self._run, failed=False)
            raise self._run.error()
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._database._end(self._connection, self._driver, self._run, failed=error is not None)
        except SQLAlchemyError as failure:
            if error is None:
                raise self._said(failure) from failure
        if isinstance(error, SQLAlchemyError):
            raise self._said(error) from error

    def _said(self, error: SQLAlchemyError) -> Exception:
        if self._run is not None and self._run.ended is not None:
            return self._run.error()
        return self._database._unavailable(error)
