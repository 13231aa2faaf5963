"""What a spool holds, read from outside: without its lock, beside a running agent, changing nothing."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agents.errors import SpoolError, SpoolNewerError
from agents.spool_file import UPGRADES

_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class SpoolState:
    """Frames that wait, and the newest incarnation's last heartbeat; times are ns UTC, None where there is none."""

    frames: int
    bytes: int
    oldest_ns: int | None
    agent: str | None
    heartbeat_ns: int | None


def spool_state(path: Path) -> SpoolState | None:
    """The state of the spool at `path`; None when there is none.

    Raises:
        SpoolNewerError: a newer release wrote it.
        SpoolError: it is no spool, or cannot be read.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(UPGRADES):
                raise SpoolNewerError(
                    f"spool {path} has format {version}, this program knows up to {len(UPGRADES)}; "
                    "run the newer release, or set another agent.spool_path"
                )
            frames = db.execute("SELECT count(*), coalesce(sum(bytes), 0), min(created_ns) FROM frames").fetchone()
            newest = db.execute("SELECT agent, heartbeat_ns FROM incarnations ORDER BY ordinal DESC LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise SpoolError(f"spool {path}: {error}; is it one, and may this user read it?") from error
    return SpoolState(*frames, *(newest or (None, None)))
