"""GET /api/v1/agents: lag, filters, and one agent with its queries."""

import pytest

from api.fleet_models import AgentDetail, AgentsPage
from store.connect import open_engine
from store.fleet import AgentReport, VersionProgress, write_reports
from store.registry import load_versions
from tests.api.world import BEGIN_NS, END_NS, NOW_NS, SECOND_NS, asking, fill, probe_records

PATH = "/api/v1/agents"


def report(world, agent, *watermarks, sent_ns=NOW_NS, counters=None, incarnation="a" * 32):
    """A heartbeat with one live watermark per version, in order; negative ones stand for replays."""
    engine = open_engine(world.url)
    with engine.begin() as connection:
        version = load_versions(connection)[world.plan.version]
        progress = [
            VersionProgress(version.version_id, version.query_id, BEGIN_NS, abs(at), replayable=at < 0)
            for at in watermarks
        ]
        beat = AgentReport(agent, "h", "m1", incarnation, BEGIN_NS, sent_ns, counters or {}, progress)
        write_reports(connection, [beat], {(agent, incarnation): BEGIN_NS}, sent_ns)
    engine.dispose()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    world = fill(tmp_path_factory.mktemp("fleet") / "agents.db", probe_records(n=60))
    report(world, "behind", END_NS - 60 * SECOND_NS, counters={"spool_oldest_age_s": 61})
    report(world, "ahead", NOW_NS + 5 * SECOND_NS)
    report(world, "replay", -BEGIN_NS)
    report(world, "moved-on", BEGIN_NS, sent_ns=NOW_NS - 5 * SECOND_NS)
    report(world, "moved-on", sent_ns=NOW_NS)  # its newest heartbeat speaks of no version any more
    report(world, "silent/one", END_NS, sent_ns=NOW_NS - 3600 * SECOND_NS)
    return world


@pytest.fixture(scope="module")
def client(fleet):
    with asking(fleet.url) as asked:
        yield asked


def test_lag_is_the_age_of_what_the_database_holds_of_live_queries(client):
    page = client.get(PATH)
    AgentsPage.model_validate_json(page.content, strict=True)
    lags = {agent["agent"]: agent["lag_s"] for agent in page.json()["agents"]}
    assert lags == {
        "agent-host0": 3.0,
        "agent-host1": 3.0,
        "behind": 63.0,
        "ahead": 0.0,
        "replay": None,
        "moved-on": None,
        "silent/one": 3540.0,  # a heartbeat cannot vouch for more than a minute after it
    }
    ages = {agent["agent"]: agent["spool_oldest_age_s"] for agent in page.json()["agents"]}
    assert {name for name, age in ages.items() if age is not None} == {"behind"}
    assert ages["behind"] == 61


def test_one_agent_has_its_queries(client, fleet):
    answer = client.get(f"{PATH}/behind")
    AgentDetail.model_validate_json(answer.content, strict=True)
    entry = answer.json()
    assert (entry["agent"], entry["machine_id"], entry["state"]) == ("behind", "m1", "alive")
    assert entry["queries"] == [
        {
            "query": "probe_rtt",
            "version": fleet.plan.version,
            "live": True,
            "first": "2026-11-22T07:00:00Z",
            "first_ns": BEGIN_NS,
            "watermark": "2026-11-22T07:00:00Z",
            "watermark_ns": BEGIN_NS,
            "lag_s": 63.0,
        }
    ]
    listed = next(agent for agent in client.get(PATH).json()["agents"] if agent["agent"] == "behind")
    assert {name: value for name, value in entry.items() if name in listed} == listed
    (replay,) = client.get(f"{PATH}/replay").json()["queries"]
    assert (replay["live"], replay["lag_s"]) == (False, None)


def test_an_unknown_agent_is_a_404_with_the_nearest_one(client):
    response = client.get(f"{PATH}/behnd")
    problem = response.json()
    assert (response.status_code, problem["nearest"], problem["parameter"]) == (404, "behind", "agent")
    assert "GET /api/v1/agents" in client.get(f"{PATH}/zzzzzzzz").json()["detail"]


def test_agents_can_be_narrowed_by_state_and_prefix(client):
    def names(**parameters):
        return [agent["agent"] for agent in client.get(PATH, **parameters).json()["agents"]]

    assert names(state="silent") == ["silent/one"]
    assert names(state="alive", prefix="agent-") == ["agent-host0", "agent-host1"]
    assert names(state="retired") == []
    assert names(prefix="silent/") == ["silent/one"]
    response = client.get(PATH, state="dead")
    assert (response.status_code, response.json()["parameter"]) == (400, "state")
    assert "alive, silent, retired" in response.json()["detail"]


def test_names_that_json_and_urls_escape_are_found(tmp_path):
    world = fill(tmp_path / "odd.db", probe_records(n=60))
    for name in ("ä-Ω", "a b", "50%", "x?y=&"):
        report(world, name, END_NS)
    with asking(world.url) as client:
        from urllib.parse import quote

        for name in ("ä-Ω", "a b", "50%", "x?y=&"):
            assert client.get(f"{PATH}/{quote(name, safe='')}").json()["agent"] == name
