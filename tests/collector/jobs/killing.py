"""Processes that die between two transactions, on copies of a database: whether what they leave ends the same."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store.connect import open_engine

#: More than any job needs for a round.
MOST_COMMITS = 60


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a signal."""


@contextmanager
def killed_at(engine: sa.Engine, commit: int) -> Iterator[None]:
    """The `commit`-th transaction from now on does not come to its end."""
    left = commit

    def count(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError

    sa.event.listen(engine, "commit", count)
    try:
        yield
    finally:
        sa.event.remove(engine, "commit", count)


def made(path: Path, fill: Callable[[sa.Engine], object]) -> Path:
    """A file of SQLite, filled, that can be copied."""
    engine = open_engine(f"sqlite:///{path}")
    fill(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@contextmanager
def copied(database: Path, path: Path) -> Iterator[sa.Engine]:
    """A copy of it under another name, which is gone afterwards."""
    shutil.copy(database, path)
    engine = open_engine(f"sqlite:///{path}")
    try:
        yield engine
    finally:
        engine.dispose()
        for one in path.parent.glob(f"{path.name}*"):
            one.unlink()


def commits_survived(
    before: Path, folder: Path, lived: Callable[[sa.Engine, int], bool], content: Callable[[sa.Engine], Any], step: int
) -> tuple[int, list[Any]]:
    """How many commits a process lives for that comes to its end; what was left after each death and the next life.

    Args:
        before: a database that nobody has worked on. step: 1 to die before each commit, 2 before every other one.
        lived: whether a process that dies before this commit came to its end.
    """
    left = []
    for dies_at in range(1, MOST_COMMITS, step):
        with copied(before, folder / "killed.db") as engine:
            finished = lived(engine, dies_at)
            assert finished or lived(engine, MOST_COMMITS), f"after a death before commit {dies_at}"
            left.append(content(engine))
        if finished:
            return dies_at, left
    raise AssertionError(f"no process came to its end within {MOST_COMMITS} commits")
