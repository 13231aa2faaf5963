"""Opening the spool's file: one process at a time, the right format, this machine's own, synced on every commit.

A file of an older format is brought up to date in place; one of a newer format is refused and left as it is; one
that another machine wrote is set aside under another name, for its frames may be sent from there as well.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agents.errors import SpoolBusyError, SpoolError, SpoolNewerError, SpoolWriteError

log = logging.getLogger(__name__)

# Step i brings format i to format i + 1; a released step never changes.
UPGRADES: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE machine (id TEXT NOT NULL)",
        """CREATE TABLE incarnations (
            ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            agent TEXT NOT NULL,
            started_ns INTEGER NOT NULL,
            partition INTEGER,
            next_sequence INTEGER NOT NULL DEFAULT 1,
            checkpoints INTEGER NOT NULL DEFAULT 0,
            heartbeat_ns INTEGER,
            clean INTEGER NOT NULL DEFAULT 0,
            interrupted_from_ns INTEGER
        )""",
        """CREATE TABLE frames (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            incarnation INTEGER NOT NULL REFERENCES incarnations (ordinal),
            sequence INTEGER,
            kind TEXT NOT NULL,
            query TEXT NOT NULL,
            version TEXT NOT NULL,
            cut INTEGER NOT NULL,
            window_first_ns INTEGER NOT NULL,
            window_last_ns INTEGER NOT NULL,
            created_ns INTEGER NOT NULL,
            rows INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            body BLOB NOT NULL
        )""",
        "CREATE UNIQUE INDEX frames_handed_over ON frames (incarnation, sequence) WHERE sequence IS NOT NULL",
        "CREATE INDEX frames_not_handed_over ON frames (incarnation, id) WHERE sequence IS NULL",
        """CREATE TABLE positions (
            source TEXT PRIMARY KEY,
            position BLOB NOT NULL,
            first_ns INTEGER,
            watermark_ns INTEGER
        )""",
    ),
    # Up to where the last checkpoint vouched for the live records of each query; empty after a clean end.
    ("CREATE TABLE watermarks (version TEXT PRIMARY KEY, watermark_ns INTEGER NOT NULL)",),
    # The share of live records that was taken in while a frame was gathered.
    ("ALTER TABLE frames ADD COLUMN sampled REAL NOT NULL DEFAULT 1.0",),
    # Bodies apart: SQLite writes a whole row anew when it gets its sequence, and passes over the body to read what
    # stands behind it. Frames of older formats keep theirs in the column `body`, which is empty in the others.
    (
        "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE TRIGGER body_goes_too AFTER DELETE ON frames BEGIN DELETE FROM bodies WHERE id = OLD.id; END",
    ),
    # What each query version has seen of each file. Until now nobody noted it: '' stands for every version that ran.
    (
        """CREATE TABLE seen (
            version TEXT NOT NULL,
            source TEXT NOT NULL,
            seen_ns INTEGER NOT NULL,
            missed_from_ns INTEGER,
            missed_to_ns INTEGER,
            PRIMARY KEY (version, source)
        )""",
        "INSERT INTO seen SELECT '', source, watermark_ns, NULL, NULL FROM positions WHERE watermark_ns IS NOT NULL",
    ),
)
_WAL_BYTES: Final = 2**22
# Bodies of frames lie in chains of pages. Of 4, 8 and 16 KiB, storing a byte takes 2.4, 2.0 and 1.6 ns; but a small
# checkpoint with its hand-over writes 14 pages, 58, 117 and 237 KB, and most agents make one every 2 s.
_PAGE_BYTES: Final = 2**13


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """SQLite's and the file system's errors as the spool's."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise SpoolWriteError(
            f"spool {path}: {error} ({name}); check that the disk is not full and the folder writable, "
            "or set agent.spool_path"
        ) from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: BEGIN IMMEDIATE to COMMIT."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # the cause is raised; a transaction SQLite has ended itself is gone
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise


class SpoolFile:
    """The open, locked and checked file; `db` is its connection."""

    def __init__(self, path: Path, machine: str, connection: type[sqlite3.Connection] = sqlite3.Connection) -> None:
        """Open or create the file at `path`.

        Raises:
            SpoolBusyError, SpoolNewerError, SpoolWriteError, SpoolError: as errors.py says.
        """
        self.path = path
        self._connection = connection
        self._lock = self._take_lock()
        try:
            self.db = self._open()
            if self._written_elsewhere(machine):
                self._set_aside()
                self.db = self._open()
            with writing(path):
                if self.db.execute("SELECT id FROM machine").fetchone() is None:
                    self.db.execute("INSERT INTO machine (id) VALUES (?)", (machine,))
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file and let others have it."""
        self.db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> int:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise SpoolBusyError(
                f"spool {self.path}: another agent uses it; stop that one, or set agent.spool_path and agent.id"
            ) from error
        return lock

    def _open(self) -> sqlite3.Connection:
        with writing(self.path):
            db = sqlite3.connect(
                self.path, timeout=2.0, isolation_level=None, check_same_thread=False, factory=self._connection
            )
            try:
                self._prepare(db)
            except sqlite3.DatabaseError as error:
                db.close()
                if error.sqlite_errorname == "SQLITE_NOTADB":
                    raise SpoolError(f"spool {self.path}: is no SQLite file; move it away") from error
                raise
            except BaseException:
                db.close()
                raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(UPGRADES):
            raise SpoolNewerError(
                f"spool {self.path} has format {version}, this program knows up to {len(UPGRADES)}; "
                "run the newer release, or set another agent.spool_path"
            )
        if version == 0 and db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise SpoolError(f"spool {self.path}: is a database of another program; set another agent.spool_path")
        if version == 0:  # both only before the first table exists
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // page_bytes}")
        # Some systems build SQLite so that what is deleted is overwritten first, which doubles what a frame writes.
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        for step in range(version, len(UPGRADES)):
            with transaction(db):
                for statement in UPGRADES[step]:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {step + 1}")
            if version:
                log.info("spool upgraded path=%s format=%d", self.path, step + 1)

    def _written_elsewhere(self, machine: str) -> bool:
        with writing(self.path):
            row = self.db.execute("SELECT id FROM machine").fetchone()
        return row is not None and row[0] != machine

    def _set_aside(self) -> None:
        """Rename the file; closing the connection has emptied and removed its log."""
        with writing(self.path):
            owner = str(self.db.execute("SELECT id FROM machine").fetchone()[0])[:8]
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.close()
            number = 0
            while True:
                aside = self.path.with_name(f"{self.path.name}.of-{owner}" + (f".{number}" if number else ""))
                if not aside.exists():
                    break
                number += 1
            self.path.rename(aside)
        log.warning("spool set aside, another machine wrote it path=%s machine=%s kept_as=%s", self.path, owner, aside)
