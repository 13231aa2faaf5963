"""The embedded transport: a partitioned log in one SQLite file, for agent and collector on one machine.

The same contract as a broker: offsets per partition, durable on acknowledgement, read again from any offset that is
still held. Records go once the collector says they are committed. Every commit is synced to disk (synchronous=FULL):
the spool lets go of a frame as soon as this file has it.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wire.errors import OffsetOutOfRangeError, TransportError, TransportFullError
from wire.transport import AssignmentCallback, Record

SCHEMA_VERSION = 1
DEFAULT_MAX_BYTES = 256 * 2**20
_POLL_INTERVAL_S = 0.02
_BUSY_S = 5.0
# How long a commit waits at least for the log's other users; a collector's own commits take a few milliseconds.
_COMMIT_WAIT_S = 0.1
_PAGE_BYTES = 2**13  # as in the agent's spool: a record is a chain of pages
_SCHEMA = """
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    earliest INTEGER NOT NULL,
    held_bytes INTEGER NOT NULL
);
CREATE TABLE records (
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (partition, offset)
);
"""


class EmbeddedPublisher:
    """Appends payloads to the log; `acknowledged` commits what was handed over in one transaction."""

    def __init__(self, path: Path, *, partitions: int = 4, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Open the log at `path`, creating it with `partitions` partitions where it is new.

        Raises:
            TransportError: the file cannot be opened or is of another program.
        """
        self._db = _open(path, partitions)
        self._path = path
        self._max_bytes = max_bytes
        self._waiting: list[tuple[int, int, bytes]] = []
        self._waiting_bytes = 0
        with _guard(path):
            self._partitions = int(self._db.execute("SELECT count(*) FROM partitions").fetchone()[0])

    def partitions(self) -> int:
        """How many partitions the file was created with."""
        return self._partitions

    def publish(self, partition: int, token: int, payload: bytes) -> None:
        """Take one payload; it is written by the next `acknowledged`."""
        if not 0 <= partition < self._partitions:
            raise TransportError(f"{self._path}: no partition {partition}; there are {self._partitions}, from 0")
        with _guard(self._path):
            held = int(self._db.execute("SELECT sum(held_bytes) FROM partitions").fetchone()[0])
        if held + self._waiting_bytes + len(payload) > self._max_bytes:
            raise TransportFullError(
                f"{self._path} holds {held} bytes of at most {self._max_bytes}; is a collector reading it?"
            )
        if (partition, token, payload) in self._waiting:  # sent again while the log was locked
            return
        self._waiting.append((partition, token, payload))
        self._waiting_bytes += len(payload)

    def acknowledged(self, timeout_s: float) -> list[int]:
        """Commit what was handed over and return its tokens.

        None of them while another process has the log locked for longer than `timeout_s`: they wait for the next call.
        """
        if not self._waiting:
            return []
        with _guard(self._path):
            if not _locked(self._db, max(timeout_s, _COMMIT_WAIT_S)):
                return []
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        with _guard(self._path), _committed(self._db):
            next_offset = dict(self._db.execute("SELECT partition, next_offset FROM partitions"))
            sizes: dict[int, int] = {}
            for partition, _, payload in waiting:
                self._db.execute(
                    "INSERT INTO records (partition, offset, payload) VALUES (?, ?, ?)",
                    (partition, next_offset[partition], payload),
                )
                next_offset[partition] += 1
                sizes[partition] = sizes.get(partition, 0) + len(payload)
            self._db.executemany(
                "UPDATE partitions SET next_offset = ?, held_bytes = held_bytes + ? WHERE partition = ?",
                [(next_offset[partition], size, partition) for partition, size in sizes.items()],
            )
        return [token for _, token, _ in waiting]

    def close(self) -> None:
        """Close the file; payloads not acknowledged are not written."""
        self._db.close()


