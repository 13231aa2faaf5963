"""The few transactions of this process that write: queries, static tables, retired agents.

They have an engine of their own, made with the first of them, because the one that answers questions cannot write. A
database that cannot be written is a 503 that says so; reading goes on.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from api.errors import DatabaseUnavailableError
from api.own_metrics import OwnMetrics
from store.connect import open_engine
from store.refusals import in_short, reason_of

log = logging.getLogger(__name__)

_READ_ONLY = "the database can only be read from here; send the change to an API that may write to it"
_SENTENCES = {
    "locked": "another process is writing to the database; nothing was changed, ask again in a moment",
    "busy": "all database connections are taken; nothing was changed, ask again in a moment",
    "disk": "the disk that holds the database is full or failing; nothing was changed, free space there",
    "schema": "the database does not have the tables this release writes; run `tailwatch db upgrade`",
    "unreachable": "the database cannot be reached; check database.url and that the database is running",
}
_OTHER = "the database refused the change; nothing was changed, the log of the API says more"


class WritableDatabase:
    """Write transactions on the database that `reading` belongs to."""

    def __init__(self, reading: sa.Engine, metrics: OwnMetrics) -> None:
        """Nothing is opened yet."""
        self._url = reading.url
        self._metrics = metrics
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, committed at the end of the block; after an error nothing of it happened.

        Raises:
            DatabaseUnavailableError: the database cannot be written now; counted.
        """
        try:
            with self._opened().begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = reason_of(error)
            self._metrics.database_errors.labels(reason).inc()
            log.warning("database write failed reason=%s error=%s", reason, in_short(error))
            text = in_short(error).lower()
            read_only = "readonly" in text or "read-only" in text
            sentence = _READ_ONLY if read_only else _SENTENCES.get(reason, _OTHER)
            raise DatabaseUnavailableError(sentence, reason=reason) from error

    def close(self) -> None:
        """Let go of the connections, if there are any."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _opened(self) -> sa.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = open_engine(self._url.render_as_string(hide_password=False), immediate=True)
            return self._engine


def _writable(request: Request) -> WritableDatabase:
    writable: WritableDatabase = request.app.state.writable
    return writable


Writable = Annotated[WritableDatabase, Depends(_writable)]
