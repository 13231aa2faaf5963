"""Copies of a SQLite database: whole, taken beside a writer, and never in the place of something else."""

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from store.backup import copy_sqlite
from store.connect import check_schema, open_engine, upgrade
from store.errors import BackupError
from tailwatch.cli import main


def connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


def test_a_copy_holds_what_was_committed_and_a_writer_does_not_wait_for_it(tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copy.db"
    with closing(connected(source)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (n)")
        writer.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (-1)")  # not committed: holds the write lock all the while
        size = copy_sqlite(source, target)
        writer.execute("COMMIT")
    assert size == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"], "one file, nothing beside it"
    with closing(connected(target)) as copy:
        assert copy.execute("SELECT count(*), min(n) FROM t").fetchone() == (1000, 0)


def test_a_copy_is_a_database_of_this_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    upgrade(url)
    assert main(["db", "backup", str(tmp_path / "copy.db"), "--set", f"database.url={url}"]) == 0
    assert "looked through and found whole" in capsys.readouterr().out
    engine = open_engine(f"sqlite:///{tmp_path / 'copy.db'}")
    check_schema(engine)
    engine.dispose()


def test_a_copy_never_replaces_anything(tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copy.db"
    upgrade(f"sqlite:///{source}")
    target.write_text("yesterday's")
    with pytest.raises(BackupError, match=r"copy\.db exists; name a new file"):
        copy_sqlite(source, target)
    assert target.read_text() == "yesterday's"


def test_a_damaged_database_gives_no_copy(tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copy.db"
    with closing(connected(source)) as writer:
        writer.execute("CREATE TABLE t (n)")
        writer.executemany("INSERT INTO t VALUES (?)", [(f"{n:>200}",) for n in range(1000)])
        writer.execute("CREATE INDEX i ON t (n)")
    content = bytearray(source.read_bytes())
    content[20 * 4096 : 21 * 4096] = b"\xff" * 4096
    source.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        copy_sqlite(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_what_an_earlier_copy_left_when_it_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copy.db"
    upgrade(f"sqlite:///{source}")
    # In a container every copy is made by the same process id.
    left = tmp_path / f"copy.db.{os.getpid()}.partial"
    left.write_text("half")
    assert copy_sqlite(source, target) == target.stat().st_size
    assert left.read_text() == "half", "it may be that of a copy under way"


def test_a_file_system_without_hard_links_takes_a_copy_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.db", tmp_path / "copy.db"
    upgrade(f"sqlite:///{source}")

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert copy_sqlite(source, target) == target.stat().st_size > 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]

    def come_between(*arguments: object) -> None:
        (tmp_path / "b.db").write_text("another's")
        refuse()

    monkeypatch.setattr(os, "link", come_between)
    with pytest.raises(BackupError, match=r"b\.db exists; name a new file"):
        copy_sqlite(source, tmp_path / "b.db")
    assert (tmp_path / "b.db").read_text() == "another's"


def test_a_file_that_is_no_database_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("these are not the pages of a database" * 100)
    with pytest.raises(BackupError, match=r"damaged or no SQLite database: file is not a database"):
        copy_sqlite(tmp_path / "a.db", tmp_path / "copy.db")


def test_what_cannot_be_copied_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackupError, match=r"no database at .*gone\.db; check database\.url"):
        copy_sqlite(tmp_path / "gone.db", tmp_path / "copy.db")
    (tmp_path / "a.db").touch()
    with pytest.raises(BackupError, match="No such file or directory; check the folder"):
        copy_sqlite(tmp_path / "a.db", tmp_path / "no-folder" / "copy.db")
    address = "database.url=postgresql+psycopg://me:hidden@127.0.0.1/x"
    assert main(["db", "backup", str(tmp_path / "copy.db"), "--set", address]) == 1
    said = capsys.readouterr().err
    assert "use its own tool, for example: pg_dump --format=custom" in said
    assert "hidden" not in said
