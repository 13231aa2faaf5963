"""How far scoring is behind: every collector shows what the database knows, also of a job that never got through."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from collector import own_metrics
from store.drive_overview import drives_overview
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading

NOW = TODAY * DAY_NS + 13 * HOUR_NS
HOUR_S = 3600


def fails(*_: Any) -> None:
    raise sa.exc.OperationalError("SELECT", {}, Exception("no answer"))


def hours_pass(world: DrivesWorld, hours: int) -> None:
    """As if all that is noted had been noted so much earlier: the clock of a server cannot be put on."""
    with world.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE drive_progress SET value = value - :ns WHERE scope IN ('drives due', 'drives rounds')"),
            {"ns": hours * HOUR_NS},
        )


def test_a_job_that_fails_from_its_first_round_on_is_behind_in_every_collector(
    world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take([reading(TODAY)])
    scoring, waiting, idle = world.rounds("a", interval_s=1e-9), world.rounds("b"), world.rounds("c", enabled=False)
    monkeypatch.setattr(scoring._intake, "take_in", fails)
    assert not scoring.tick(NOW)
    hours_pass(world, 5)
    assert not scoring.tick(NOW)
    assert not waiting.tick(NOW)
    assert idle.look(NOW)
    for one in (scoring, waiting, idle):
        assert 5 * HOUR_S <= one.lag_s() < 5.5 * HOUR_S
    monkeypatch.undo()
    assert scoring.tick(NOW)
    assert not waiting.tick(NOW)
    assert max(scoring.lag_s(), waiting.lag_s()) < HOUR_S


def test_after_a_round_it_is_the_time_since_that_began_whoever_did_it(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    world.know([reading(TODAY)])
    first, second = world.rounds("a", interval_s=1e-9), world.rounds("b")
    assert first.tick(NOW)
    hours_pass(world, 3)
    monkeypatch.setattr(first._scoring, "score", fails)
    assert not first.tick(NOW)
    assert not second.tick(NOW)
    for one in (first, second):
        assert 3 * HOUR_S <= one.lag_s() < 3.5 * HOUR_S


def test_without_drives_nothing_is_behind_however_long_ago_the_last_round_was(quick_world: DrivesWorld) -> None:
    world = quick_world
    rounds = world.rounds(interval_s=3600)
    assert rounds.tick(NOW)
    hours_pass(world, 9)
    assert rounds.tick(NOW)
    assert rounds.lag_s() == 0
    world.know([reading(TODAY)])
    assert rounds.tick(NOW)
    assert rounds.lag_s() < HOUR_S, "not behind since before there was anything to score"


def test_readings_that_become_no_drive_are_behind_nothing_once_a_round_has_seen_them(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.take([reading(TODAY, serial=None, device=None)])
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    with world.engine.connect() as connection:
        assert drives_overview(connection).round_ns is not None
    assert rounds.lag_s() < HOUR_S


def test_it_goes_on_growing_while_the_database_does_not_answer(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    world.know([reading(TODAY)])
    rounds = world.rounds()
    assert rounds.tick(NOW)
    monkeypatch.setattr("collector.jobs.held_lease.take_lease", fails)
    assert not rounds.tick(NOW)
    before_s = rounds.lag_s()
    rounds._lag._looked_s -= 600
    assert rounds.lag_s() >= before_s + 600


def test_a_collector_that_does_not_score_looks_at_it_all_the_same(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.know([reading(TODAY)])
    assert world.rounds("a").tick(NOW)
    idle, stop = world.rounds("b", enabled=False, interval_s=0.01), threading.Event()
    looked = threading.Event()
    look = idle.look

    def seen(now_ns: int) -> bool:
        looked.set()
        return look(now_ns)

    idle.look = seen  # type: ignore[method-assign]
    thread = threading.Thread(target=idle.run, args=(stop,), daemon=True)
    thread.start()
    assert looked.wait(60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert not idle._lease.held


def test_the_lease_shows_whether_it_is_held(quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = quick_world
    rounds = world.rounds()
    assert rounds.take(NOW)
    assert own_metrics.drives_lease_held._value.get() == 1
    with monkeypatch.context() as patched:
        patched.setattr("collector.jobs.held_lease.take_lease", fails)
        assert not rounds.take(NOW)
    assert own_metrics.drives_lease_held._value.get() == 0
    assert rounds.take(NOW)
    rounds.leave()
    assert own_metrics.drives_lease_held._value.get() == 0
    assert world.rounds("another").take(NOW)
    own_metrics.drives_lease_held.set(0)


def test_what_lost_its_lease_in_a_round_writes_no_series_either(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    world.know([reading(TODAY)])
    first, second = world.rounds("a", interval_s=1e-9), world.rounds("b")
    assert first.tick(NOW)
    score = first._scoring.score

    def stolen(*args: Any) -> int:
        with world.engine.begin() as connection:
            connection.execute(sa.text("UPDATE leases SET expires_ns = 0"))
        assert second.take(NOW)
        return score(*args)

    monkeypatch.setattr(first._scoring, "score", stolen)
    world.know([reading(TODAY, serial="S2", device="/dev/sdb")])
    before = {name: world.table(name) for name in ("offsets", "drive_progress", "drive_features")}
    assert not first.tick(NOW + HOUR_NS)
    assert {name: world.table(name) for name in before} == before
    assert world.drive("S2")["scored_ns"] is None
    assert second.tick(NOW + HOUR_NS)
    assert world.drive("S2")["scored_ns"] == NOW + HOUR_NS
