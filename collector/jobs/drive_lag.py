"""When there are drives to score, and where it is noted how far that is (job_lag.py)."""

import sqlalchemy as sa

from collector.jobs.drive_readings import QUERY
from collector.jobs.job_lag import Noted
from store import tables
from store.drive_overview import ROUNDS_SCOPE
from store.drive_tables import drive_progress, drives
from store.job_progress import ProgressTable

#: Under key 0, since when there are drives, or readings that may become some.
DUE_SCOPE = "drives due"


def _is_due(connection: sa.Connection) -> bool:
    if connection.execute(sa.select(drives.c.id).limit(1)).one_or_none() is not None:
        return True
    query, version, changes = tables.queries, tables.versions, tables.page_changes
    versions = sa.select(version.c.id).join(query, query.c.id == version.c.query_id).where(query.c.name == QUERY)
    found = sa.select(changes.c.version_id).where(changes.c.version_id.in_(versions)).limit(1)
    return connection.execute(found).one_or_none() is not None


NOTED = Noted(ProgressTable(drive_progress), DUE_SCOPE, ROUNDS_SCOPE, _is_due)
