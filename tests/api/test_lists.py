"""The lists: metrics and agents, page by page, and the status."""

import json
from dataclasses import replace
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from api.config import ApiConfig
from api.fleet_models import AgentsPage, StatusAnswer
from api.list_models import MetricsPage
from store import tables
from store.claims import claim
from store.connect import open_engine
from store.fleet import AgentReport, write_reports
from tests.api.world import END_NS, NOW_NS, SECOND_NS, asking, fill, probe_records


def pages(client, path, **parameters):
    """All pages of a list, following next_cursor."""
    cursor = {}
    while True:
        page = client.get(path, **parameters, **cursor)
        assert page.status_code == 200, page.text
        yield page
        if page.json()["next_cursor"] is None:
            return
        cursor = {"cursor": page.json()["next_cursor"]}


def test_metrics_are_listed_with_where_to_ask_for_them(client, world):
    page = client.get("/api/v1/metrics")
    MetricsPage.model_validate_json(page.content, strict=True)
    entries = page.json()["metrics"]
    assert [entry["name"] for entry in entries] == sorted(metric.name for metric in world.plan.metrics)
    for entry in entries:
        assert client.get(entry["href"]).status_code == 200
        assert entry["labels"] == ["host", "tor"]
        assert (entry["scale"] == 6) == (entry["function"] == "sketch")


@pytest.mark.parametrize("limit", [1, 3, 8, 1000])
def test_pages_put_together_are_the_whole_list(client, world, limit):
    names = [
        entry["name"] for page in pages(client, "/api/v1/metrics", limit=limit) for entry in page.json()["metrics"]
    ]
    assert names == sorted(metric.name for metric in world.plan.metrics)


@pytest.mark.parametrize("path", ["/api/v1/metrics", "/api/v1/agents", "/api/v1/cardinality", "/api/v1/labels"])
@pytest.mark.parametrize(
    ("parameters", "parameter"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": "9" * 30}, "limit"),
        ({"cursor": "%%%"}, "cursor"),
        ({"cursor": "a"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": "_w"}, "cursor"),
        ({"page": 2}, "page"),
    ],
)
def test_bad_pages_are_refused(client, path, parameters, parameter):
    response = client.get(path, **parameters)
    assert (response.status_code, response.json()["parameter"]) == (400, parameter)


def test_agents_show_state_incarnation_and_counters(client):
    page = client.get("/api/v1/agents")
    AgentsPage.model_validate_json(page.content, strict=True)
    first, second = page.json()["agents"]
    assert (first["agent"], second["agent"]) == ("agent-host0", "agent-host1")
    assert (first["state"], first["silent_s"], first["counters"]) == ("alive", 1.0, {"frames": 6})
    assert first["incarnation"] == "0123456789abcdef" * 2
    assert first["last_seen"] == "2026-11-22T07:01:02Z"


@pytest.mark.parametrize(
    ("later_s", "state"), [(-3600, "alive"), (0, "alive"), (13.9, "alive"), (14.1, "silent"), (1e6, "silent")]
)
def test_an_agent_falls_silent_after_the_configured_time(world, later_s, state):
    with asking(world.url, now_ns=lambda: NOW_NS + round(later_s * SECOND_NS)) as client:
        assert {agent["state"] for agent in client.get("/api/v1/agents").json()["agents"]} == {state}
        assert client.get("/api/v1/status").json()["agents"][state] == 2


def test_the_silence_that_counts_can_be_set(world):
    with asking(world.url, ApiConfig(agent_silent_after_s=0.5)) as client:
        assert client.get("/api/v1/agents").json()["agents"][0]["state"] == "silent"


def test_status_has_the_cumulative_counters_that_the_live_line_shows(client):
    answer = client.get("/api/v1/status")
    StatusAnswer.model_validate_json(answer.content, strict=True)
    status = answer.json()
    assert {name: status["totals"][name] for name in ("records", "windows", "bytes", "frames")} == {
        "records": 6_000,
        "windows": 6,
        "bytes": 12_000,
        "frames": 12,
    }
    assert status["database_schema"]["ok"] is True
    assert status["time_ns"] == NOW_NS == END_NS + 3 * SECOND_NS
    assert answer.headers["cache-control"] == "no-store"


def with_agents(world, **agents):
    """A database with these agents: (age of the oldest frame in the spool, bound of the clock), either may be None."""
    engine = open_engine(world.url)
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.agents))
        for name, (age_s, offset_ns) in agents.items():
            counters = {} if age_s is None else {"spool_oldest_age_s": age_s}
            silent = name.startswith("silent")
            report = AgentReport(name, "h", "m", "0" * 32, 0, NOW_NS - silent * 3600 * SECOND_NS, counters, [])
            report = replace(report, clock_offset_ns=offset_ns)
            write_reports(connection, [report], {(name, report.incarnation): 0}, NOW_NS)
    engine.dispose()
    return world


