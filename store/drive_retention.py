"""What of drives is kept no longer: drives that nobody has heard of for years, and models retired long ago.

Old drive-days go by store/drive_days.py. Each call deletes a few rows in the caller's transaction, which holds the
job's lease (store/leases.py); called until it returns 0, it never makes anybody wait long.
"""

import sqlalchemy as sa

from store.drive_tables import (
    DRIVES_PER_CHUNK,
    drive_actions,
    drive_days,
    drive_features,
    drive_models,
    drive_states,
    drives,
)

#: With some hundred changes of state each, about what a chunk's verdicts take to write.
DRIVES_AT_ONCE = 100


def forget_drives(connection: sa.Connection, before_day: int, limit: int = DRIVES_AT_ONCE) -> int:
    """Delete drives last heard of before this day (days since 1970), at most `limit`; returns how many.

    With a drive go its history of states and what operators said of it. One whose drive-days are still there stays
    until they are gone: in a blob, a drive is nothing but a number.
    """
    chunk = drives.c.id // DRIVES_PER_CHUNK
    has_days = sa.exists().where(drive_days.c.chunk == chunk, drive_days.c.day <= drives.c.last_day)
    old = sa.select(drives.c.id).where(drives.c.last_day < before_day, ~has_days)
    numbers = connection.execute(old.order_by(drives.c.last_day, drives.c.id).limit(limit)).scalars().all()
    if not numbers:
        return 0
    connection.execute(sa.delete(drive_states).where(drive_states.c.drive_id.in_(numbers)))
    connection.execute(sa.delete(drive_actions).where(drive_actions.c.drive_id.in_(numbers)))
    connection.execute(sa.delete(drives).where(drives.c.id.in_(numbers)))
    for number in sorted({number // DRIVES_PER_CHUNK for number in numbers}):
        low = number * DRIVES_PER_CHUNK
        left = sa.exists().where(drives.c.id.between(low, low + DRIVES_PER_CHUNK - 1))
        connection.execute(sa.delete(drive_features).where(drive_features.c.chunk == number, ~left))
    return len(numbers)


def forget_models(connection: sa.Connection, retired_before_ns: int, limit: int = 1) -> int:
    """Delete models retired before then, at most `limit` (they are large); returns how many.

    One that stands behind what is said of any drive stays, so that this can be explained.
    """
    used = sa.exists().where(drives.c.model_digest == drive_models.c.digest)
    old = sa.select(drive_models.c.digest).where(
        drive_models.c.role == "retired", drive_models.c.retired_ns < retired_before_ns, ~used
    )
    digests = connection.execute(old.order_by(drive_models.c.retired_ns).limit(limit)).scalars().all()
    if digests:
        connection.execute(sa.delete(drive_models).where(drive_models.c.digest.in_(digests)))
    return len(digests)
