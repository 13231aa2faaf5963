"""Leases: work that one process may do at a time, and the proof, inside its own transactions, that it still may.

Times only decide who may try; what decides is the epoch. Every transaction of a job begins by renewing the lease under
the epoch it was taken with: a job whose lease has gone to another process writes nothing, and two never run at once,
because the renewal locks the lease's row until the transaction ends.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from store import tables
from store.errors import LeaseLostError
from store.upsert import insert_missing


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do one kind of work."""

    name: str
    owner: str
    epoch: int
    lasts_ns: int


def take_lease(connection: sa.Connection, name: str, owner: str, now_ns: int, lasts_ns: int) -> Lease | None:
    """The lease, when it is free, has run out, or is this owner's already; the caller commits."""
    table = tables.leases
    insert_missing(connection, table, [{"name": name, "owner": "", "epoch": 0, "expires_ns": 0}])
    taken = connection.execute(
        sa.update(table)
        .where(table.c.name == name, sa.or_(table.c.expires_ns <= now_ns, table.c.owner == owner))
        .values(owner=owner, epoch=table.c.epoch + 1, expires_ns=now_ns + lasts_ns)
        .returning(table.c.epoch)
    ).one_or_none()
    return None if taken is None else Lease(name, owner, taken.epoch, lasts_ns)


def hold_lease(connection: sa.Connection, lease: Lease, now_ns: int) -> None:
    """Must be the first statement of every transaction that the lease covers.

    Raises:
        LeaseLostError: another process has taken it; roll back and stop the job.
    """
    table = tables.leases
    renewed = connection.execute(
        sa.update(table)
        .where(table.c.name == lease.name, table.c.epoch == lease.epoch)
        .values(expires_ns=now_ns + lease.lasts_ns)
    )
    if renewed.rowcount != 1:
        raise LeaseLostError(
            f"the lease of {lease.name} (epoch {lease.epoch}) is another process's now; nothing was written"
        )


def give_back(connection: sa.Connection, lease: Lease) -> None:
    """Let the next process take it at once; the caller commits."""
    table = tables.leases
    connection.execute(
        sa.update(table).where(table.c.name == lease.name, table.c.epoch == lease.epoch).values(expires_ns=0)
    )


def holder_of(connection: sa.Connection, name: str) -> tuple[str, int]:
    """(owner, until when in ns) of a lease; ("", 0) where nobody ever took it. Whoever works renews it on the way."""
    table = tables.leases
    row = connection.execute(sa.select(table.c.owner, table.c.expires_ns).where(table.c.name == name)).one_or_none()
    return ("", 0) if row is None else (row.owner, row.expires_ns)


def shared_now_ns(connection: sa.Connection, own_now_ns: int) -> int:
    """The earlier of this process's clock and the server's: what deletes must not trust one that is ahead."""
    return min(known_clocks_ns(connection, own_now_ns))


def known_clocks_ns(connection: sa.Connection, own_now_ns: int) -> tuple[int, ...]:
    """This process's clock and the database server's; SQLite has no clock but this machine's."""
    if connection.dialect.name != "postgresql":
        return (own_now_ns,)
    seconds = float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())
    return own_now_ns, round(seconds * 1e9)
