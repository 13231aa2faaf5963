"""Databases with this release's schema: migrated once in each process, and copied for every test that wants one."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from store.connect import upgrade
from tests.counterparts.postgres import empty_database


class Upgraded:
    """Copies of databases that `upgrade` has made, of each kind one; what a copy costs, migrations cost eight times."""

    def __init__(self, folder: Path) -> None:
        """`folder` is empty, and holds the one for SQLite."""
        self._sqlite = folder / "template.db"
        self._postgresql: dict[str, str] = {}  # the names of templates, by server
        self._opened = ExitStack()

    def sqlite(self, path: Path) -> str:
        """A new file; gives its URL."""
        if not self._sqlite.exists():
            upgrade(f"sqlite:///{self._sqlite}")
        shutil.copyfile(self._sqlite, path)
        return f"sqlite:///{path}"

    @contextmanager
    def postgresql(self, server_url: str) -> Iterator[str]:
        """A new database on the server, dropped afterwards with whatever is still connected to it; gives its URL."""
        if server_url not in self._postgresql:
            template = self._opened.enter_context(empty_database(server_url))
            upgrade(template)
            self._postgresql[server_url] = template.rpartition("/")[2]
        with empty_database(server_url, template=self._postgresql[server_url]) as url:
            yield url

    def close(self) -> None:
        """Drop the templates."""
        self._opened.close()
        self._postgresql.clear()
