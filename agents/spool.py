"""The spool: what the agent has accepted and the transport has not acknowledged, on disk, with who sends it.

One transaction stores a checkpoint: frames, positions of the sources, the heartbeat's time. A frame has no sequence
until the transaction just before it is first handed over (hand_over.py); from then on it is only ever sent again,
unchanged, until it is acknowledged. Each incarnation has its own sequence and partition; frames of an earlier one keep
theirs. A start of the agent begins an incarnation, and so does the end of an outage that left a backlog: what then
waits belongs to one that has ended. What may be done to frames not handed over when space is short is in spool_room.py.
"""

import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agents.errors import SpoolWriteError
from agents.hand_over import HandedFrame, HandOver, Lane, Stuck
from agents.spool_file import SpoolFile, transaction, writing
from agents.waiting import SpoolFrame, WaitingFrames

# What is free after a checkpoint was stored it did not need: more than this is given back to the file system.
_FREE_BYTES: Final = 2**22
_GIVEN_BACK_BYTES: Final = 2**24
# The last incarnation that stored anything stays without frames too: the next one must say whom it follows.
_FORGET_THE_DELIVERED: Final = (
    "DELETE FROM incarnations WHERE NOT EXISTS (SELECT 1 FROM frames WHERE incarnation = incarnations.ordinal) "
    "AND ordinal IS NOT (SELECT max(ordinal) FROM incarnations WHERE checkpoints > 0)"
)


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """How far a replayable source was read, and the times of what it gave."""

    position: bytes
    first_ns: int | None
    watermark_ns: int | None


@dataclass(frozen=True, slots=True)
class SeenOfFile:
    """A query version has seen what was read of a file up to this time, but for what it has missed: [from, to)."""

    seen_ns: int
    missed: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint stores. `number` counts from 1 in each incarnation: storing one twice changes nothing.

    `watermarks` says by query version up to where the live records are vouched for by this checkpoint; `seen` by query
    version and source what has changed of what was seen of files.
    """

    number: int
    frames: Sequence[SpoolFrame]
    positions: dict[str, StoredPosition]
    time_ns: int
    clean: bool
    watermarks: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[tuple[str, str], SeenOfFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One start of the agent, or what follows it after an outage.

    After an unclean end, live records may be missing from `interrupted_from_ns` on until this start, and for a query
    version in `watermarks` from that time on already: what was under way inside a source is older than the checkpoint.
    `previous` names the incarnation before in this spool that stored anything; no frame of it that this spool has sent
    or may still send has a sequence above `previous_sequence`.
    """

    ordinal: int
    id: str
    agent: str
    started_ns: int
    interrupted_from_ns: int | None
    watermarks: Mapping[str, int] = field(default_factory=dict)
    previous: str = ""
    previous_sequence: int = 0

    def in_doubt_from(self, version: str) -> int | None:
        """From when on live records of this query version may be missing; None after a clean end."""
        if self.interrupted_from_ns is None:
            return None
        return min(self.watermarks.get(version, self.interrupted_from_ns), self.interrupted_from_ns)


MakeRoom = Callable[[WaitingFrames, int], None]


