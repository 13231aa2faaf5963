"""Claiming a partition: from then on only this owner's flushes are accepted.

The epoch goes up with every claim, the number of flushes with every flush. A flush carries both and the position it
started from; when any has moved, somebody else owns the partition, or this very flush has been committed already
although its answer was lost. Either way it writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from store import tables
from store.errors import FencedError
from store.upsert import insert, insert_missing

#: What scheduled jobs write windows under: streams that no transport has, since a slash is in no topic's name, and
#: partition numbers that no transport gives, each once. The position is the job's own count of what it wrote.
DRIVES_TOPIC: Final = "jobs/drives"
DRIVES_PARTITION: Final = -2
GPU_TOPIC: Final = "jobs/gpu"
GPU_PARTITION: Final = -3
GPU_FAILURES_PARTITION: Final = -4
TAIL_TOPIC: Final = "jobs/tail"
TAIL_PARTITION: Final = -5
TAIL_MINUTES_PARTITION: Final = -6
JOBS_TOPICS: Final = (DRIVES_TOPIC, GPU_TOPIC, TAIL_TOPIC)


@dataclass(frozen=True, slots=True)
class MarkRow:
    """How far one incarnation's frames have been taken in; `gaps` is the collector's encoding."""

    agent: str
    incarnation: str
    mark: int
    mark_created_ns: int
    gaps: bytes
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to flush one partition, and what its last flush left behind.

    `left_log` is the log that the last position was in, where this claim is of another one and so begins anew.
    """

    topic: str
    partition: int
    owner: str
    epoch: int
    flushes: int
    next_offset: int
    marks: tuple[MarkRow, ...]
    left_log: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a flush adds to the partition's cumulative counters."""

    frames: int = 0
    bytes: int = 0
    records: int = 0
    groups: int = 0
    duplicates: int = 0
    quarantined: int = 0
    dead_letters: int = 0
    lost_frames: int = 0
    skipped_offsets: int = 0
    too_old: int = 0
    too_new: int = 0
    shared_ids: int = 0
    restored_spools: int = 0
    dead_letters_dropped: int = 0
    over_series_max: int = 0


COUNTERS: tuple[str, ...] = tuple(Counts.__slots__)


def claim(connection: sa.Connection, topic: str, partition: int, owner: str, log_id: str = "") -> Claim:
    """Take the partition over from whoever has it; the caller commits, then seeks to `next_offset`.

    Where the last position lies in another log than `log_id`, it says nothing about this one: it becomes 0. Marks stay,
    so frames that stand in both logs are known.
    """
    table = tables.offsets
    row = {"topic": topic, "partition": partition, "next_offset": 0, "epoch": 0, "owner": ""}
    insert_missing(connection, table, [row])
    mine = table.c.topic == topic, table.c.partition == partition
    taken = connection.execute(
        sa.update(table)
        .where(*mine)
        .values(epoch=table.c.epoch + 1, owner=owner)
        .returning(table.c.next_offset, table.c.epoch, table.c.flushes, table.c.log_id)
    ).one()
    next_offset, left_log = taken.next_offset, ""
    if log_id and log_id != taken.log_id:
        if taken.log_id and next_offset:
            next_offset, left_log = 0, taken.log_id
        connection.execute(sa.update(table).where(*mine).values(log_id=log_id, next_offset=next_offset))
    marks = connection.execute(
        sa.select(tables.marks).where(tables.marks.c.topic == topic, tables.marks.c.partition == partition)
    )
    return Claim(
        topic,
        partition,
        owner,
        taken.epoch,
        taken.flushes,
        next_offset,
        tuple(MarkRow(m.agent, m.incarnation, m.mark, m.mark_created_ns, m.gaps, m.updated_ns) for m in marks),
        left_log,
    )


def advance(connection: sa.Connection, held: Claim, next_offset: int, counts: Counts, now_ns: int) -> None:
    """The fence: move the partition's position, or find out that it is no longer ours to move.

    Must be the transaction's first statement, so that nothing is read or written before ownership is certain.

    Raises:
        FencedError: the epoch, the number of flushes or the position is not the one of `held`.
    """
    table = tables.offsets
    added = {name: table.c[name] + getattr(counts, name) for name in COUNTERS}
    moved = connection.execute(
        sa.update(table)
        .where(
            table.c.topic == held.topic,
            table.c.partition == held.partition,
            table.c.epoch == held.epoch,
            table.c.flushes == held.flushes,
            table.c.next_offset == held.next_offset,
        )
        .values(next_offset=next_offset, flushes=table.c.flushes + 1, flushed_ns=now_ns, **added)
    )
    if moved.rowcount != 1:
        raise FencedError(
            f"partition {held.partition} of {held.topic} is not where we left it (epoch {held.epoch}, flush "
            f"{held.flushes}, offset {held.next_offset}): another collector has claimed it, or our last flush went "
            "through although its answer was lost"
        )


def count(connection: sa.Connection, held: Claim, counts: Counts) -> None:
    """Add what only turned out while the flush was written; it holds the partition since `advance`."""
    table = tables.offsets
    added = {name: table.c[name] + amount for name in COUNTERS if (amount := getattr(counts, name))}
    if added:
        mine = table.c.topic == held.topic, table.c.partition == held.partition
        connection.execute(sa.update(table).where(*mine).values(**added))


def write_marks(connection: sa.Connection, held: Claim, marks: Sequence[MarkRow]) -> None:
    """Store the marks that a flush has moved."""
    if not marks:
        return
    from_rows = [
        {
            "topic": held.topic,
            "partition": held.partition,
            "agent": row.agent,
            "incarnation": row.incarnation,
            "mark": row.mark,
            "mark_created_ns": row.mark_created_ns,
            "gaps": row.gaps,
            "updated_ns": row.updated_ns,
        }
        for row in marks
    ]
    statement = insert(connection, tables.marks)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["topic", "partition", "agent", "incarnation"],
            set_={name: statement.excluded[name] for name in ("mark", "mark_created_ns", "gaps", "updated_ns")},
        ),
        from_rows,
    )


def delete_idle_marks(connection: sa.Connection, held: Claim, older_than_ns: int) -> None:
    """Forget incarnations not heard of since `older_than_ns`; the collector refuses their frames from then on."""
    connection.execute(
        sa.delete(tables.marks).where(
            tables.marks.c.topic == held.topic,
            tables.marks.c.partition == held.partition,
            tables.marks.c.updated_ns < older_than_ns,
        )
    )
