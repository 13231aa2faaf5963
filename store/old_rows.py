"""Deleting what is older than a time, a few rows at once: nobody waits long for a transaction that forgets."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def delete_old(
    connection: sa.Connection,
    table: sa.Table,
    key: "Sequence[sa.Column[Any]]",
    time_ns: "sa.Column[int]",
    before_ns: int,
    limit: int,
) -> int:
    """Delete rows whose time lies before `before_ns`, the oldest first, at most `limit`; returns how many.

    Args:
        key: columns that tell rows apart.
    """
    old = sa.select(*key).where(time_ns < before_ns).order_by(time_ns, *key).limit(limit)
    named: Any = sa.tuple_(*key) if len(key) > 1 else key[0]
    # The time once more: what was written anew since it was read stays.
    return connection.execute(sa.delete(table).where(named.in_(old), time_ns < before_ns)).rowcount
