"""The jobs' lease: one holder at a time, proved inside each transaction."""

import time

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.errors import LeaseLostError
from store.leases import give_back, hold_lease, take_lease
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of
from tests.store.test_rollups import records


def test_a_lease_is_one_owners_until_it_runs_out_or_is_given_back(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        first = take_lease(connection, "jobs", "a", 0, 100)
        assert first is not None
        assert take_lease(connection, "jobs", "b", 99, 100) is None
        second = take_lease(connection, "jobs", "b", 100, 100)
        assert second is not None
        with pytest.raises(LeaseLostError, match="another process"):
            hold_lease(connection, first, 101)
        hold_lease(connection, second, 150)
        assert take_lease(connection, "jobs", "a", 249, 100) is None
        give_back(connection, first)
        assert take_lease(connection, "jobs", "a", 249, 100) is None
        give_back(connection, second)
        assert take_lease(connection, "jobs", "a", 249, 100) is not None


def test_two_collectors_never_do_the_same_round(engine: sa.Engine) -> None:
    world = LevelsWorld(engine, plan_of(10))
    world.flush(records(30, 1))
    one, other = world.rounds(), world.rounds()
    now_ns = 1_795_000_000 * SECOND_NS
    assert (one.round(now_ns), other.round(now_ns), one.round(now_ns)) == (True, False, True)
    one.leave()
    assert (other.round(now_ns), one.round(now_ns)) == (True, False)


def test_a_round_whose_lease_was_taken_writes_nothing_more(engine: sa.Engine) -> None:
    world = LevelsWorld(engine, plan_of(10))
    world.flush(records(200, 2))
    rounds, taken = world.rounds(kept_s=(HOUR_S, HOUR_S, 9.0 * HOUR_S)), []

    def steal(*call: object) -> None:
        if "rollup_dirty" in str(call[2]) and "DELETE" in str(call[2]) and not taken:
            taken.append(1)

    sa.event.listen(engine, "before_cursor_execute", steal)

    hold = rounds._lease.hold

    def hold_after_theft(connection: sa.Connection) -> None:
        if taken == [1]:
            taken.append(2)
            connection.exec_driver_sql("UPDATE leases SET epoch = epoch + 1, owner = 'thief'")
        hold(connection)

    rounds._lease.hold = hold_after_theft  # type: ignore[method-assign]
    waiting = world.waiting()
    assert not rounds.round((1_795_000_000 + 9 * HOUR_S) * SECOND_NS)
    sa.event.remove(engine, "before_cursor_execute", steal)
    assert taken == [1, 2]
    assert 0 < world.waiting() < waiting + 100
    assert world.pages(0) > 0
    world.assert_true(0, 6 * HOUR_S)


def test_a_clock_that_is_years_ahead_deletes_nothing_on_a_server_that_knows_better(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade(postgres_url)
    world = LevelsWorld(open_engine(postgres_url), plan_of(10))
    now_s = (time.time_ns() // SECOND_NS - ORIGIN_S) // HOUR_S * HOUR_S
    world.flush([(now_s - 600 + at, "a", at) for at in range(0, 60, 10)])
    pages = world.pages(0)
    assert world.round(now_s + 3 * 365 * 86_400, kept_s=(86_400.0, 86_400.0, 86_400.0))
    assert "clock ahead of the database's" in caplog.text
    assert world.pages(0) == pages
    world.assert_true(now_s - 86_400, now_s + 86_400)
