"""What is particular to PostgreSQL: how a connection is made, how long anything may wait, and binary results.

No wait is without end: not for a host that does not answer, not for a connection of the pool, a lock, a statement, nor
for a peer that has vanished in mid-answer. What the address itself says (`?connect_timeout=…`, `?options=…`) wins.
One wait has no limit of its own: for a server whose machine is there and whose processes stand still. A process that
wants to end leaves it by `cut_off`.

The address may name a file with the password (`?password_path=…`); it is read with every new connection, so that a
changed password needs no restart.
"""

import os
import socket
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import psycopg
import sqlalchemy as sa

CONNECT_S = 5
LOCK_MS = 5_000
STATEMENT_MS = 60_000
IDLE_IN_TRANSACTION_MS = 120_000
PEER_GONE_MS = 20_000
_POOL_WAIT_S = 10
_BINARY = "binary_rows"
_PASSWORD_PATH = "password_path"
# What a reader gave back so recently is not asked whether it is still there: that is one of four round trips.
_TRUSTED_S = 1.0
_SERVER_OPTIONS = {
    "lock_timeout": LOCK_MS,
    "statement_timeout": STATEMENT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
}
_LIBPQ = {
    "connect_timeout": CONNECT_S,
    "application_name": "tailwatch",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": PEER_GONE_MS,
}


def open_postgresql(url: sa.URL, *, read_only: bool) -> sa.Engine:
    """An engine on PostgreSQL; a read-only one sees one state of the database throughout a transaction."""
    options = " ".join(f"-c {name}={value}" for name, value in _SERVER_OPTIONS.items())
    own = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    password_path = _text(url.query.get(_PASSWORD_PATH, ""))
    engine = sa.create_engine(
        url.difference_update_query([_PASSWORD_PATH]),
        pool_pre_ping=True,
        pool_timeout=_POOL_WAIT_S,
        hide_parameters=True,
        connect_args={**own, "options": f"{options} {_text(url.query.get('options', ''))}".strip()},
        execution_options={
            "isolation_level": "REPEATABLE READ" if read_only else "READ COMMITTED",
            "postgresql_readonly": read_only,
        },
    )
    sa.event.listen(engine, "before_cursor_execute", _ask_for_binary)
    if password_path:
        _read_password(engine, Path(password_path))  # before the one that connects
    _connections[engine] = _Connections(engine)
    if read_only:
        _ping_only_after_a_pause(engine)
    return engine


def cut_off(engine: sa.Engine, silent_s: float) -> bool:
    """End every wait for a server that has not answered for `silent_s`, and refuse any further; whether it was done.

    Whoever waits there, in another thread, gets an OperationalError; what it has not committed is not written.
    """
    return _connections[engine].cut_off(silent_s)


def lose_patience(engine: sa.Engine, wait_s: float) -> None:
    """From now on wait at most this long for a lock, and about a second for a connection."""
    milliseconds = round(wait_s * 1000)

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")

    def connect(dialect: object, record: object, arguments: object, named: dict[str, Any]) -> None:
        del dialect, record, arguments
        named["connect_timeout"] = 1  # libpq makes 2 of it in some releases

    sa.event.listen(engine, "begin", begin)
    sa.event.listen(engine, "do_connect", connect, insert=True)  # before the one that connects


def binary(connection: sa.Connection) -> sa.Connection:
    """The connection for statements whose rows hold large blobs: half the bytes on the wire, nothing to decode."""
    return connection.execution_options(**{_BINARY: True}) if connection.dialect.name == "postgresql" else connection


def _ask_for_binary(
    connection: sa.Connection, cursor: Any, statement: str, parameters: object, context: Any, many: bool
) -> None:
    del statement, parameters, context, many
    if connection.get_execution_options().get(_BINARY):
        cursor.format = 1


def _read_password(engine: sa.Engine, path: Path) -> None:
    def connect(dialect: object, record: object, arguments: object, named: dict[str, Any]) -> None:
        del dialect, record, arguments
        try:
            named["password"] = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise psycopg.OperationalError(
                f"the file of database.password_path, {path}, cannot be read: {reason}"
            ) from error

    sa.event.listen(engine, "do_connect", connect)


def _ping_only_after_a_pause(engine: sa.Engine) -> None:
    """Whoever gets a connection that was cut within the pause fails once; that empties the whole pool."""
    ping = engine.dialect.do_ping
    returned_s: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def note(driver: Any, record: object) -> None:
        del record
        if driver is not None:
            returned_s[driver] = monotonic()

    def seldom(driver: Any) -> bool:
        return monotonic() - returned_s.get(driver, float("-inf")) < _TRUSTED_S or ping(driver)

    sa.event.listen(engine, "checkin", note)
    engine.dialect.do_ping = seldom  # type: ignore[assignment]


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)


class _Connections:
    """What an engine has open and under way, so that another thread can cut it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[psycopg.Connection[Any]] = WeakSet()
        self._under_way: set[Future[psycopg.Connection[Any]]] = set()
        self._pool = engine.pool
        self._answered_s = monotonic()
        self._cut = False
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "checkout", self._note)
        sa.event.listen(engine, "after_cursor_execute", self._note)

    def cut_off(self, silent_s: float) -> bool:
        with self._lock:
            waits = self._under_way or self._pool.checkedout()  # type: ignore[attr-defined]
            if not waits or monotonic() - self._answered_s < silent_s:
                return False
            self._cut = True
            for attempt in self._under_way:
                attempt.cancel()
            for connection in self._open:
                with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as peer:
                    peer.shutdown(socket.SHUT_RDWR)
        return True

    def _note(self, *_: object) -> None:
        self._answered_s = monotonic()

    def _connect(self, dialect: sa.Dialect, record: object, arguments: Any, named: Any) -> Any:
        """In a thread of its own: a connection in the making has no socket yet that could be shut."""
        del record
        attempt: Future[psycopg.Connection[Any]] = Future()
        with self._lock:
            if self._cut:
                raise psycopg.OperationalError("no connection is made any more: this process ends")
            self._note()
            self._under_way.add(attempt)
        threading.Thread(target=_connect, args=(attempt, dialect, arguments, named), daemon=True).start()
        try:
            connection = attempt.result()
        except CancelledError:
            raise psycopg.OperationalError("the server did not answer, and this process ends") from None
        finally:
            with self._lock:
                self._under_way.discard(attempt)
        with self._lock:
            self._open.add(connection)
        return connection


_connections: WeakKeyDictionary[sa.Engine, _Connections] = WeakKeyDictionary()


def _connect(attempt: "Future[psycopg.Connection[Any]]", dialect: sa.Dialect, arguments: Any, named: Any) -> None:
    try:
        connection = dialect.connect(*arguments, **named)
    except BaseException as error:  # noqa: BLE001  # whoever waits for it raises it
        if attempt.set_running_or_notify_cancel():
            attempt.set_exception(error)
    else:
        if attempt.set_running_or_notify_cancel():
            attempt.set_result(connection)  # type: ignore[arg-type]
        else:
            connection.close()
