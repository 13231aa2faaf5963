"""A database of schema 0007 with data: after the upgrade it is that of this release, and knows what was sampled out."""

import pytest
import sqlalchemy as sa
from alembic import command

from store.agent_status import AgentStatus, statuses_of, write_statuses
from store.connect import _alembic_config, check_schema, open_engine, upgrade
from store.errors import SchemaError
from store.tables import manifests, metadata

COUNTS = ("n_in", "n_filtered", "n_local", "n_drained", "n_sampled_out", "n_dropped", "got_local", "got_drained")
ROW = dict.fromkeys(COUNTS, 0) | {"agent": "a", "version_id": 1, "level": 0}


def test_a_database_of_0007_with_manifests_becomes_that_of_this_release(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.execute(sa.text("INSERT INTO queries (id, name) VALUES (7, 'probes')"))
        connection.execute(
            sa.text("INSERT INTO versions (id, query_id, version, plan, created_ns) VALUES (1, 7, 'v', :plan, 1)"),
            {"plan": b"plan"},
        )
        rest = {c.name: 0 for c in manifests.columns if c.name not in ROW and c.name != "window_ns"}
        rows = [ROW | rest | {"window_ns": window, "n_in": 5, "n_sampled_out": window % 2} for window in range(4)]
        connection.execute(manifests.insert(), rows)
    with pytest.raises(SchemaError, match="db upgrade"):
        check_schema(engine)
    upgrade(database_url)
    check_schema(engine)
    found = sa.MetaData()
    found.reflect(engine)
    assert set(found.tables) - {"alembic_version"} >= set(metadata.tables)
    assert "manifests_sampled" in {index.name for index in found.tables["manifests"].indexes}
    with engine.begin() as connection:
        sampled = sa.select(sa.func.sum(manifests.c.n_sampled_out)).where(manifests.c.n_sampled_out > sa.text("0"))
        assert connection.execute(sampled).scalar_one() == 2
        write_statuses(connection, [AgentStatus("a", "0" * 32, 1, 1, 1, "{}")], 1)
        assert statuses_of(connection, ["a"]) == {}, "nobody knows this agent"
    engine.dispose()
