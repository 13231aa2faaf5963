"""The schema: made from nothing, the same as the tables in code, and never mistaken for another program's."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from store.connect import check_schema, open_engine, upgrade
from store.errors import SchemaError
from store.tables import metadata


def test_migrations_make_exactly_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    engine = open_engine(url)
    check_schema(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert upgrade(url) == upgrade(url)


def test_an_empty_database_is_refused_with_what_to_run(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(SchemaError, match="run `tailwatch db upgrade`"):
        check_schema(engine)
    engine.dispose()


def test_a_newer_schema_is_refused_by_reader_and_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (lambda: check_schema(engine), lambda: upgrade(url)):
        with pytest.raises(SchemaError, match="schema 9999, this program knows up to"):
            attempt()
    engine.dispose()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE invoices (id INTEGER)")
    db.close()
    with pytest.raises(SchemaError, match="tables of another program \\(invoices\\)"):
        upgrade(f"sqlite:///{path}")


def test_a_read_only_engine_refuses_to_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
        connection.execute(sa.text("DELETE FROM pages"))
    engine.dispose()
