"""Frames that were kept instead of taken in: dead letters, which can never be used, and the quarantine, which may be.

Collectors write both in their flushes (store/flush.py); here they are read, newest first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from store import tables

Kind = Literal["dead_letters", "quarantine"]
_TABLES = {"dead_letters": tables.dead_letters, "quarantine": tables.quarantine}
_ROWS_AT_ONCE = 16  # a payload may have a megabyte
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """One kept frame; `version` is the plan it waits for, None for a dead letter."""

    frame_id: int
    topic: str
    partition: int
    offset: int
    version: str | None
    reason: str
    received_ns: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeptReason:
    """All kept frames of one reason, its numbers written as #."""

    reason: str
    frames: int
    payload_bytes: int
    first_ns: int
    last_ns: int


def kept_frames(
    connection: sa.Connection, kind: Kind, before_id: int | None = None, reason: str = ""
) -> Iterator[KeptFrame]:
    """Kept frames whose reason has `reason` in it, newest first, those with smaller ids than `before_id`.

    Cost: read as they are asked for, a few at a time.
    """
    table = _TABLES[kind]
    query = sa.select(table).order_by(table.c.id.desc())
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    if reason:
        place = sa.func.instr if connection.dialect.name == "sqlite" else sa.func.strpos
        query = query.where(place(table.c.reason, reason) > 0)
    for row in connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE}):
        version = row.version if kind == "quarantine" else None
        yield KeptFrame(
            row.id, row.topic, row.partition, row.offset, version, row.reason, row.received_ns, bytes(row.payload)
        )


def kept_reasons(connection: sa.Connection, kind: Kind) -> list[KeptReason]:
    """How many frames are kept for which reason, most first. Reasons that differ in numbers only count as one."""
    table = _TABLES[kind]
    rows = connection.execute(
        sa.select(
            table.c.reason,
            sa.func.count().label("frames"),
            sa.func.sum(sa.func.length(table.c.payload)).label("payload_bytes"),
            sa.func.min(table.c.received_ns).label("first_ns"),
            sa.func.max(table.c.received_ns).label("last_ns"),
        ).group_by(table.c.reason)
    )
    found: dict[str, KeptReason] = {}
    for row in rows:
        one = KeptReason(numbers_left_out(row.reason), row.frames, int(row.payload_bytes), row.first_ns, row.last_ns)
        held = found.get(one.reason)
        found[one.reason] = one if held is None else _together(held, one)
    return sorted(found.values(), key=lambda one: (-one.frames, one.reason))


def numbers_left_out(reason: str) -> str:
    """A reason without what differs from frame to frame."""
    return _DIGITS.sub("#", reason)


def _together(one: KeptReason, other: KeptReason) -> KeptReason:
    return KeptReason(
        one.reason,
        one.frames + other.frames,
        one.payload_bytes + other.payload_bytes,
        min(one.first_ns, other.first_ns),
        max(one.last_ns, other.last_ns),
    )
