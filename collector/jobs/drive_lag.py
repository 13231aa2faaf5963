"""How far the scoring of drives is behind, as the database knows it: every collector shows the same, whoever scores.

Behind since the newest round began that came to its end, or since there was first something to score, whichever is
later: so a job that fails from its first day on is seen to fail. Both moments are by the clock of the database's
server where it has one, so that no collector's clock makes the lag.
"""

import time

import sqlalchemy as sa

from collector.jobs.drive_readings import QUERY
from store import tables
from store.drive_overview import ROUNDS_SCOPE
from store.drive_progress import Progress, forget_progress, read_progress, write_progress
from store.drive_tables import drives
from store.leases import known_clocks_ns

#: Under key 0, since when there are drives, or readings that may become some.
DUE_SCOPE = "drives due"


class DriveLag:
    """What was last read of it; goes on growing while the database cannot be asked, or a round lasts."""

    def __init__(self) -> None:
        self._behind_s = 0.0
        self._is_due = False
        self._looked_s = time.monotonic()

    def look(self, connection: sa.Connection, now_ns: int) -> None:
        """Read it; whoever holds the lease has called `note_due` before."""
        due = read_progress(connection, DUE_SCOPE).get(0)
        newest = read_progress(connection, ROUNDS_SCOPE).get(0)
        since_ns = max((one.value for one in (due, newest) if one is not None), default=0)
        self._behind_s = (server_ns(connection, now_ns) - since_ns) / 1e9
        self._is_due = due is not None
        self._looked_s = time.monotonic()

    def seconds(self) -> float:
        """Seconds; 0 where there is nothing to score."""
        if not self._is_due:
            return 0.0
        return max(0.0, self._behind_s + time.monotonic() - self._looked_s)


def server_ns(connection: sa.Connection, now_ns: int) -> int:
    """The time by the clock that all collectors share; by `now_ns` on SQLite, where they share a machine."""
    return known_clocks_ns(connection, now_ns)[-1]


def note_due(connection: sa.Connection, now_ns: int) -> None:
    """Note since when there is something to score, and forget it where there is nothing; needs the lease.

    Reads no more than whether there are rows: what keeps readings from becoming drives must not keep this from seeing.
    """
    noted, is_due = bool(read_progress(connection, DUE_SCOPE)), _is_due(connection)
    if is_due and not noted:
        write_progress(connection, DUE_SCOPE, {0: Progress(server_ns(connection, now_ns))}, now_ns)
    elif noted and not is_due:
        forget_progress(connection, DUE_SCOPE)


def note_round(connection: sa.Connection, began_ns: int, now_ns: int) -> None:
    """Note that a round which began then, by the shared clock, has scored all drives; needs the lease."""
    write_progress(connection, ROUNDS_SCOPE, {0: Progress(began_ns)}, now_ns)


def _is_due(connection: sa.Connection) -> bool:
    if connection.execute(sa.select(drives.c.id).limit(1)).one_or_none() is not None:
        return True
    query, version, changes = tables.queries, tables.versions, tables.page_changes
    versions = sa.select(version.c.id).join(query, query.c.id == version.c.query_id).where(query.c.name == QUERY)
    found = sa.select(changes.c.version_id).where(changes.c.version_id.in_(versions)).limit(1)
    return connection.execute(found).one_or_none() is not None
