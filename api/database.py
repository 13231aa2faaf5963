"""Short read transactions, and a plain sentence for every way a database can refuse.

One engine per process. A read is one transaction, so an answer never mixes two flushes. Driver texts stay in the log:
they may hold host names, paths or SQL; the caller gets a fixed sentence that says what is wrong and what to do.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from api.errors import DatabaseUnavailableError
from api.own_metrics import OwnMetrics
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

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection inside one read transaction, for the length of the block.

        Raises:
            DatabaseUnavailableError: the database cannot be reached or refused anything inside the block; counted.
        """
        try:
            with self._engine.connect() as connection:
                driver = connection.connection.dbapi_connection
                with self._lock:
                    self._reading.add(driver)
                try:
                    yield connection
                finally:
                    with self._lock:
                        self._reading.discard(driver)
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

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
                # sqlite3 calls it interrupt, psycopg cancel; both are made for calls from another thread.
                end = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
                if end is not None:
                    with contextlib.suppress(Exception):
                        end()

    def close(self) -> None:
        """Close idle connections."""
        self._engine.dispose()

    def _unavailable(self, error: SQLAlchemyError) -> DatabaseUnavailableError:
        reason = reason_of(error)
        self._metrics.database_errors.labels(reason).inc()
        log.warning("database read failed reason=%s error=%s", reason, in_short(error))
        return DatabaseUnavailableError(_SENTENCES[reason], reason=reason)
