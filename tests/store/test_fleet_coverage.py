"""Coverage of all queries and hosts at once: coverage's own rule, by host, for what goes with the clock."""

import random

import pytest
import sqlalchemy as sa

from store.coverage import coverage
from store.fleet import AgentReport, VersionProgress
from store.fleet_coverage import LENGTH_NS, SETTLED_NS, FleetCoverage, fleet_coverage
from store.interruptions import UNCLEAN_END, Interruption
from store.registry import END_NS, load_versions, metric, register_queries
from store.snapshot import Snapshot
from tests.fleet import WINDOW_NS, probe_plan
from tests.store.test_coverage import Stored

#: The stretch that is looked at ends here.
END = 1_000 * WINDOW_NS
BEGIN = END - LENGTH_NS
NOW = END + SETTLED_NS


class Fleet(Stored):
    """Agents on hosts of their own."""

    def heard(
        self, agent: str, host: str, watermark_ns: int = NOW, first_ns: int = 0, *, replayable: bool = False
    ) -> None:
        version = self.version
        progress = [VersionProgress(version.version_id, version.query_id, first_ns, watermark_ns, replayable)]
        self.write(now_ns=NOW, reports=[AgentReport(agent, host, "m", "0" * 32, 0, NOW, {}, progress)])

    def found(self, now_ns: int = NOW) -> FleetCoverage:
        with self.engine.connect() as connection:
            return fleet_coverage(Snapshot(connection), now_ns)

    def coverage_ratio(self) -> float:
        with self.engine.connect() as connection:
            return coverage(connection, metric(connection, "rtt_us"), BEGIN, END, NOW).ratio


@pytest.fixture
def fleet(engine: sa.Engine) -> Fleet:
    return Fleet(engine)


def test_a_fleet_without_agents_has_no_coverage_to_show(fleet: Fleet) -> None:
    assert fleet.found() == FleetCoverage({}, {})


def test_hosts_that_are_behind_and_those_that_lost_records_are_below_one(fleet: Fleet) -> None:
    fleet.heard("a", "whole")
    fleet.heard("b", "behind", watermark_ns=BEGIN + LENGTH_NS // 4)
    fleet.heard("c", "losing")
    fleet.arrival(END // WINDOW_NS - 1, "a", n_in=10, n_local=10, got_local=10)
    fleet.arrival(END // WINDOW_NS - 1, "c", n_in=10, n_local=8, got_local=8, n_dropped=2)
    assert fleet.found().hosts == {"whole": 1.0, "behind": 0.25, "losing": 0.8}
    assert fleet.found().queries == {"probes": pytest.approx(2.25 / 3)}


def test_what_lies_before_and_behind_the_minutes_does_not_count(fleet: Fleet) -> None:
    fleet.heard("a", "h")
    for window in (BEGIN // WINDOW_NS - 1, END // WINDOW_NS):
        fleet.arrival(window, "a", n_in=10, n_dropped=10)
    assert fleet.found().hosts == {"h": 1.0}
    fleet.arrival(BEGIN // WINDOW_NS, "a", n_in=10, n_dropped=10)
    assert fleet.found().hosts == {"h": 0.0}


def test_a_replay_of_old_records_is_no_gap_and_a_log_that_is_followed_may_have_one(fleet: Fleet) -> None:
    fleet.heard("old", "replays", watermark_ns=BEGIN // 2, replayable=True)
    fleet.heard("done", "has-replayed", watermark_ns=END_NS, replayable=True)
    assert fleet.found() == FleetCoverage({}, {})
    fleet.heard("new", "follows", watermark_ns=BEGIN + LENGTH_NS // 2, replayable=True)
    assert fleet.found() == FleetCoverage({"probes": 0.5}, {"follows": 0.5})


def test_windows_of_a_version_outside_its_time_are_missing(fleet: Fleet, engine: sa.Engine) -> None:
    fleet.heard("a", "h")
    changed = probe_plan("SELECT max(rtt_us) AS other_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)")
    with engine.begin() as connection:
        register_queries(connection, [changed], BEGIN, LENGTH_NS // 2)
        assert len(load_versions(connection)) == 2
    for window in (BEGIN, END - WINDOW_NS):
        fleet.arrival(window // WINDOW_NS, "a", n_in=10, n_local=10, got_local=10)
    assert fleet.found().queries == {"probes": 0.5}
    assert fleet.coverage_ratio() == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_query_has_the_coverage_that_answers_have(fleet: Fleet, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(6):
        agent = f"a{number}"
        watermark_ns = rng.choice([NOW, BEGIN + rng.randrange(LENGTH_NS), BEGIN - 1])
        fleet.heard(agent, f"h{number // 2}", watermark_ns, rng.choice([0, BEGIN + rng.randrange(LENGTH_NS)]))
        for _ in range(5):
            n_in = rng.randrange(1, 50)
            window = rng.randrange(BEGIN // WINDOW_NS - 3, END // WINDOW_NS + 3)
            fleet.arrival(window, agent, n_in=n_in, n_local=n_in, got_local=n_in - rng.randrange(2))
        low = BEGIN + rng.randrange(LENGTH_NS)
        stretch = Interruption(agent, fleet.version.version_id, low, low + rng.randrange(LENGTH_NS), UNCLEAN_END)
        fleet.write(interruptions=[stretch])
    found = fleet.found()
    assert found.queries["probes"] == pytest.approx(fleet.coverage_ratio(), rel=1e-12)
    assert 0 <= min(found.hosts.values()) <= found.queries["probes"]
    assert len(found.hosts) == 3
