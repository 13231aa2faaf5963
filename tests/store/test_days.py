"""Partitions on PostgreSQL: made ahead and when missing, filled from the rest, dropped when all of them is old."""

import pytest
import sqlalchemy as sa

from collector.jobs.rounds import READS_END_S
from store.connect import open_engine, upgrade
from store.days import DAY_NS, Day, day_of, days, make_days_ahead
from store.tables import pages
from tests.counterparts.postgres import empty_database, programs, running
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of
from tests.store.test_rollups import records

NOW_NS = (ORIGIN_S + 10 * HOUR_S) * SECOND_NS  # what the world's flushes take for now


@pytest.fixture
def world(postgres_url: str) -> LevelsWorld:
    """An empty PostgreSQL database with a query of 10 s windows."""
    upgrade(postgres_url)
    return LevelsWorld(open_engine(postgres_url), plan_of(10))


def found(world: LevelsWorld) -> list[Day]:
    with world.engine.connect() as connection:
        return days(connection)


def count(world: LevelsWorld, table: str) -> int:
    with world.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_partitions_are_made_ahead_and_once(world: LevelsWorld) -> None:
    assert make_days_ahead(world.engine, NOW_NS) == 9
    assert make_days_ahead(world.engine, NOW_NS) == 0
    assert {(day.level, (day.from_ns - day_of(day.level, NOW_NS).from_ns) // DAY_NS) for day in found(world)} == {
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 30), (2, 60),
    }  # fmt: skip


def test_a_flush_makes_the_day_it_misses(world: LevelsWorld) -> None:
    world.flush(records(20, 1))
    assert found(world) == [day_of(0, ORIGIN_S * SECOND_NS)]
    assert (count(world, found(world)[0].name) > 0, count(world, "pages_0_rest")) == (True, 0)
    world.assert_true(0, 6 * HOUR_S)


@pytest.mark.parametrize("days_away", [-4000, -40, 5, 20_000])
def test_data_far_from_now_needs_no_partition(world: LevelsWorld, days_away: int) -> None:
    at = days_away * 86_400
    world.flush([(at + 5, "a", 1), (at + 6, "b", 2)])
    assert found(world) == []
    world.assert_true(at, at + 60)
    assert world.round(at + 2 * HOUR_S)
    world.assert_true(at, at + HOUR_S, HOUR_S)


def test_what_waits_in_the_rest_moves_in_when_its_day_is_made(world: LevelsWorld) -> None:
    at = 5 * 86_400
    world.flush([(at, "a", 1), (at + 10, "b", 2), (at + 86_400, "c", 3)])
    assert count(world, "pages_0_rest") > 0
    make_days_ahead(world.engine, (ORIGIN_S + at) * SECOND_NS)
    assert count(world, "pages_0_rest") == 0
    world.assert_true(at, at + 2 * 86_400)


def test_a_partition_that_cannot_be_made_costs_no_data(world: LevelsWorld) -> None:
    with world.engine.connect() as blocker:
        blocker.exec_driver_sql("LOCK TABLE pages_0_rest IN ACCESS SHARE MODE")
        world.flush(records(20, 2))
    assert found(world) == []
    world.assert_true(0, 6 * HOUR_S)


def test_old_days_are_dropped_whole_and_only_when_all_of_them_is_old(world: LevelsWorld) -> None:
    for day in range(4):
        world.flush([(day * 86_400 + at, "a", day) for at in range(0, 7200, 60)])
    rest = count(world, "pages_0_rest")
    first, *_ = before = [day for day in found(world) if day.level == 0]
    begins_s = first.from_ns // SECOND_NS - ORIGIN_S
    now_s = begins_s + 2.5 * 86_400
    kept_s = (12.0 * HOUR_S, 90 * 86_400.0, 90 * 86_400.0)
    # Not in the round that raised the floor: reads that began before it may still be looking there.
    assert world.round(now_s, kept_s=kept_s, drop_after_s=READS_END_S)
    assert set(before) <= set(found(world))
    assert world.round(now_s, kept_s=kept_s)
    left = [day for day in found(world) if day.level == 0]
    assert set(before) - set(left) == {
        day for day in before if day.to_ns <= (ORIGIN_S + now_s) * SECOND_NS - DAY_NS // 2
    }
    assert len(left) < len(before)
    assert count(world, "pages_0_rest") <= rest
    world.assert_true(0, 5 * 86_400)
    world.assert_true(0, 5 * 86_400, HOUR_S)


def test_sketches_are_stored_as_they_are(world: LevelsWorld) -> None:
    world.flush(records(5, 3))
    with world.engine.connect() as connection:
        storage = connection.exec_driver_sql(
            "SELECT DISTINCT attstorage::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
            "WHERE relname ~ '^pages_[0-2](_rest|_[0-9]+)$' AND relkind = 'r' AND attname = 'data'"
        )
        assert storage.scalars().all() == ["e"]
        columns = {column["name"] for column in sa.inspect(connection).get_columns(found(world)[0].name)}
    assert columns == set(pages.c.keys())


@pytest.mark.parametrize("program", programs()[1:], ids=lambda program: program.name)
def test_other_releases_of_postgresql_do_the_same(program) -> None:  # type: ignore[no-untyped-def]
    with running(program) as server, empty_database(server.url) as url:
        upgrade(url)
        world = LevelsWorld(open_engine(url), plan_of(10))
        world.flush(records(100, 4))
        world.flush(records(100, 5), partition=1)
        assert world.round(9 * HOUR_S, kept_s=(2.0 * HOUR_S, 5.0 * HOUR_S, 90.0 * HOUR_S))
        world.flush(records(100, 6))
        world.assert_true(0, 6 * HOUR_S)
        world.assert_true(0, 6 * HOUR_S, HOUR_S)
        world.engine.dispose()
