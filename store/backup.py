"""A copy of a SQLite database as it stands at one moment, taken while collectors and the API go on.

SQLite copies page by page under one read transaction; in write-ahead logging writers do not wait for it. The copy is
made under a name of its own, looked through, synced and only then given its name: what stands there is always whole.
PostgreSQL has pg_dump for this; see docs/operations.md.
"""

import errno
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from store.errors import BackupError

# What file systems without hard links say: FAT, and shares of other systems.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


def copy_sqlite(source: Path, target: Path) -> int:
    """Write a copy of `source` to `target`, which must not exist; returns its bytes.

    Raises:
        BackupError: there is no such database, the target exists or cannot be written, or the copy is damaged.
    """
    if not source.exists():
        raise BackupError(f"there is no database at {source}; check database.url")
    if target.exists():
        raise BackupError(f"{target} exists; name a new file, for a backup never replaces another one")
    try:
        # A name that nobody has: in a container every copy is made by process 1, and one that was killed left its own.
        opened, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise _not_made(source, target, error) from error
    partial = Path(name)
    try:
        os.close(opened)  # read by its owner alone: it holds digests of keys
        _copied(source, partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        _name(partial, target)
        _sync_folder(target.parent)
        return target.stat().st_size
    except FileExistsError as error:
        raise BackupError(f"{target} exists; name a new file, for a backup never replaces another one") from error
    except (OSError, sqlite3.Error) as error:
        raise _not_made(source, target, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _not_made(source: Path, target: Path, error: OSError | sqlite3.Error) -> BackupError:
    if type(error) is sqlite3.DatabaseError:  # what it says of a file; of all else, a class below this one
        return BackupError(f"no copy of {source}, which is damaged or no SQLite database: {error}")
    reason = getattr(error, "strerror", None) or error
    return BackupError(f"no copy of {source} at {target}: {reason}; check the folder and its free space")


def _name(partial: Path, target: Path) -> None:
    """Give the copy its name, which nothing may have."""
    try:
        os.link(partial, target)  # unlike a rename, never replaces what came there meanwhile
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # ours from here on
        partial.replace(target)


def _copied(source: Path, target: Path) -> None:
    """All pages at once, so that nothing written meanwhile makes it begin again; then looked through."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as read,
        closing(sqlite3.connect(target, isolation_level=None)) as written,
    ):
        read.backup(written, pages=-1)
        # One file by itself: the next program to open it goes back to write-ahead logging.
        written.execute("PRAGMA journal_mode = DELETE")
        found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise BackupError(f"the copy of {source} is damaged, and most likely so is the database: {found}")


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
