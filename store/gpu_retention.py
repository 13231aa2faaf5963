"""What of jobs on GPUs is kept no longer: attempts, diagnoses and advice, each by its own time.

Each call deletes a few rows, the oldest first, in the caller's transaction, which holds the job's lease; called until
it returns 0, it never makes anybody wait long.
"""

import sqlalchemy as sa

from store.gpu_tables import gpu_advice, gpu_attempts, gpu_failures

#: A second's work at most, also where rows have long diagnoses.
ROWS_AT_ONCE = 1_000


def forget_attempts(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete attempts of which the latest that is known lies before then, at most `limit`; returns how many."""
    t = gpu_attempts
    old = sa.select(t.c.id).where(t.c.latest_ns < before_ns).order_by(t.c.latest_ns, t.c.id).limit(limit)
    # The time once more: a report may have come for one of them since it was read.
    return connection.execute(sa.delete(t).where(t.c.id.in_(old), t.c.latest_ns < before_ns)).rowcount


def forget_failures(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete diagnoses of attempts that failed before then, at most `limit`; returns how many."""
    t = gpu_failures
    old = sa.select(t.c.id).where(t.c.failed_ns < before_ns).order_by(t.c.failed_ns, t.c.id).limit(limit)
    return connection.execute(sa.delete(t).where(t.c.id.in_(old), t.c.failed_ns < before_ns)).rowcount


def forget_advice(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete advice given before then, at most `limit`; returns how many."""
    t = gpu_advice
    old = sa.select(t.c.job, t.c.number).where(t.c.given_ns < before_ns).order_by(t.c.given_ns).limit(limit)
    doomed = sa.tuple_(t.c.job, t.c.number).in_(old)
    return connection.execute(sa.delete(t).where(doomed, t.c.given_ns < before_ns)).rowcount
