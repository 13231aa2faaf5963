"""How far a job is behind, as the database knows it: every collector shows the same, whoever does the work.

Behind since the newest round began that came to its end, or since there was first something to do, whichever is
later: so a job that fails from its first day on is seen to fail. Both moments are by the clock of the database's
server where it has one, so that no collector's clock makes the lag.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from store.job_progress import Progress, ProgressTable
from store.leases import known_clocks_ns


@dataclass(frozen=True, slots=True)
class Noted:
    """Where a job notes what its lag is read from.

    Attributes:
        progress: the job's own.
        due_scope: under key 0, since when there is something to do.
        rounds_scope: under key 0, when the newest round began that did all there was.
        is_due: whether there is something to do. Reads no more than whether there are rows: what keeps the job from
            its work must not keep this from seeing.
    """

    progress: ProgressTable
    due_scope: str
    rounds_scope: str
    is_due: Callable[[sa.Connection], bool]


class JobLag:
    """What was last read of it; goes on growing while the database cannot be asked, or a round lasts."""

    def __init__(self, noted: Noted) -> None:
        self._noted = noted
        self._behind_s = 0.0
        self._is_due = False
        self._looked_s = time.monotonic()

    def look(self, connection: sa.Connection, now_ns: int) -> None:
        """Read it; whoever holds the lease has called `note_due` before."""
        due = self._noted.progress.read(connection, self._noted.due_scope).get(0)
        newest = self._noted.progress.read(connection, self._noted.rounds_scope).get(0)
        since_ns = max((one.value for one in (due, newest) if one is not None), default=0)
        self._behind_s = (server_ns(connection, now_ns) - since_ns) / 1e9
        self._is_due = due is not None
        self._looked_s = time.monotonic()

    def seconds(self) -> float:
        """Seconds; 0 where there is nothing to do."""
        if not self._is_due:
            return 0.0
        return max(0.0, self._behind_s + time.monotonic() - self._looked_s)

    def note_due(self, connection: sa.Connection, now_ns: int) -> None:
        """Note since when there is something to do, and forget it where there is nothing; needs the lease."""
        noted = bool(self._noted.progress.read(connection, self._noted.due_scope))
        is_due = self._noted.is_due(connection)
        if is_due and not noted:
            entry = {0: Progress(server_ns(connection, now_ns))}
            self._noted.progress.write(connection, self._noted.due_scope, entry, now_ns)
        elif noted and not is_due:
            self._noted.progress.forget(connection, self._noted.due_scope)

    def note_round(self, connection: sa.Connection, began_ns: int, now_ns: int) -> None:
        """Note that a round which began then, by the shared clock, has done all there was; needs the lease."""
        self._noted.progress.write(connection, self._noted.rounds_scope, {0: Progress(began_ns)}, now_ns)


def server_ns(connection: sa.Connection, now_ns: int) -> int:
    """The time by the clock that all collectors share; by `now_ns` on SQLite, where they share a machine."""
    return known_clocks_ns(connection, now_ns)[-1]
