"""When there are services to work on, and where it is noted how far that is (job_lag.py)."""

from typing import Final

import sqlalchemy as sa

from collector.jobs.job_lag import Noted
from collector.jobs.tail_waiting import PROGRESS
from store.tail_tables import tail_batches, tail_runs

#: Under key 0, since when there are requests or runs; and when the newest round began that did all there was.
DUE_SCOPE: Final = "tail due"
ROUNDS_SCOPE: Final = "tail rounds"


def is_due(connection: sa.Connection) -> bool:
    """Whether there are recorded requests, or a run that waits."""
    if connection.execute(sa.select(tail_batches.c.id).limit(1)).one_or_none() is not None:
        return True
    waiting = sa.select(tail_runs.c.id).where(tail_runs.c.state == "waiting").limit(1)
    return connection.execute(waiting).one_or_none() is not None


NOTED: Final = Noted(PROGRESS, DUE_SCOPE, ROUNDS_SCOPE, is_due)