class EmbeddedSubscriber:
    """Reads the log; holds all partitions from `subscribe` on, there being nobody to share them with."""

    def __init__(self, path: Path, *, partitions: int = 4) -> None:
        """Open the log at `path`, creating it with `partitions` partitions where it is new."""
        self._db = _open(path, partitions)
        self._path = path
        self._positions: dict[int, int] = {}
        self._paused: frozenset[int] = frozenset()
        self._assigned: frozenset[int] = frozenset()
        self._pending: Callable[[], None] | None = None
        self._first = 0
        self._on_assign: AssignmentCallback = _ignore
        self._on_revoke: AssignmentCallback = _ignore

    def subscribe(self, on_assign: AssignmentCallback, on_revoke: AssignmentCallback) -> None:
        """Take all partitions; `on_assign` is called by the next `poll`."""
        self._on_assign, self._on_revoke = on_assign, on_revoke
        with _guard(self._path):
            every = frozenset(int(row[0]) for row in self._db.execute("SELECT partition FROM partitions"))
        self.reassign(every)

    def reassign(self, partitions: frozenset[int]) -> None:
        """Hold exactly `partitions` from the next `poll` on, as a group coordinator would decide."""

        def change() -> None:
            gone, new = self._assigned - partitions, partitions - self._assigned
            if gone:
                self._on_revoke(gone)
            self._assigned = partitions
            self._paused &= partitions
            if new:
                self._on_assign(new)

        self._pending = change

    def assigned(self) -> frozenset[int]:
        """The partitions held now."""
        return self._assigned

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """The next records; looks every 20 ms until there are some or the time is over."""
        if self._pending is not None:
            change, self._pending = self._pending, None
            change()
        deadline = time.monotonic() + timeout_s
        while True:
            records = self._read(max_records)
            remaining = deadline - time.monotonic()
            if records or remaining <= 0:
                return records
            time.sleep(min(_POLL_INTERVAL_S, remaining))

    def seek(self, partition: int, offset: int) -> None:
        """Continue `partition` at `offset`."""
        self._positions[partition] = offset

    def log_id(self) -> str:
        """The random name that the file got when it was made."""
        with _guard(self._path):
            return str(self._db.execute("SELECT id FROM identity").fetchone()[0])

    def pause(self, partitions: frozenset[int]) -> None:
        """Hand out nothing of these partitions until `resume`."""
        self._paused |= partitions

    def resume(self, partitions: frozenset[int]) -> None:
        """Undo `pause`."""
        self._paused -= partitions

    def committed(self, partition: int, next_offset: int) -> None:
        """Delete the records below `next_offset`: the database has them.

        A position beyond the log's end is of another log: nothing of this one is committed by it.
        """
        with _guard(self._path), _transaction(self._db):
            (end,) = self._db.execute("SELECT next_offset FROM partitions WHERE partition = ?", (partition,)).fetchone()
            if next_offset > end:
                return
            (freed,) = self._db.execute(
                "SELECT coalesce(sum(length(payload)), 0) FROM records WHERE partition = ? AND offset < ?",
                (partition, next_offset),
            ).fetchone()
            self._db.execute("DELETE FROM records WHERE partition = ? AND offset < ?", (partition, next_offset))
            self._db.execute(
                "UPDATE partitions SET earliest = max(earliest, ?), held_bytes = held_bytes - ? WHERE partition = ?",
                (next_offset, freed, partition),
            )

    def ends(self) -> Mapping[int, int]:
        """The end of every assigned partition as it is now."""
        with _guard(self._path):
            ends = dict(self._db.execute("SELECT partition, next_offset FROM partitions").fetchall())
        return {partition: int(ends[partition]) for partition in self._assigned}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _read(self, max_records: int) -> list[Record]:
        records: list[Record] = []
        with _guard(self._path):
            wanted = self._wanted()
            for partition, offset in wanted:
                rows = self._db.execute(
                    "SELECT offset, payload FROM records WHERE partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                    (partition, offset, max_records - len(records)),
                ).fetchall()
                records.extend(Record(partition, int(at), payload) for at, payload in rows)
        for record in records:
            self._positions[record.partition] = record.offset + 1
        return records

    def _wanted(self) -> list[tuple[int, int]]:
        """(partition, offset) to read from, all in range; another one is first each time, so that none starves."""
        bounds = {
            int(partition): (int(earliest), int(end))
            for partition, earliest, end in self._db.execute("SELECT partition, earliest, next_offset FROM partitions")
        }
        readable = sorted(self._assigned - self._paused)
        for partition in readable:
            earliest, end = bounds[partition]
            if not earliest <= self._positions[partition] <= end:
                raise OffsetOutOfRangeError(partition, self._positions[partition], earliest, end)
        self._first += 1
        turn = self._first % len(readable) if readable else 0
        return [(partition, self._positions[partition]) for partition in readable[turn:] + readable[:turn]]


def _open(path: Path, partitions: int) -> sqlite3.Connection:
    with _guard(path):
        db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new file; an older one keeps what it has
        _use_wal(db)
        # Some systems build SQLite so that what is deleted is overwritten first, which doubles what a record writes.
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("PRAGMA synchronous = FULL")
        with _transaction(db):
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.executemany(
                    "INSERT INTO partitions VALUES (?, 0, 0, 0)", [(partition,) for partition in range(partitions)]
                )
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise TransportError(
                    f"{path} has log format {version}, this program knows {SCHEMA_VERSION}; "
                    "upgrade, or point transport.path at another file"
                )
            # A log of an earlier release gets its name now; it has the same format otherwise.
            db.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
            if db.execute("SELECT id FROM identity").fetchone() is None:
                db.execute("INSERT INTO identity (id) VALUES (?)", (secrets.token_hex(16),))
        return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite's busy timeout does not cover this when another process opens a new log as well."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_INTERVAL_S)
        else:
            return


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """SQLite's errors as the transport's."""
    try:
        yield
    except sqlite3.Error as error:
        raise TransportError(f"{path}: {error}; check that the folder is writable and the disk not full") from error


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    with _committed(db):
        yield


def _locked(db: sqlite3.Connection, timeout_s: float) -> bool:
    """Begin a transaction; False when another process would not let go of the log in time."""
    db.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith("SQLITE_BUSY"):
            return False
        raise
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")
    return True


@contextmanager
def _committed(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _ignore(partitions: frozenset[int]) -> None:
    del partitions
