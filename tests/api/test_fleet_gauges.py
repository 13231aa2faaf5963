"""The gauges of the fleet on /metrics: what they show, how often they are read, and that nobody waits for them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from api import fleet_gauges
from api.config import ApiConfig
from api.database import Database
from api.fleet_gauges import MOST_REASONS, MOST_SHOWN, FleetGauges
from api.own_metrics import OwnMetrics
from store import tables
from store.catalog import Catalog
from store.connect import open_engine
from store.fleet_coverage import SETTLED_NS
from store.fleet_signs import KeptCounts
from store.series_limit import note_series_max
from tests.api.world import END_NS, asking, fill

SECOND_NS = 10**9
#: The newest minutes end where the records do.
NOW_NS = END_NS + SETTLED_NS


class Clock:
    """Stands still until it is set; reading costs `read_s`."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def shown(gauges: FleetGauges) -> dict[tuple[str, str], float]:
    """(gauge without its beginning, label value) -> number."""
    return {
        (sample.name.removeprefix("tailwatch_api_"), "".join(sample.labels.values())): sample.value
        for family in gauges.collect()
        for sample in family.samples
    }


@contextmanager
def gauges_of(url: str, clock: Clock, **settings: Any) -> Iterator[FleetGauges]:
    """Gauges whose reading only a test begins."""
    engine = open_engine(url, read_only=True)
    database = Database(engine, OwnMetrics())
    found = FleetGauges(ApiConfig(**settings), database, Catalog(), lambda: NOW_NS, clock)
    found._thread = threading.current_thread()
    yield found
    database.close()


@pytest.fixture
def empty_url(upgraded_url: str) -> str:
    """A database with nothing in it, SQLite and PostgreSQL in turn."""
    return upgraded_url


def add_agents(url: str, agents: list[dict[str, Any]]) -> None:
    row = {"host": "h", "machine_id": "m", "incarnation": "i", "started_ns": 1, "first_seen_ns": 1, "counters": "{}"}
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.agents),
            [row | {"retired": False, "clock_offset_ns": None, "last_seen_ns": NOW_NS} | agent for agent in agents],
        )
    engine.dispose()


def add_dead_letters(url: str, reasons: list[str]) -> None:
    engine = open_engine(url)
    place = {"topic": "t", "partition": 0, "received_ns": 1, "payload": b"x"}
    with engine.begin() as connection:
        rows = [place | {"offset": number, "reason": reason} for number, reason in enumerate(reasons)]
        connection.execute(sa.insert(tables.dead_letters), rows)
    engine.dispose()


def test_they_show_coverage_agents_frames_series_and_size(tmp_path, upgraded_url):
    world = fill(tmp_path / "unused.db", lost=100, address=upgraded_url)
    engine = open_engine(world.url)
    note_series_max(engine, 12)
    engine.dispose()
    away = {"agent": "away", "last_seen_ns": NOW_NS - 90 * SECOND_NS, "clock_offset_ns": 2 * SECOND_NS}
    gone = {"agent": "gone", "last_seen_ns": NOW_NS - 301 * SECOND_NS, "clock_offset_ns": 9 * SECOND_NS}
    add_agents(world.url, [away, gone])
    add_dead_letters(world.url, ["frame 7 is cut", "frame 8 is cut"])
    with gauges_of(world.url, Clock()) as gauges:
        assert not shown(gauges).keys() & {("fleet_agents", "alive"), ("quarantined_frames", "")}, "nothing is read yet"
        gauges.step()
        found = shown(gauges)
    # 3,000 records of each host arrived in 6 windows, and 100 more a window are known of.
    assert found["fleet_coverage_ratio", "probe_rtt"] == pytest.approx(3000 / 3600)
    assert found["host_coverage_ratio", "host0"] == pytest.approx(3000 / 3600)
    assert [found["fleet_agents", state] for state in ("alive", "silent", "retired")] == [0, 4, 0]
    assert found["agent_silent_seconds", "away"] == pytest.approx(90)
    assert found["agent_clock_ahead_seconds", "away"] == 2
    assert ("agent_clock_ahead_seconds", "gone") not in found, "it would be said to be ahead for ever"
    assert found["dead_letters", "frame # is cut"] == 2
    assert found["quarantined_frames", ""] == 0
    assert found["series_used_ratio", "probe_rtt"] == 6 / 12
    assert found["database_bytes", ""] > 10_000
    assert found["fleet_read_failures_total", "coverage"] == 0


