"""A database of schema 0010 with data: after the upgrade it takes services, and nothing else has changed."""

import numpy as np
import pytest
from alembic import command

from store.connect import _alembic_config, check_schema, open_engine, upgrade
from store.errors import SchemaError
from store.gpu_attempts import attempts_of, put_attempts
from store.tail_batches import add_batch, read_columns
from tests.store.gpu_world import report


def test_a_database_of_0010_becomes_that_of_this_release(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
    with engine.begin() as connection:
        assert put_attempts(connection, [report("train")]) == 1
    with pytest.raises(SchemaError, match="db upgrade"):
        check_schema(engine)
    upgrade(database_url)
    check_schema(engine)
    columns = {"arrival_ns": np.array([5, 3], np.int64), "service_us": np.array([1.5, 2.0])}
    with engine.begin() as connection:
        assert len(attempts_of(connection, ["train"])["train"]) == 1
        assert add_batch(connection, "search", "a", "1", columns, 9)
        assert len(read_columns(connection, "search", 0, 10, 10)) == 2
    if engine.dialect.name == "postgresql":
        stored = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'tail_batches'::regclass AND attname = 'body'"
        with engine.connect() as connection:
            assert connection.exec_driver_sql(stored).scalar_one() in ("e", b"e"), "compressed already"
    engine.dispose()
