"""Minutes of services as series: each once, when it has settled; alerts as windows of five minutes."""

import numpy as np
import pytest

from collector.jobs.job_streams import COLLECTOR_STREAMS
from collector.jobs.tail_series import ServiceMinutes, ServiceWindows
from store.errors import FencedError
from tests.collector.jobs.tail_world import HOUR_NS, MINUTE_NS, NOW, S_NS, TailWorld, requests

MINUTE = NOW // MINUTE_NS
#: Every fifth request takes twice the objective.
SLOW = np.where(np.arange(12_000) % 5 == 0, 160e3, 10e3)


def test_a_minute_is_in_the_series_once_when_it_has_settled(tail_world: TailWorld) -> None:
    world = tail_world
    world.serve()
    world.take(requests(NOW - MINUTE_NS, n=300))
    rounds = world.rounds(series=True, interval_s=1e-9)
    assert rounds.tick(NOW + 60 * S_NS)
    assert world.counts() == {1: 300}
    assert world.series("service_requests_total", "service", "origin") == {}
    assert rounds.tick(NOW + 121 * S_NS)
    assert world.series("service_requests_total", "service", "origin") == {(1, "search", "measured"): 300}
    world.take(requests(NOW - MINUTE_NS, n=50, seed=2), received_ns=NOW + 130 * S_NS)
    assert rounds.tick(NOW + 131 * S_NS)
    assert rounds.tick(NOW + 10 * MINUTE_NS)
    assert world.counts() == {1: 350}
    assert world.series("service_requests_total", "service", "origin") == {(1, "search", "measured"): 300}
    rounds.leave()


def test_series_say_what_minutes_say_and_nothing_of_what_is_not_known(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS), synthetic=True)
    world.take(requests(NOW - 5 * MINUTE_NS), service="unknown")
    world.ask("learn")
    assert world.tick(series=True), "speed-ups are learned after the minutes"
    world.take(requests(NOW - 4 * MINUTE_NS, seed=3))
    world.take(requests(NOW - 4 * MINUTE_NS, seed=3), service="unknown")
    assert world.tick(series=False)
    assert ServiceMinutes(1000, world.engine, "late").write(MINUTE - 2, NOW) == 2
    minute = world.minutes()[4].document
    slow = {key: value for key, value in world.series("service_slow_requests_total", "service").items() if key[0] == 4}
    assert slow == {(4, "search"): minute["slow"]}
    caused = world.series("service_slow_cause_requests_total", "cause")
    assert {cause: n for (start, cause), n in caused.items() if start == 4} == minute["causes"]
    assert sum(minute["causes"].values()) == minute["slow"] > 0
    assert world.series("service_objective_us", "service", "origin") == {
        (5, "search", "synthetic"): 80e3,
        (4, "search", "synthetic"): 80e3,
    }
    assert {service for _, service in world.series("service_load_ratio", "service")} == {"search"}
    p99 = world.series("service_p99_us", "service")
    assert p99[4, "unknown"] == p99[4, "search"] > 80e3
    assert world.series("service_promise_ratio", "service")[4, "search"] == 0.99


def test_minutes_that_wait_to_be_made_hold_the_series_up(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve("a")
    world.serve("b")
    # No collector ran for three hours; the batches came in time.
    for minutes in (180, 120, 5):
        begun = NOW - minutes * MINUTE_NS
        for service in ("a", "b"):
            world.take(requests(begun, n=100), service=service, received_ns=begun + MINUTE_NS)
    assert world.tick(series=True)
    assert world.series("service_requests_total", "service") == {
        (start, service): 100 for start in (180, 120, 5) for service in ("a", "b")
    }


def test_another_writer_is_fenced_off_and_goes_on_behind_what_is_written(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=100))
    assert world.tick()
    first, second = (ServiceMinutes(1000, world.engine, owner) for owner in "ab")
    assert first.write(MINUTE - 2, NOW) == 1
    world.take(requests(NOW - 4 * MINUTE_NS, n=100))
    assert world.tick()
    assert second.write(MINUTE - 2, NOW) == 1
    world.take(requests(NOW - 3 * MINUTE_NS, n=100))
    assert world.tick()
    with pytest.raises(FencedError):
        first.write(MINUTE - 2, NOW)
    assert first.write(MINUTE - 2, NOW) == 1
    assert world.series("service_requests_total") == {(5,): 100, (4,): 100, (3,): 100}


def test_alerts_are_windows_written_once(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 25 * MINUTE_NS, n=12_000, service_us=SLOW))
    assert world.tick()
    assert world.alerts()["tail_burn"].firing
    assert ServiceWindows(1000, world.engine, "a").write(NOW + HOUR_NS) == 1
    assert ServiceWindows(1000, world.engine, "b").write(NOW + HOUR_NS) == 0
    states = world.series("service_alert_state", "service", "alert", "severity")
    assert {(alert, severity): state for (_, _, alert, severity), state in states.items() if state} == {
        (name, one.severity): 1 for name, one in world.alerts().items() if one.firing
    }
    assert len(states) == len(world.alerts()) == 10


def test_records_have_the_columns_that_their_streams_say(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=100))
    assert world.tick()
    parts = list(ServiceWindows(1000, world.engine, "a")._parts(NOW, 0))
    assert [stream for _, stream, _ in parts] == ["service_alerts"]
    for _, stream, records in parts:
        assert set(records.columns) == set(COLLECTOR_STREAMS[stream])


def test_where_series_are_not_wanted_none_are_written(quick_tail_world: TailWorld) -> None:
    world = quick_tail_world
    world.serve()
    world.take(requests(NOW - 5 * MINUTE_NS, n=100))
    assert world.tick(NOW + HOUR_NS)
    assert "jobs/tail" not in {row[0] for row in world.table("offsets")}