def test_of_many_only_the_worst_are_shown(empty_url):
    agents = [
        agent
        for n in range(300)
        for agent in (
            {"agent": f"s{n}", "last_seen_ns": NOW_NS - (60 + n) * SECOND_NS},
            {"agent": f"a{n}", "clock_offset_ns": (n - 150) * SECOND_NS},
        )
    ]
    add_agents(empty_url, agents)
    add_dead_letters(empty_url, [chr(65 + n) for n in range(MOST_REASONS + 5)] + ["A"])
    with gauges_of(empty_url, Clock()) as gauges:
        shown(gauges)
        gauges.step()
        found = shown(gauges)
    silent = {label: value for (name, label), value in found.items() if name == "agent_silent_seconds"}
    assert len(silent) == MOST_SHOWN
    assert max(silent.values()) == pytest.approx(60 + MOST_SHOWN - 1), "those that fell silent last"
    clocks = [value for (name, _), value in found.items() if name == "agent_clock_ahead_seconds"]
    assert sorted(clocks) == [*range(-150, -100), *range(100, 150)]
    letters = {label: value for (name, label), value in found.items() if name == "dead_letters"}
    assert (len(letters), letters["A"], letters["others"]) == (MOST_REASONS + 1, 2, 5)
    assert found["fleet_agents", "silent"] == 300


def test_a_healthy_fleet_shows_no_hosts_and_no_silent_agents(tmp_path):
    world = fill(tmp_path / "tailwatch.db")
    with gauges_of(world.url, Clock(), agent_silent_after_s=3600) as gauges:
        shown(gauges)
        gauges.step()
        found = shown(gauges)
    assert found["fleet_coverage_ratio", "probe_rtt"] == 1.0
    assert not {name for name, _ in found} & {"host_coverage_ratio", "agent_silent_seconds", "dead_letters"}


def test_reading_takes_a_twentieth_of_the_time_at_most_and_goes_on_every_five_seconds(empty_url, monkeypatch):
    clock = Clock()

    def slow(*_: object) -> object:
        clock.now_s += 3.0
        return KeptCounts({}, 0)

    monkeypatch.setattr(fleet_gauges, "kept_counts", slow)
    with gauges_of(empty_url, clock) as gauges:
        shown(gauges)
        assert gauges.step() == pytest.approx(2.0), "the quick parts are due 5 s after they were read"
        due = {part.name: part.due_s - 1000.0 for part in gauges._parts}
    assert due == {"agents": 5.0, "frames": 63.0, "series": 8.0, "database": 8.0, "coverage": 8.0}


def test_what_could_not_be_read_for_a_minute_is_not_shown_any_more(empty_url, monkeypatch):
    clock = Clock()
    add_agents(empty_url, [{"agent": "a"}])
    with gauges_of(empty_url, clock) as gauges:
        shown(gauges)
        gauges.step()
        monkeypatch.setattr(fleet_gauges, "agent_signs", lambda _: 1 / 0)
        clock.now_s += 30
        gauges.step()
        found = shown(gauges)
        assert found["fleet_agents", "alive"] == 1
        assert found["fleet_read_failures_total", "agents"] == 1
        clock.now_s += 45
        found = shown(gauges)
    assert ("fleet_agents", "alive") not in found
    assert ("quarantined_frames", "") in found, "the others were read"


def test_nothing_is_read_once_nobody_has_asked_for_ten_minutes(empty_url):
    clock = Clock()
    with gauges_of(empty_url, clock) as gauges:
        shown(gauges)
        assert gauges.step() is not None
        clock.now_s += 601
        assert gauges.step() is None
        shown(gauges)
        assert gauges.step() is not None


def test_a_scrape_does_not_wait_for_a_read_that_hangs(tmp_path, monkeypatch):
    world = fill(tmp_path / "tailwatch.db")
    reading, goes_on = threading.Event(), threading.Event()

    def hangs(*_: object) -> list[object]:
        reading.set()
        goes_on.wait(60)
        return []

    monkeypatch.setattr(fleet_gauges, "agent_signs", hangs)
    try:
        with asking(world.url) as client:
            assert client.get("/metrics").status_code == 200
            assert reading.wait(60)
            assert "tailwatch_api_requests_total" in client.get("/metrics").text
            assert client.get("/api/v1/status").status_code == 200
            goes_on.set()
    finally:
        goes_on.set()


def test_they_come_with_the_second_scrape_of_an_api(tmp_path):
    world = fill(tmp_path / "tailwatch.db")
    with asking(world.url) as client:
        until = time.monotonic() + 60
        while "tailwatch_api_fleet_agents" not in client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.02)
        text = client.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}).text
    assert 'tailwatch_api_fleet_agents{state="alive"}' in text
    assert text.endswith("# EOF\n")


def test_a_database_that_cannot_be_read_leaves_the_other_metrics_alone(tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"  # no tables
    open_engine(url).connect().close()
    clock = Clock()
    with gauges_of(url, clock) as gauges:
        shown(gauges)
        wait_s = gauges.step()
        found = shown(gauges)
    assert found["fleet_read_failures_total", "coverage"] == 1
    assert ("database_bytes", "") in found
    assert not {"fleet_agents", "fleet_coverage_ratio", "quarantined_frames"} & {name for name, _ in found}
    assert wait_s == pytest.approx(5.0)
