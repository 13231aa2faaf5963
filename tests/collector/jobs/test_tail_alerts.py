"""Alerts of services: as minutes change them, of today's objective, from minutes kept between rounds or read anew."""

from dataclasses import fields

import numpy as np
import pytest

from analytics.tail.minutes import MinuteTable, minute_from
from collector import own_metrics
from collector.jobs import tail_jobs
from collector.jobs.tail_minute_shelf import MinuteShelf
from tests.collector.jobs.tail_world import DAY_NS, HOUR_NS, MINUTE_NS, NOW, S_NS, SETTINGS, TailWorld, requests

#: 300 requests a minute, for six minutes.
GAP_NS = 200_000_000
#: Every fifth request takes twice the objective.
SLOW = np.where(np.arange(1_800) % 5 == 0, 160e3, 10e3)
FINE = np.full(1_800, 10e3)


def read(world: TailWorld, shelf: MinuteShelf, now_ns: int = NOW) -> tuple[dict[str, list[float]], int, int]:
    """What a shelf says, as lists."""
    with world.engine.connect() as connection:
        table, minutes, slow = shelf.table(connection, "search", SETTINGS, now_ns)
    return {one.name: getattr(table, one.name).tolist() for one in fields(MinuteTable)}, minutes, slow


def test_an_alert_begins_and_ends_with_its_minutes(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    assert world.tick()
    burning = world.alerts()["tail_burn"]
    assert (burning.firing, burning.severity, burning.since_ns, burning.changed_ns) == (True, "page", NOW, NOW)
    later = NOW + 3 * HOUR_NS
    world.take(requests(later - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=FINE), received_ns=later - MINUTE_NS)
    assert world.tick(later)
    ended = world.alerts()["tail_burn"]
    assert (ended.firing, ended.since_ns, ended.changed_ns) == (False, later, later)
    assert [(row[1], row[3]) for row in world.table("tail_alert_changes", "id") if row[1] == "tail_burn"] == [
        ("tail_burn", False),
        ("tail_burn", True),
    ]


def test_alerts_are_looked_at_where_nothing_comes_any_more(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    assert rounds.tick(NOW + MINUTE_NS)
    assert world.alerts()["tail_burn"].firing
    assert rounds.tick(NOW + 8 * HOUR_NS)
    assert not world.alerts()["tail_burn"].firing
    rounds.leave()


def test_alerts_end_where_nothing_is_promised_any_more(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    assert world.alerts()["tail_burn"].firing
    world.serve(target_ms=None)
    assert rounds.tick(NOW + MINUTE_NS)
    assert [one.name for one in world.alerts().values() if one.firing] == []
    rounds.leave()


def test_an_objective_that_is_changed_is_judged_by_minutes_since(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    assert world.tick()
    world.serve(target_ms=200.0)
    assert world.tick(NOW + MINUTE_NS)
    assert not world.alerts()["tail_burn"].firing
    world.serve()
    assert world.tick(NOW + 2 * MINUTE_NS)
    assert world.alerts()["tail_burn"].firing


def test_minutes_kept_between_rounds_are_those_that_are_read_anew(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    shelf = MinuteShelf()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    assert world.tick()
    assert read(world, shelf)[1:] == (1_800, 360)
    # One minute again, one that is new.
    more = requests(NOW - 4 * MINUTE_NS - 30 * S_NS, n=300, gap_ns=GAP_NS, service_us=SLOW[:300])
    world.take(more, instance="i2")
    assert world.tick()
    minutes = [minute_from(row.document) for row in world.minutes().values()]
    shelf.put("search", SETTINGS, minutes[-2:])
    shelf.put("other", SETTINGS, minutes)
    assert read(world, shelf) == read(world, MinuteShelf())
    assert read(world, shelf)[1:] == (2_100, 420)
    old = read(world, shelf, NOW + 8 * DAY_NS)
    assert old == read(world, MinuteShelf(), NOW + 8 * DAY_NS)
    assert (old[0]["start_ns"], old[1]) == ([], 2_100), "out of the table, within the promise"
    assert read(world, shelf, NOW + 40 * DAY_NS)[1:] == (0, 0)


def test_what_is_remembered_is_forgotten_where_somebody_else_has_worked(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 12 * MINUTE_NS, n=60, service_us=FINE[:60]))
    first = world.rounds(owner="first", interval_s=1e-9)
    assert first.tick(NOW)
    assert not world.alerts()["tail_burn"].firing
    first.leave()
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800, gap_ns=GAP_NS, service_us=SLOW))
    assert world.tick(NOW)
    assert world.alerts()["tail_burn"].firing
    assert first.tick(NOW + 5 * MINUTE_NS), "whose memory knows no slow minute"
    assert world.alerts()["tail_burn"].firing
    first.leave()


def test_a_collector_without_the_libraries_says_so_and_leaves_the_lease(
    quick_tail_world: TailWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_tail_world
    rounds = world.rounds()
    assert rounds.is_able()
    monkeypatch.setattr(tail_jobs, "LIBRARIES", ("numba", "no_such_library"))
    before = own_metrics.tail_failures.labels("library")._value.get()
    assert not rounds.is_able()
    assert own_metrics.tail_failures.labels("library")._value.get() == before, "there is nothing to do"
    world.serve()
    world.take(requests(NOW - 10 * MINUTE_NS, n=60))
    assert rounds.take(NOW)
    assert rounds.lag_s() > 0
    assert not rounds.is_able()
    assert not rounds.is_able()
    assert own_metrics.tail_failures.labels("library")._value.get() == before + 2
    assert sum("no_such_library not installed" in record.getMessage() for record in caplog.records) == 1
    rounds.leave()


def test_what_is_kept_no_longer_is_forgotten(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve("search")
    world.take(requests(NOW - 10 * MINUTE_NS, n=1_800), service="passing")
    world.take(requests(NOW - 10 * MINUTE_NS, n=60))
    run = world.ask("learn", end_ns=1)
    assert world.tick()
    assert world.tick(NOW + 15 * DAY_NS)
    assert world.table("tail_batches", "body") == []
    assert set(world.counts()) == {10}
    assert world.run(run).state == "refused"
    assert world.tick(NOW + 41 * DAY_NS)
    assert world.table("tail_minutes") == world.table("tail_runs") == []
    assert [row[0] for row in world.table("tail_services")] == ["search"]
    assert [row[0] for row in world.table("tail_progress") if row[0] == "tail requests to learn"] == [
        "tail requests to learn"
    ]
