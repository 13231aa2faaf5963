"""Runs `tailwatch` so that it can be stopped or killed inside a flush: between two statements of its one transaction.

    python struck_in_flush.py FILE collector run --config F

When FILE appears and says `STOP 3` or `KILL 3`, the process removes it and sends itself that signal before the third
statement that follows the fence of the next flush with records, or before its commit where there are fewer; with 0
before the fence itself. Statements are seen in psycopg's cursor and connection, so there is no fault point in the
product's code to forget.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

FENCE = "UPDATE offsets SET next_offset"
order = Path(sys.argv[1])
how = signal.SIGKILL
left = 0
flushing: psycopg.Connection[Any] | None = None


def strike() -> None:
    """Send the signal; after a stop, the process goes on from here when it is continued."""
    global flushing  # noqa: PLW0603
    flushing = None
    os.kill(os.getpid(), how)


def adds_records(query: Any, parameters: Any = None, *_: Any) -> bool:
    """Whether this is the fence of a flush with records."""
    return str(query).startswith(FENCE) and any(
        count for name, count in dict(parameters or {}).items() if name.startswith("records")
    )


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    """A cursor's method: the fence takes the order, the statements of its connection after it count."""

    def call(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        global how, left, flushing  # noqa: PLW0603
        if flushing is self.connection:
            left -= 1
        elif flushing is None and order.exists() and adds_records(query, *args):
            name, count = order.read_text().split()
            order.unlink()
            how, left, flushing = signal.Signals[f"SIG{name}"], int(count), self.connection
        if flushing is self.connection and not left:
            strike()
        return method(self, query, *args, **kwargs)

    return call


def ended(method: Callable[..., Any], *, commits: bool) -> Callable[..., Any]:
    """A connection's method that ends a transaction."""

    def call(self: Any) -> Any:
        global flushing  # noqa: PLW0603
        if flushing is self:
            if commits:
                strike()
            flushing = None
        return method(self)

    return call


for name in ("execute", "executemany"):
    setattr(psycopg.Cursor, name, counted(getattr(psycopg.Cursor, name)))
psycopg.Connection.commit = ended(psycopg.Connection.commit, commits=True)  # type: ignore[method-assign]
psycopg.Connection.rollback = ended(psycopg.Connection.rollback, commits=False)  # type: ignore[method-assign]

from tailwatch.cli import main  # noqa: E402

sys.exit(main(sys.argv[2:]))
