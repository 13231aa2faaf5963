"""What of jobs on GPUs is kept no longer: attempts, diagnoses and advice, each by its own time.

Each call deletes a few rows, the oldest first, in the caller's transaction, which holds the job's lease; called until
it returns 0, it never makes anybody wait long.
"""

import sqlalchemy as sa

from store.gpu_attempts import COUNTER
from store.gpu_counters import take_turn
from store.gpu_tables import gpu_advice, gpu_attempts, gpu_failures
from store.gpu_taken_back import forget_taken_back
from store.old_rows import delete_old

#: With attempts on many nodes and long diagnoses, some tenths of a second.
ROWS_AT_ONCE = 1_000


def forget_attempts(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete attempts of which the latest that is known lies before then, at most `limit`; returns how many.

    Must come first in its transaction, but for the lease, as all that writes attempts.
    """
    take_turn(connection, COUNTER)
    t = gpu_attempts
    return delete_old(connection, t, [t.c.id], t.c.latest_ns, before_ns, limit)


def forget_failures(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete diagnoses of attempts that failed before then, at most `limit`, and what is noted of older ones.

    Returns how many diagnoses were deleted.
    """
    t = gpu_failures
    forget_taken_back(connection, before_ns)
    return delete_old(connection, t, [t.c.id], t.c.failed_ns, before_ns, limit)


def forget_advice(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete advice given before then, at most `limit`; returns how many."""
    t = gpu_advice
    return delete_old(connection, t, [t.c.job, t.c.number], t.c.given_ns, before_ns, limit)