class Spool:
    """The spool of one agent; used by one thread."""

    def __init__(
        self,
        path: Path,
        machine: str,
        max_bytes: int,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        """Open or create it; errors as SpoolFile."""
        self._file = SpoolFile(path, machine, connection)
        self._db = self._file.db
        self.path = path
        self.max_bytes = max_bytes
        self.frames = 0
        self.bytes = 0
        self.backlog_frames = 0
        self.backlog_bytes = 0
        self._hand_over = HandOver(self._db)
        self._oldest_ns: int | None = None
        with writing(path):
            self._page_bytes = int(self._db.execute("PRAGMA page_size").fetchone()[0])
            # Ordinals: the first incarnation of this start, and the running one.
            (self._running,) = self._db.execute("SELECT coalesce(max(ordinal), 0) FROM incarnations").fetchone()
        self._first = self._running + 1
        self._measure()

    @property
    def stuck(self) -> Stuck:
        """What cannot be sent, as far as `hand_over` has found out."""
        return self._hand_over.stuck

    def begin(self, agent: str, now_ns: int) -> Incarnation:
        """Start a new incarnation. Earlier ones stay as long as frames of theirs do."""
        name = secrets.token_hex(16)
        with writing(self.path), transaction(self._db):
            last = self._db.execute(
                "SELECT clean, heartbeat_ns, interrupted_from_ns, started_ns FROM incarnations "
                "ORDER BY ordinal DESC LIMIT 1"
            ).fetchone()
            interrupted = None
            if last is not None and not last[0]:
                interrupted = next(int(time_ns) for time_ns in last[1:] if time_ns is not None)
            watermarks = dict(self._db.execute("SELECT version, watermark_ns FROM watermarks").fetchall())
            previous = self._previous()
            self._db.execute(_FORGET_THE_DELIVERED)
            ordinal = self._db.execute(
                "INSERT INTO incarnations (id, agent, started_ns, interrupted_from_ns) VALUES (?, ?, ?, ?)",
                (name, agent, now_ns, interrupted),
            ).lastrowid
        self._first = self._running = int(ordinal or 0)
        self.backlog_frames, self.backlog_bytes = self.frames, self.bytes
        return Incarnation(self._running, name, agent, now_ns, interrupted, watermarks, *previous)

    def successor(self, incarnation: Incarnation, now_ns: int) -> Incarnation:
        """The one to go on with after `incarnation`, whose last checkpoint is stored; it begins with its own first one.

        Nothing was missed in between. Its start is later than that of `incarnation`, whatever the clock says.
        """
        with writing(self.path):
            previous = self._previous()
        started_ns = max(now_ns, incarnation.started_ns + 1)
        name = secrets.token_hex(16)
        return Incarnation(incarnation.ordinal + 1, name, incarnation.agent, started_ns, None, {}, *previous)

    def positions(self) -> dict[str, StoredPosition]:
        """By source name, as the last checkpoint stored them."""
        with writing(self.path):
            rows = self._db.execute("SELECT source, position, first_ns, watermark_ns FROM positions").fetchall()
        return {source: StoredPosition(position, first, last) for source, position, first, last in rows}

    def seen(self) -> dict[tuple[str, str], SeenOfFile]:
        """By query version and source name, as checkpoints stored it; version "" is from before versions were noted."""
        with writing(self.path):
            rows = self._db.execute(
                "SELECT version, source, seen_ns, missed_from_ns, missed_to_ns FROM seen"
            ).fetchall()
        return {
            (version, source): SeenOfFile(seen_ns, None if from_ns is None else (from_ns, to_ns))
            for version, source, seen_ns, from_ns, to_ns in rows
        }

    def store(self, incarnation: Incarnation, checkpoint: Checkpoint, make_room: MakeRoom | None = None) -> None:
        """Commit a checkpoint; within the transaction `make_room` is called with the bytes above the cap, if any.

        `make_room` is called whenever the checkpoint is not on disk yet, also when there is nothing above the cap.
        After an error the same checkpoint may be stored again, whether or not it reached the disk.
        """
        begins = incarnation.ordinal > self._running
        with writing(self.path), self._measured_if_failing(), transaction(self._db):
            if begins:
                self._db.execute(_FORGET_THE_DELIVERED)
                self._db.execute(
                    "INSERT INTO incarnations (ordinal, id, agent, started_ns) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO NOTHING",
                    (incarnation.ordinal, incarnation.id, incarnation.agent, incarnation.started_ns),
                )
            fresh = self._db.execute(
                "UPDATE incarnations SET checkpoints = ?, heartbeat_ns = ?, clean = ? "
                "WHERE ordinal = ? AND checkpoints = ? - 1",
                (checkpoint.number, checkpoint.time_ns, checkpoint.clean, incarnation.ordinal, checkpoint.number),
            ).rowcount
            if fresh:
                frames = WaitingFrames(self._db, self._first, incarnation.ordinal)
                for frame in checkpoint.frames:
                    frames.add(frame)
                self._db.executemany(
                    "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET "
                    "position = excluded.position, first_ns = excluded.first_ns, watermark_ns = excluded.watermark_ns",
                    [(name, at.position, at.first_ns, at.watermark_ns) for name, at in checkpoint.positions.items()],
                )
                self._store_seen(checkpoint.seen)
                self._db.execute("DELETE FROM watermarks")
                if not checkpoint.clean:
                    self._db.executemany("INSERT INTO watermarks VALUES (?, ?)", list(checkpoint.watermarks.items()))
                if make_room is not None:
                    make_room(frames, self.bytes + frames.bytes_added - self.max_bytes)
        self._running = max(self._running, incarnation.ordinal)
        if fresh and not begins and not frames.earlier_changed:
            self.frames += frames.frames_added
            self.bytes += frames.bytes_added
        else:  # other frames are backlog now, or an earlier attempt had reached the disk and could not be measured
            self._measure()
        self._give_back()

    def hand_over(
        self,
        limit: int,
        under_way: Collection[int],
        partitions: Callable[[], int],
        lane: Lane = Lane.BOTH,
        max_bytes: float = float("inf"),
    ) -> list[HandedFrame]:
        """Frames of `lane` to publish next, oldest incarnation first, without those `under_way`.

        At most `limit`, and about `max_bytes`. Their sequences, and the partition of an incarnation that has none yet,
        are on disk when this returns. Frames that cannot be sent hold up no others; `stuck` says how many there are.
        """
        with writing(self.path):
            return self._hand_over.take(
                limit, under_way, partitions, running=self._running, lane=lane, max_bytes=max_bytes
            )

    def acknowledge(self, ids: Iterable[int]) -> None:
        """Remove frames that the transport holds durably."""
        with writing(self.path), self._measured_if_failing():
            removed = [(frame_id,) for frame_id in ids]
            if not removed:
                return
            with transaction(self._db):
                sql = "DELETE FROM frames WHERE id = ? RETURNING bytes, incarnation"
                gone = [row for key in removed for row in self._db.execute(sql, key).fetchall()]
            self.frames -= len(gone)
            self.bytes -= sum(size for size, _ in gone)
            of_backlog = [size for size, ordinal in gone if ordinal < self._running]
            self.backlog_frames -= len(of_backlog)
            self.backlog_bytes -= sum(of_backlog)
            if len(gone) < len(removed):  # an earlier attempt had removed them, but could perhaps not be measured
                self._measure()

    def holds_earlier_than(self, incarnation: Incarnation) -> bool:
        """Whether frames of incarnations before this one wait; it may not have stored anything yet."""
        return (self.frames if incarnation.ordinal > self._running else self.backlog_frames) > 0

    def oldest_age_s(self, now_ns: int) -> int:
        """Whole seconds since the oldest frame was made, 0 without any; from what was last known if the file fails."""
        with suppress(sqlite3.Error):
            row = self._db.execute("SELECT created_ns FROM frames ORDER BY id LIMIT 1").fetchone()
            self._oldest_ns = row[0] if row else None
        return 0 if self._oldest_ns is None else max(0, now_ns - self._oldest_ns) // 10**9

    def close(self) -> None:
        """Let go of the file; everything stored stays."""
        self._file.close()

    def _give_back(self) -> None:
        """Shrink the file, but not by what the next checkpoint will want again."""
        with suppress(sqlite3.Error):  # the checkpoint is stored: whatever ails the file shows with the next one
            if self._db.execute("PRAGMA freelist_count").fetchone()[0] * self._page_bytes > _FREE_BYTES:
                # `execute` would step this statement only once and free a single page.
                self._db.executescript(f"PRAGMA incremental_vacuum({_GIVEN_BACK_BYTES // self._page_bytes})")

    @contextmanager
    def _measured_if_failing(self) -> Iterator[None]:
        """After an error nobody knows whether the commit reached the disk; ask the file, if it answers."""
        try:
            yield
        except sqlite3.Error:
            with suppress(SpoolWriteError):
                self._measure()
            raise

    def _store_seen(self, seen: Mapping[tuple[str, str], SeenOfFile]) -> None:
        if seen:
            self._db.execute("DELETE FROM seen WHERE version = ''")
            self._db.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
                [(*key, one.seen_ns, *(one.missed or (None, None))) for key, one in seen.items()],
            )

    def _previous(self) -> tuple[str, int]:
        """Name and highest sequence, given or still to be given, of the last incarnation that stored anything."""
        row = self._db.execute(
            "SELECT id, next_sequence - 1 + "
            "(SELECT count(*) FROM frames WHERE incarnation = ordinal AND sequence IS NULL) "
            "FROM incarnations WHERE checkpoints > 0 ORDER BY ordinal DESC LIMIT 1"
        ).fetchone()
        return (str(row[0]), int(row[1])) if row else ("", 0)

    def _measure(self) -> None:
        with writing(self.path):
            self.frames, self.bytes, self.backlog_frames, self.backlog_bytes = self._db.execute(
                "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(incarnation < ?1), 0), "
                "coalesce(sum(bytes * (incarnation < ?1)), 0) FROM frames",
                (self._running,),
            ).fetchone()