@pytest.mark.parametrize(
    ("agents", "oldest"),
    [
        ({"a": (3, None), "b": (40, None), "c": (7, None), "silent": (900, None)}, (40, "b")),
        ({"a": (0, None), "b": (0, None)}, (0, "a")),
        ({"old-release": (None, None), "b": (2, None)}, (2, "b")),
        ({"old-release": (None, None), "silent": (5, None)}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_status_names_the_agent_alive_whose_spool_is_oldest(tmp_path, agents, oldest):
    with asking(with_agents(fill(tmp_path / "spools.db", probe_records(n=60)), **agents).url) as client:
        answer = client.get("/api/v1/status")
    StatusAnswer.model_validate_json(answer.content, strict=True)
    assert tuple(answer.json()["spool"].values()) == oldest


def test_agents_show_by_how_much_their_clocks_are_ahead_at_least(tmp_path):
    clocks = {"a": (1, 3_600_123_456_789), "b": (1, -120_000_000), "c": (1, None)}
    with asking(with_agents(fill(tmp_path / "clocks.db", probe_records(n=60)), **clocks).url) as client:
        page = client.get("/api/v1/agents")
    AgentsPage.model_validate_json(page.content, strict=True)
    assert [agent["clock_ahead_s"] for agent in page.json()["agents"]] == [3600.123, -0.12, None]


def test_status_shows_who_holds_partitions_and_when_each_last_wrote(tmp_path):
    world = fill(tmp_path / "owners.db", probe_records(n=60))
    engine = open_engine(world.url)
    with engine.begin() as connection:
        claim(connection, "tailwatch", 7, "collector-0")
    engine.dispose()
    with asking(world.url, now_ns=lambda: NOW_NS + 5 * SECOND_NS) as client:
        collectors = client.get("/api/v1/status").json()["collectors"]
    assert collectors == [
        {"collector": "collector-0", "partitions": 1, "last_flush": None, "last_flush_s": None},
        {"collector": "collector-1", "partitions": 2, "last_flush": "2026-11-22T07:01:03Z", "last_flush_s": 5.0},
    ]


def test_an_unchanged_list_is_a_304(client):
    first = client.get("/api/v1/metrics")
    again = client.request("GET", "/api/v1/metrics", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_a_fresh_database_has_empty_lists(tmp_path):
    from store.connect import upgrade

    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    upgrade(url)
    with asking(url) as client:
        assert client.get("/api/v1/metrics").json() == {"metrics": [], "next_cursor": None}
        assert client.get("/api/v1/agents").json() == {"agents": [], "next_cursor": None}
        assert client.get("/api/v1/cardinality").json() == {"queries": [], "next_cursor": None}
        status = client.get("/api/v1/status").json()
        assert status["totals"]["records"] == 0
        assert (status["collectors"], status["spool"]) == ([], {"oldest_age_s": None, "agent": None})
        problem = client.get("/api/v1/quantiles", metric="hiccup_us")
        assert problem.status_code == 404
        assert "none yet" in problem.json()["detail"]


def test_an_agent_whose_id_two_hosts_use_names_both_while_both_are_heard_of(tmp_path):
    import sqlite3

    world = fill(tmp_path / "shared.db", probe_records(n=60))
    with sqlite3.connect(world.path) as database:
        columns = "previous, machine_id, started_ns, order_ns, sent_ns, first_seen_ns, seen_ns"
        database.execute(
            f"INSERT INTO starts (agent, incarnation, host, clash_with, {columns}) "
            f"SELECT agent, 'f', 'other', incarnation, {columns} FROM starts WHERE agent = 'agent-host0'"
        )
    database.close()
    with asking(world.url) as client:
        page = client.get("/api/v1/agents")
        AgentsPage.model_validate_json(page.content, strict=True)
        assert [agent["shared_by"] for agent in page.json()["agents"]] == [["host0", "other"], []]
    with asking(world.url, now_ns=lambda: NOW_NS + 3600 * SECOND_NS) as client:
        assert [agent["shared_by"] for agent in client.get("/api/v1/agents").json()["agents"]] == [[], []]


def test_odd_agent_names_survive_paging(tmp_path):
    import sqlite3

    world = fill(tmp_path / "odd.db", probe_records(n=60))
    names = ["", "a b", "a/b?&=", "ä-Ω", "z" * 200]
    with sqlite3.connect(world.path) as database:
        columns = "host, machine_id, incarnation, started_ns, first_seen_ns, last_seen_ns, counters"
        for name in names:
            database.execute(
                f"INSERT INTO agents (agent, {columns}) SELECT ?, {columns} FROM agents LIMIT 1", [name]
            )  # fmt: skip
    database.close()
    with asking(world.url) as client:
        listed = [
            agent["agent"] for page in pages(client, "/api/v1/agents", limit=1) for agent in page.json()["agents"]
        ]
        alone = [client.get(f"/api/v1/agents/{quote(name, safe='/')}").json()["agent"] for name in names if name]
    assert listed == sorted([*names, "agent-host0", "agent-host1"])
    assert alone == [name for name in names if name]
    assert json.dumps(listed)
