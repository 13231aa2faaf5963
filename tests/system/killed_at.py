"""Runs `tailwatch` and kills itself, as kill -9 would, right before the n-th SQL statement on one SQLite file.

    python killed_at.py FILE N agent run --config F
    python killed_at.py postgresql N collector run --config F

The statements are counted by SQLite's own trace, or in psycopg's cursor and connection, so there is no fault point in
the product's code to forget.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

target, remaining = Path(sys.argv[1]).resolve(), int(sys.argv[2])
connect = sqlite3.connect


def count(statement: str) -> None:
    """One more statement; the last one allowed is never run."""
    global remaining  # noqa: PLW0603
    del statement
    remaining -= 1
    if remaining == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def traced_connect(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
    """sqlite3.connect, with the trace set on connections to the target."""
    connection = connect(database, *args, **kwargs)
    if Path(str(database)).resolve() == target:
        connection.set_trace_callback(count)
    return connection


sqlite3.connect = traced_connect
sqlite3.dbapi2.connect = traced_connect  # type: ignore[attr-defined]


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, its call counted as one statement."""

    def call(*args: Any, **kwargs: Any) -> Any:
        count("")
        return method(*args, **kwargs)

    return call


if sys.argv[1] == "postgresql":
    import psycopg

    for owner, names in ((psycopg.Cursor, ("execute", "executemany")), (psycopg.Connection, ("commit",))):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))

from tailwatch.cli import main  # noqa: E402

sys.exit(main(sys.argv[3:]))
