"""The last plan on disk, with the tables that it joins: an agent that starts while no API answers goes on with it.

Files are written beside their names and put in place by a rename, so that a kill leaves the old or the new one. What
cannot be read counts as not there: the API has it. Tables that no version joins any more are removed.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.errors import TableError
from pipeline.tables import StaticTable, read_table

log = logging.getLogger(__name__)


class KeptPlan(msgspec.Struct, frozen=True):
    """The API's answer and its tag."""

    body: bytes
    etag: str


class PlanFolder:
    """One agent's folder; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """The folder is made with the first write."""
        self._path = path
        self._told = False

    def load(self) -> KeptPlan | None:
        """What `keep` kept last."""
        try:
            return msgspec.msgpack.decode((self._path / "plan").read_bytes(), type=KeptPlan)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the kept plan cannot be read, the API will be asked path=%s error=%s", self._path, error)
            return None

    def keep(self, plan: KeptPlan) -> None:
        """Keep a plan for the next start. A disk that cannot take it is logged once; what runs goes on."""
        self._write("plan", msgspec.msgpack.encode(plan))

    def table(self, name: str, content_hash: str) -> StaticTable | None:
        """A kept table, or None."""
        try:
            return read_table(name, (self._path / _file_name(name, content_hash)).read_bytes(), content_hash)
        except (OSError, TableError):
            return None

    def keep_table(self, name: str, content_hash: str, data: bytes) -> None:
        """Keep a table's bytes, as `read_table` reads them."""
        self._write(_file_name(name, content_hash), data)

    def forget_tables_but(self, used: Iterable[tuple[str, str]]) -> None:
        """Remove the tables that are not among these (name, hash)."""
        names = {_file_name(*one) for one in used}
        with suppress(OSError):
            for path in self._path.glob("table-*"):
                if path.name not in names:
                    path.unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            new = self._path / f".new-{name}"
            new.write_bytes(data)
            new.replace(self._path / name)
            self._told = False
        except OSError as error:
            if not self._told:
                log.warning("the plan cannot be kept for the next start path=%s error=%s", self._path, error)
            self._told = True


def _file_name(name: str, content_hash: str) -> str:
    return f"table-{name}-{content_hash}"
