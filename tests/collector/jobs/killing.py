"""Processes that die between two transactions, on copies of a database: whether what they leave ends the same."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import sqlalchemy as sa

from store.connect import open_engine

#: More than any job needs for a round.
MOST_COMMITS: Final = 60
World = TypeVar("World")
#: What a job left, by name.
Content: TypeAlias = dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class Mortal(Generic[World]):
    """A job that dies between any two of its transactions, and is run again, on worlds of one kind.

    Attributes:
        world: of a database. filled: one with all that the job is to do put into it.
        lived: whether a process that dies before this commit came to the end of what is due.
        content: all that the job leaves, without what another process may leave otherwise.
    """

    world: Callable[[sa.Engine], World]
    filled: Callable[[sa.Engine], World]
    lived: Callable[[World, int], bool]
    content: Callable[[World], Content]

    @contextmanager
    def undisturbed(self, untouched: Path, folder: Path) -> Iterator[tuple[Path, Content]]:
        """A database before the job ran, and what is left after it ran once to its end, in `after.db` beside it."""
        shutil.copy(untouched, folder / "before.db")
        before = made(folder / "before.db", self.filled)
        with copied(before, folder / "after.db") as engine:
            world = self.world(engine)
            assert self.lived(world, MOST_COMMITS)
            yield before, self.content(world)

    def dies_before_commits(self, before: Path, wanted: Content, folder: Path, *, every: int = 1) -> None:
        """A death before any commit, or every third one, and the next life leave what an undisturbed one does."""
        commits = next(
            dies_at for dies_at in range(1, MOST_COMMITS, every) if self._ended(before, wanted, folder, dies_at)
        )
        assert 12 < commits < MOST_COMMITS - 1

    def dies_again_and_again(self, engine: sa.Engine, wanted: Content, *, least: int, among: int) -> None:
        """Death after death, each before one of `among` commits from the `least` on, leaves the same in the end."""
        world = self.filled(engine)
        deaths = 0
        while not self.lived(world, least + deaths % among):
            deaths += 1
            assert deaths < MOST_COMMITS
        assert deaths > 4
        assert self.content(world) == wanted

    def _ended(self, before: Path, wanted: Content, folder: Path, dies_at: int) -> bool:
        with copied(before, folder / "killed.db") as engine:
            finished = self.lived(self.world(engine), dies_at)
            assert finished or self.lived(self.world(engine), MOST_COMMITS), f"after a death before commit {dies_at}"
            assert self.content(self.world(engine)) == wanted, f"killed before commit {dies_at}"
        return finished
