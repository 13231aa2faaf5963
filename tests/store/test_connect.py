"""The schema: made from nothing, the same as the tables in code, and never mistaken for another program's."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from store.connect import check_schema, open_engine, upgrade
from store.errors import DatabaseUrlError, SchemaError
from store.refusals import may_pass, reason_of
from store.tables import metadata
from tests.counterparts.choice import free_port
from tests.promptness import promptly


def test_migrations_make_exactly_the_tables_that_the_code_uses(engine: sa.Engine) -> None:
    check_schema(engine)
    with engine.connect() as connection:
        # On PostgreSQL the levels of `pages` and its days are tables too; tests/store/test_days.py looks at them.
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        assert [change for change in found if not str(change[1]).startswith("pages_")] == []


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    assert upgrade(database_url) == upgrade(database_url)


def test_two_upgrades_at_once_make_one_schema(database_url: str) -> None:
    command = [sys.executable, "-m", "tailwatch.cli", "db", "upgrade", "--set", f"database.url={database_url}"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    said = [process.communicate(timeout=60)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    engine = open_engine(database_url)
    check_schema(engine)
    engine.dispose()


def test_a_new_file_that_another_process_is_writing_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("CREATE TABLE first (id INTEGER)")
    engine = open_engine(f"sqlite:///{path}")
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(lambda: engine.connect().close())
        assert not wait([opening], timeout=0.3).done
        writer.execute("COMMIT")
        opening.result(timeout=10)
    writer.close()
    engine.dispose()


def test_an_empty_database_is_refused_with_what_to_run(database_url: str) -> None:
    engine = open_engine(database_url)
    with pytest.raises(SchemaError, match="run `tailwatch db upgrade`"):
        check_schema(engine)
    engine.dispose()


def test_a_newer_schema_is_refused_by_reader_and_upgrade(engine: sa.Engine, upgraded_url: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (lambda: check_schema(engine), lambda: upgrade(upgraded_url)):
        with pytest.raises(SchemaError, match="schema 9999, this program knows up to"):
            attempt()


def test_another_programs_database_is_left_alone(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(SchemaError, match="tables of another program \\(invoices\\)"):
        upgrade(database_url)
    engine.dispose()


def test_a_read_only_engine_refuses_to_write(upgraded_url: str) -> None:
    engine = open_engine(upgraded_url, read_only=True)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        connection.execute(sa.text("DELETE FROM pages"))
    engine.dispose()


def test_a_read_only_transaction_sees_one_state_of_the_database(engine: sa.Engine, upgraded_url: str) -> None:
    reader = open_engine(upgraded_url, read_only=True)
    count = sa.text("SELECT count(*) FROM queries")
    with reader.connect() as connection:
        assert connection.execute(count).scalar_one() == 0
        with engine.begin() as writing:
            writing.exec_driver_sql("INSERT INTO queries (name) VALUES ('q')")
        assert connection.execute(count).scalar_one() == 0
    with reader.connect() as connection:
        assert connection.execute(count).scalar_one() == 1
    reader.dispose()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_address_is_served_by_psycopg(scheme: str) -> None:
    engine = open_engine(f"{scheme}://u:secret@h:1/n?options=-c%20lock_timeout%3D7")
    assert engine.dialect.driver == "psycopg"
    assert "secret" not in repr(engine)
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://u:secret@h/n", "postgresql+asyncpg://u:secret@h/n", "u:secret@h", ""])
def test_an_address_of_something_else_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(DatabaseUrlError, match=r"sqlite:///FILE or postgresql\+psycopg://") as raised:
        open_engine(url)
    assert "secret" not in str(raised.value)


def test_what_the_address_says_wins_over_our_limits(postgres_url: str) -> None:
    with open_engine(f"{postgres_url}?options=-c%20lock_timeout%3D77").connect() as connection:
        shown = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("lock_timeout", "TimeZone")]
        assert shown[0] == "77ms"
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "1min"
        connection.engine.dispose()


def test_a_server_that_is_not_there_is_unreachable_and_soon_so() -> None:
    engine = open_engine(f"postgresql://u:secret@127.0.0.1:{free_port()}/n")
    with promptly(8), pytest.raises(sa.exc.OperationalError) as raised:
        engine.connect()
    assert reason_of(raised.value) == "unreachable"
    assert may_pass(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("statement", "reason", "passes"),
    [
        ("SELECT nothing FROM nowhere", "schema", False),
        ("SELECT 1 / 0", "other", False),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", "stopping", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'disk_full'; END $$", "disk", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'deadlock_detected'; END $$", "locked", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'program_limit_exceeded'; END $$", "other", False),
        ("SET TRANSACTION READ ONLY; CREATE TABLE t (n int)", "unreachable", True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "unreachable", True),
    ],
)
def test_errors_of_postgresql_are_sorted_by_whether_waiting_helps(
    postgres_url: str, statement: str, reason: str, passes: bool
) -> None:
    engine = open_engine(postgres_url)
    with engine.connect() as connection, pytest.raises(sa.exc.SQLAlchemyError) as raised:
        connection.exec_driver_sql(statement)
    assert (reason_of(raised.value), may_pass(raised.value)) == (reason, passes)
    engine.dispose()


def test_a_password_is_read_from_its_file_with_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a file"
    engine = open_engine(f"postgresql://me@127.0.0.1:1/x?sslmode=disable&password_path={quote(str(file))}")
    shown: list[dict[str, object]] = []

    def refuse(*_: object, **named: object) -> NoReturn:
        shown.append(named)
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(engine.dialect, "connect", refuse)
    with pytest.raises(
        sa.exc.OperationalError, match=r"database\.password_path, .*/a file, cannot be read: No such file"
    ):
        engine.connect()
    for password in ("first", "second"):
        file.write_text(password + "\n")
        with pytest.raises(sa.exc.OperationalError, match="refused"):
            engine.connect()
    engine.dispose()
    assert [named["password"] for named in shown] == ["first", "second"]
    assert "password_path" not in shown[0]
    assert shown[0]["sslmode"] == "disable"
