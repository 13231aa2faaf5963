"""A database of schema 0001 with data: after the upgrade it answers the same, and its windows can be rolled up."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from store.connect import _alembic_config, _head, check_schema, open_engine, upgrade
from store.errors import SchemaError
from store.tables import metadata
from tests.store.levels_world import HOUR_S, METRICS, LevelsWorld, plan_of
from tests.store.test_rollups import records


def copy_as_0001(source: sa.Engine, url: str) -> None:
    """A database with the tables of 0001 and the source's rows."""
    engine = open_engine(url)
    with engine.begin() as target:
        config = _alembic_config()
        config.attributes["connection"] = target
        command.upgrade(config, "0001")
    old = sa.MetaData()
    old.reflect(engine)
    with engine.begin() as target, source.connect() as connection:
        for table in old.sorted_tables:
            if table.name == "alembic_version":
                continue
            columns = [metadata.tables[table.name].c[column.name] for column in table.columns]
            rows = [dict(row._mapping) for row in connection.execute(sa.select(*columns))]
            if rows:
                target.execute(table.insert(), rows)
    engine.dispose()


@pytest.mark.parametrize("window_s", [10, 7, 3600])
def test_an_upgraded_database_answers_as_before_and_keeps_its_data_through_roll_ups(
    tmp_path: Path, database_url: str, window_s: int
) -> None:
    now_url = f"sqlite:///{tmp_path / 'now.db'}"
    upgrade(now_url)
    now = LevelsWorld(open_engine(now_url), plan_of(window_s))
    now.flush(records(60, 1))
    now.flush(records(60, 2), partition=1)
    copy_as_0001(now.engine, database_url)
    engine = open_engine(database_url)
    with pytest.raises(SchemaError, match=r"schema 0001, this program needs \d+; run `tailwatch db upgrade`"):
        check_schema(engine)
    assert upgrade(database_url) == _head()
    check_schema(engine)
    world = LevelsWorld(engine, now.plan, taken=now.taken)
    for step in (None, HOUR_S * 7):
        for name in METRICS:
            before, after = (each.ask(name, 0, 6 * HOUR_S, step) for each in (now, world))
            assert [(g.labels, g.start_ns, g.state.to_bodies()[0]) for g in before.groups] == [
                (g.labels, g.start_ns, g.state.to_bodies()[0]) for g in after.groups
            ]
    assert world.coverage(0, 6 * HOUR_S) == now.coverage(0, 6 * HOUR_S)
    whole = 6 * world.widths_s[-1]
    world.assert_true(0, whole)
    assert world.round(9 * HOUR_S, kept_s=(HOUR_S, HOUR_S, 90.0 * HOUR_S))
    assert world.waiting() == 0
    world.assert_true(0, whole)
    if window_s < HOUR_S:
        assert world.pages(2) > 0
    engine.dispose()
    now.engine.dispose()
