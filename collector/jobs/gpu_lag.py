"""When there are jobs on GPUs to look into, and where it is noted how far that is (job_lag.py)."""

from typing import Final

import sqlalchemy as sa

from collector.jobs.gpu_log_query import FIRST
from collector.jobs.gpu_waiting import PROGRESS
from collector.jobs.job_lag import Noted
from store import tables
from store.gpu_overview import ROUNDS_SCOPE
from store.gpu_tables import gpu_attempts

#: Under key 0, since when there are reports or lines of jobs.
DUE_SCOPE: Final = "gpu due"


def is_due(connection: sa.Connection) -> bool:
    """Whether there are reports, or windows of a query that keeps lines of jobs."""
    if connection.execute(sa.select(gpu_attempts.c.id).limit(1)).one_or_none() is not None:
        return True
    metric, version, changes = tables.metrics, tables.versions, tables.page_changes
    versions = (
        sa.select(version.c.id).join(metric, metric.c.query_id == version.c.query_id).where(metric.c.name == FIRST)
    )
    found = sa.select(changes.c.version_id).where(changes.c.version_id.in_(versions)).limit(1)
    return connection.execute(found).one_or_none() is not None


NOTED: Final = Noted(PROGRESS, DUE_SCOPE, ROUNDS_SCOPE, is_due)
