"""A database of schema 0009 with data: after the upgrade it takes jobs on GPUs, and nothing else has changed."""

import pytest
from alembic import command

from store.connect import _alembic_config, check_schema, open_engine, upgrade
from store.errors import SchemaError
from store.gpu_attempts import attempts_of, put_attempts
from store.gpu_failures import failures_of, put_failure
from tests.store.drives_world import noted
from tests.store.gpu_world import failure, report


def test_a_database_of_0009_becomes_that_of_this_release(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
    assert noted(engine, ["S1"]) == {"S1": 1}
    with pytest.raises(SchemaError, match="db upgrade"):
        check_schema(engine)
    upgrade(database_url)
    check_schema(engine)
    assert noted(engine, ["S1", "S2"]) == {"S1": 1, "S2": 2}
    with engine.begin() as connection:
        assert put_attempts(connection, [report("train")]) == 1
        assert put_failure(connection, failure("train")) == 1
        assert len(attempts_of(connection, ["train"])["train"]) == len(failures_of(connection, "train")) == 1
    if engine.dialect.name == "postgresql":
        stored = (
            "SELECT attstorage FROM pg_attribute WHERE attrelid = 'gpu_retry_models'::regclass AND attname = 'data'"
        )
        with engine.connect() as connection:
            assert connection.exec_driver_sql(stored).scalar_one() in ("e", b"e"), "compressed already"
    engine.dispose()
