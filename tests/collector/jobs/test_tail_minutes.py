"""Minutes of services: made when they are over, again when requests come late, and of each service by itself."""

import numpy as np
import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.jobs.tail_waiting import read_waiting
from tests.collector.jobs.tail_world import HOUR_NS, MINUTE_NS, NOW, S_NS, TailWorld, requests


def failures(reason: str) -> float:
    return own_metrics.tail_failures.labels(reason)._value.get()


def taken(result: str) -> float:
    return own_metrics.tail_requests.labels(result)._value.get()


def test_requests_count_in_the_minute_in_which_they_arrived(tail_world: TailWorld) -> None:
    world = tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=900))  # 600 in a minute, for a minute and a half
    world.take(requests(NOW - 5 * MINUTE_NS, n=100, seed=2), instance="i2")
    assert world.tick()
    assert world.counts() == {5: 700, 4: 300}
    first = world.minutes()[5].document
    assert 0 < first["slow"] < 100
    assert first["capacity_ms"] == 2 * 12 * 60_000
    assert (first["target_ms"], first["promise"], first["threads"]) == (80.0, 0.99, 12)


def test_a_minute_is_made_when_it_is_over_and_again_when_requests_come_late(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - MINUTE_NS, n=300))
    assert world.tick()
    assert world.counts() == {}, "what ran beside its last requests may still come"
    assert world.tick(NOW + 15 * S_NS)
    assert world.counts() == {1: 300}
    world.take(requests(NOW - MINUTE_NS, n=50, seed=2), received_ns=NOW + 20 * MINUTE_NS)
    assert world.tick(NOW + 20 * MINUTE_NS)
    assert world.counts() == {1: 350}
    assert world.tick(NOW + 21 * MINUTE_NS)
    assert world.counts() == {1: 350}


def test_requests_that_come_too_late_or_too_early_change_no_minute_and_are_counted(
    quick_tail_world: TailWorld,
) -> None:
    world = quick_tail_world
    world.serve()
    late, ahead, counted = taken("late"), taken("ahead"), taken("counted")
    world.take(requests(NOW - 3 * HOUR_NS, n=40))
    world.take(requests(NOW + 2 * HOUR_NS, n=30))
    world.take(requests(NOW - 30 * MINUTE_NS, n=20))
    assert world.tick()
    assert world.counts() == {30: 20}
    assert (taken("late") - late, taken("ahead") - ahead, taken("counted") - counted) == (40, 30, 20)


def test_a_batch_that_spans_years_costs_the_minutes_it_can_still_change(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    spread = requests(NOW - 2 * MINUTE_NS, n=3)
    spread["arrival_ns"] = np.array([S_NS, NOW - HOUR_NS * 30, NOW - 2 * MINUTE_NS])
    world.take(spread)
    assert world.tick()
    assert world.counts() == {2: 1}


def test_without_an_objective_or_threads_minutes_tell_what_can_be_told(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve("aimless", target_ms=None)
    world.take(requests(NOW - 5 * MINUTE_NS), service="aimless")
    world.take(requests(NOW - 5 * MINUTE_NS), service="unknown")
    assert world.tick()
    aimless, unknown = world.minutes("aimless")[5].document, world.minutes("unknown")[5].document
    assert aimless["requests"] == unknown["requests"] == 600
    assert aimless["slow"] == unknown["slow"] == 0
    assert aimless["latency_ms"] == unknown["latency_ms"] > 0
    assert (aimless["target_ms"], aimless["threads"]) == (None, 12)
    assert unknown["threads"] is None
    assert world.alerts("aimless") == {}


def test_one_services_bad_requests_keep_no_other_from_its_minutes(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve("a")
    world.serve("b")
    world.take(requests(NOW - 5 * MINUTE_NS, n=60), service="a")
    world.take(requests(NOW - 5 * MINUTE_NS, n=60), service="b")
    with world.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tail_batches SET body = x'00' WHERE service = 'a'"))
    before = failures("damaged")
    assert world.tick()
    assert world.counts("b") == {5: 60}
    assert world.counts("a") == {}
    assert failures("damaged") > before


def test_a_service_with_too_many_requests_is_set_aside_and_tried_again(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve("a")
    world.serve("b")
    world.take(requests(NOW - 5 * MINUTE_NS, n=10_001, gap_ns=1_000_000), service="a")
    world.take(requests(NOW - 5 * MINUTE_NS, n=60), service="b")
    before = failures("data")
    rounds = world.rounds(most_requests=10_000, interval_s=1e-9)
    assert rounds.tick(NOW)
    assert rounds.tick(NOW + S_NS), "not tried again yet"
    assert world.counts("b") == {5: 60}
    assert failures("data") == before + 1
    rounds.leave()
    assert world.tick(NOW + 2 * MINUTE_NS, most_requests=20_000)
    assert world.counts("a") == {5: 10_001}


def test_minutes_that_are_too_many_together_are_made_one_by_one(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    for minute in (6, 5, 4):
        world.take(requests(NOW - minute * MINUTE_NS, n=6_000, gap_ns=5_000_000, seed=minute))
    assert world.tick(most_requests=10_000)
    assert world.counts() == {6: 6_000, 5: 6_000, 4: 6_000}


def test_a_minute_that_cannot_be_made_keeps_no_other_of_its_service(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    for minute, n in ((7, 60), (5, 10_001), (3, 60)):
        world.take(requests(NOW - minute * MINUTE_NS, n=n, gap_ns=1_000_000, seed=minute))
    rounds = world.rounds(most_requests=10_000, interval_s=1e-9)
    assert rounds.tick(NOW)
    assert world.counts() == {7: 60, 3: 60}
    world.take(requests(NOW - 2 * MINUTE_NS, n=60))
    assert rounds.tick(NOW + S_NS)
    assert world.counts() == {7: 60, 3: 60, 2: 60}, "nor one that comes while it is set aside"
    rounds.leave()
    assert world.tick(NOW + 2 * MINUTE_NS, most_requests=20_000)
    assert world.counts() == {7: 60, 5: 10_001, 3: 60, 2: 60}


def test_a_minute_that_fails_for_a_day_is_given_up(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=10_001, gap_ns=1_000_000))
    rounds = world.rounds(most_requests=10_000, interval_s=1e-9)
    for hours in range(0, 26, 2):
        rounds.tick(NOW + hours * HOUR_NS)
        with world.engine.connect() as connection:
            waits = read_waiting(connection)
        assert bool(waits) == (hours < 24), hours
    rounds.leave()
    assert world.counts() == {}


def test_a_share_of_requests_without_threads_met_tells_latencies_only(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=60, weight=np.full(60, 10), active_threads=None))
    before = failures("data")
    assert world.tick()
    assert world.counts() == {5: 600}
    assert failures("data") == before + 1


def test_a_fault_of_ours_in_one_service_is_said_and_keeps_no_other(
    quick_tail_world: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_tail_world
    for name in ("a", "b"):
        world.serve(name)
        world.take(requests(NOW - 5 * MINUTE_NS, n=60), service=name)
    from collector.jobs import tail_minutes

    whole = tail_minutes.known_as

    def broken(connection: sa.Connection, row: object) -> object:
        if getattr(row, "service", "") == "a":
            raise ZeroDivisionError
        return whole(connection, row)  # type: ignore[arg-type]

    monkeypatch.setattr(tail_minutes, "known_as", broken)
    assert not world.tick()
    assert world.counts("b") == {5: 60}
    monkeypatch.undo()
    assert world.tick(NOW + 2 * MINUTE_NS)
    assert world.counts("a") == {5: 60}
