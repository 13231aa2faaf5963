"""What is particular to PostgreSQL: how a connection is made, how long anything may wait, and binary results.

No wait is without end: not for a host that does not answer, not for a connection of the pool, a lock, a statement, nor
for a peer that has vanished in mid-answer. What the address itself says (`?connect_timeout=…`, `?options=…`) wins.
"""

from typing import Any

import sqlalchemy as sa

CONNECT_S = 5
LOCK_MS = 5_000
STATEMENT_MS = 60_000
IDLE_IN_TRANSACTION_MS = 120_000
PEER_GONE_MS = 20_000
_POOL_WAIT_S = 10
_BINARY = "binary_rows"
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
    engine = sa.create_engine(
        url,
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
    return engine


def lose_patience(engine: sa.Engine, wait_s: float) -> None:
    """From now on wait at most this long for a lock, and about a second for a connection."""
    milliseconds = round(wait_s * 1000)

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")

    def connect(dialect: object, record: object, arguments: object, named: dict[str, Any]) -> None:
        del dialect, record, arguments
        named["connect_timeout"] = 1  # libpq makes 2 of it in some releases

    sa.event.listen(engine, "begin", begin)
    sa.event.listen(engine, "do_connect", connect)


def binary(connection: sa.Connection) -> sa.Connection:
    """The connection for statements whose rows hold large blobs: half the bytes on the wire, nothing to decode."""
    return connection.execution_options(**{_BINARY: True}) if connection.dialect.name == "postgresql" else connection


def _ask_for_binary(
    connection: sa.Connection, cursor: Any, statement: str, parameters: object, context: Any, many: bool
) -> None:
    del statement, parameters, context, many
    if connection.get_execution_options().get(_BINARY):
        cursor.format = 1


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)
