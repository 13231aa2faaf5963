"""A database of schema 0008 with data: after the upgrade it takes drives, and nothing else has changed."""

import pytest
import sqlalchemy as sa
from alembic import command

from store.connect import _alembic_config, check_schema, open_engine, upgrade
from store.drives import one_drive
from store.errors import SchemaError
from tests.store.drives_world import noted


def test_a_database_of_0008_becomes_that_of_this_release(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        connection.execute(sa.text("INSERT INTO queries (id, name) VALUES (7, 'probes')"))
    with pytest.raises(SchemaError, match="db upgrade"):
        check_schema(engine)
    upgrade(database_url)
    check_schema(engine)
    assert noted(engine, ["S1"]) == {"S1": 1}
    with engine.connect() as connection:
        assert one_drive(connection, 1).drive == "S1"
        assert connection.execute(sa.text("SELECT name FROM queries")).scalars().all() == ["probes"]
    engine.dispose()
