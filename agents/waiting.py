"""Frames as the spool holds them before their hand-over: their content, and all that may still be changed.

Nobody but this agent has seen a frame that was not handed over, so it may be merged, changed or taken out within the
transaction of a checkpoint (spool_room.py says which). What one start of the agent made may be touched in all of its
incarnations; what an earlier start left behind is sent as it is.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wire.frame import Kind

FRAME_OVERHEAD_BYTES: Final = 256  # row, two index entries, share of a page
COLUMNS: Final = "kind, query, version, cut, window_first_ns, window_last_ns, created_ns, rows, sampled"


@dataclass(frozen=True, slots=True)
class SpoolFrame:
    """A frame's content; who sends it and its sequence are added at hand-over."""

    kind: Kind
    query: str
    version: str
    cut: int
    window_first_ns: int
    window_last_ns: int
    created_ns: int
    rows: int
    body: bytes
    sampled: float = 1.0

    @property
    def bytes(self) -> int:
        """What it counts against the cap."""
        return len(self.body) + FRAME_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stored frame that was not handed over, without its body."""

    id: int
    incarnation: int
    kind: Kind
    query: str
    version: str
    cut: int
    created_ns: int
    rows: int
    bytes: int
    sampled: float


class WaitingFrames:
    """The frames of one start that were not handed over, within the transaction of a checkpoint."""

    def __init__(self, db: sqlite3.Connection, first: int, newest: int) -> None:
        """Of the incarnations from ordinal `first` on; what is added belongs to `newest`.

        Keeps count of what is added and taken away; `earlier_changed` says whether `newest` was not the only one.
        """
        self._db = db
        self._first = first
        self._newest = newest
        self.frames_added = 0
        self.bytes_added = 0
        self.earlier_changed = False

    def __iter__(self) -> Iterator[Waiting]:
        """Oldest first."""
        rows = self._db.execute(
            "SELECT id, incarnation, kind, query, version, cut, created_ns, rows, bytes, sampled FROM frames "
            "WHERE incarnation >= ? AND sequence IS NULL ORDER BY incarnation, id",
            (self._first,),
        ).fetchall()
        return iter([Waiting(*row) for row in rows])

    def nothing_sent_of(self, incarnation: int) -> bool:
        """Whether no frame of this incarnation was handed over: the first, which announces it, waits as well."""
        sql = "SELECT next_sequence FROM incarnations WHERE ordinal = ?"
        return int(self._db.execute(sql, (incarnation,)).fetchone()[0]) == 1

    def body(self, frame_id: int) -> bytes:
        """The body of one of them."""
        return body_of(self._db, frame_id)

    def add(self, frame: SpoolFrame) -> None:
        """Append a frame."""
        self._db.execute(
            f"INSERT INTO frames (incarnation, {COLUMNS}, bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'')",
            (self._newest, *_values(frame), frame.bytes),
        )
        self._db.execute("INSERT INTO bodies VALUES (last_insert_rowid(), ?)", (frame.body,))
        self.frames_added += 1
        self.bytes_added += frame.bytes

    def replace(self, waiting: Waiting, frame: SpoolFrame) -> None:
        """Another content in the same place of the order."""
        self._db.execute(
            f"UPDATE frames SET ({COLUMNS}, bytes, body) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'') WHERE id = ?",
            (*_values(frame), frame.bytes, waiting.id),
        )
        self._db.execute("REPLACE INTO bodies VALUES (?, ?)", (waiting.id, frame.body))
        self.bytes_added += frame.bytes - waiting.bytes
        self._note(waiting)

    def remove(self, waiting: Waiting) -> None:
        """Take a frame out; nobody but this agent has ever seen it."""
        self._db.execute("DELETE FROM frames WHERE id = ?", (waiting.id,))
        self.frames_added -= 1
        self.bytes_added -= waiting.bytes
        self._note(waiting)

    def _note(self, waiting: Waiting) -> None:
        self.earlier_changed = self.earlier_changed or waiting.incarnation != self._newest


def body_of(db: sqlite3.Connection, frame_id: int) -> bytes:
    """The body of a frame in the spool."""
    sql = "SELECT coalesce((SELECT body FROM bodies WHERE id = frames.id), body) FROM frames WHERE id = ?"
    (body,) = db.execute(sql, (frame_id,)).fetchone()
    return bytes(body)


def _values(frame: SpoolFrame) -> tuple[object, ...]:
    """In the order of COLUMNS."""
    windows = (frame.window_first_ns, frame.window_last_ns)
    return (frame.kind, frame.query, frame.version, frame.cut, *windows, frame.created_ns, frame.rows, frame.sampled)
