"""Failures that were taken back after series had counted them: which numbers they had.

A failure counts once, by its number, when the writer of series comes to that (store/claims.py). What is taken back, and
found again when something else is heard, is the same failure: with its old number it lies behind the writer.
"""

from hashlib import blake2b

import sqlalchemy as sa

from store.claims import GPU_FAILURES_PARTITION, GPU_TOPIC
from store.gpu_tables import gpu_progress
from store.job_progress import Progress, ProgressTable
from store.tables import offsets

_PROGRESS = ProgressTable(gpu_progress)
#: One entry an attempt: its failure's number, by a hash of the attempt, which stands in the entry.
SCOPE = "gpu failures taken back"


def note_taken_back(connection: sa.Connection, job: str, number: int, failure_id: int, now_ns: int) -> None:
    """Keep the number of a failure that is deleted, where series have counted it: else it has still to be."""
    t = offsets
    query = sa.select(t.c.next_offset).where(t.c.topic == GPU_TOPIC, t.c.partition == GPU_FAILURES_PARTITION)
    counted = connection.execute(query).scalar_one_or_none()
    if counted is not None and failure_id <= counted:
        entry = Progress(failure_id, _name(job, number))
        _PROGRESS.write(connection, SCOPE, {_key(job, number): entry}, now_ns)


def number_before(connection: sa.Connection, job: str, number: int) -> int | None:
    """The number that a failure of this attempt had when it was taken back, once; None: none that was counted."""
    t, key = gpu_progress, _key(job, number)
    query = sa.select(t.c.value).where(t.c.scope == SCOPE, t.c.key == key, t.c.body == _name(job, number))
    found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        _PROGRESS.drop(connection, SCOPE, [key])
    return found


def forget_taken_back(connection: sa.Connection, before_ns: int) -> None:
    """Forget those that were taken back before then."""
    t = gpu_progress
    connection.execute(sa.delete(t).where(t.c.scope == SCOPE, t.c.updated_ns < before_ns))


def _name(job: str, number: int) -> str:
    return f"{number} {job}"


def _key(job: str, number: int) -> int:
    digest = blake2b(_name(job, number).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
