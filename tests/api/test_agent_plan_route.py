"""What agents are told to run, and how an agent is retired and comes back; on both databases."""

import msgspec
import pytest

from api.config import ApiConfig
from api.query_models import AgentPlanModel, RetiredAgent
from pipeline.agent_plan import decode_agent_plan
from pipeline.plan import decode_plan
from store.connect import open_engine
from store.fleet import AgentReport, write_reports
from tests.api.test_queries_route import COUNTED, LATER_NS, SQL, STREAMS, Clock, post
from tests.api.world import INCARNATION, NOW_NS, SECOND_NS, asking, fill, probe_records

CONFIG = ApiConfig(streams=STREAMS, valid_from_lead_s=25)
PLAN = "/api/v1/agents/agent-host0/plan"
COUNTED_OTHERWISE = COUNTED.replace("probes_total", "probe_count")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(upgraded_url, clock, tmp_path):
    fill(tmp_path / "unused.db", probe_records(n=60), address=upgraded_url)
    with asking(upgraded_url, CONFIG, clock) as asked:
        yield asked


def planned(client, query):
    document = decode_agent_plan(client.get(PLAN).content)
    return [(one.version, one.valid_from_ns, one.valid_to_ns) for one in document.queries if one.query == query]


def test_an_agent_is_told_every_query_with_a_plan_it_can_decode(client):
    posted = post(client, name="probes").json()
    answer = client.get(PLAN)
    AgentPlanModel.model_validate_json(answer.content, strict=True)
    document = decode_agent_plan(answer.content)
    assert [one.query for one in document.queries] == ["probe_rtt", "probes"]
    for one in document.queries:
        assert decode_plan(one.plan).version == one.version
    assert planned(client, "probes") == [(posted["version"], None, None)]


def test_the_plan_is_the_same_for_an_agent_nobody_has_heard_of_whatever_its_id(client):
    wanted = client.get(PLAN)
    for agent in ("new", "a/b", "%00", "ä-Ω", "plan"):
        answer = client.get(f"/api/v1/agents/{agent}/plan")
        assert (answer.status_code, answer.content) == (200, wanted.content)


def test_an_unchanged_plan_is_an_empty_304_and_a_changed_one_is_not(client):
    etag = client.get(PLAN).headers["etag"]
    again = client.request("GET", PLAN, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    post(client, name="probes")
    assert client.request("GET", PLAN, headers={"If-None-Match": etag}).status_code == 200


def test_a_version_is_listed_until_an_hour_after_its_end(client, clock):
    first = post(client, name="probes").json()["version"]
    second = post(client, COUNTED_OTHERWISE, name="probes").json()["version"]
    both = [(first, None, LATER_NS), (second, LATER_NS, None)]
    assert planned(client, "probes") == both
    clock.now_ns = LATER_NS + 3599 * SECOND_NS
    assert planned(client, "probes") == both
    clock.now_ns = LATER_NS + 3600 * SECOND_NS
    assert planned(client, "probes") == [(second, None, None)], "what comes later still is stored by the next version"


def test_a_retired_query_is_named_as_such_and_its_time_belongs_to_nobody(client, clock):
    version = post(client, name="probes").json()["version"]
    client.request("DELETE", "/api/v1/queries/probes")
    assert planned(client, "probes") == [(version, None, LATER_NS)]
    assert decode_agent_plan(client.get(PLAN).content).retired == []
    clock.now_ns = LATER_NS + 7200 * SECOND_NS
    assert planned(client, "probes") == []
    assert decode_agent_plan(client.get(PLAN).content).retired == ["probes"]
    revived_ns = post(client, name="probes").json()["valid_from_ns"]
    assert planned(client, "probes") == [(version, revived_ns, None)]


def test_tables_are_named_with_the_place_to_fetch_them(client):
    entry = client.request("PUT", "/api/v1/tables/tors", content=b"tor,row\nt1,a\n").json()
    joined = (
        SQL.replace("probes GROUP", "probes JOIN tors AS r ON probes.tor = r.tor GROUP")
        .replace("SELECT tor,", "SELECT r.row AS row,")
        .replace(", tor", ", r.row")
    )
    assert post(client, joined, name="probes").status_code == 201
    document = decode_agent_plan(client.get(PLAN).content)
    (table,) = next(one for one in document.queries if one.query == "probes").tables
    assert msgspec.to_builtins(table) == {"name": "tors", "content_hash": entry["content_hash"], "url": entry["href"]}
    assert client.get(table.url).status_code == 200


def report(upgraded_url, sent_ns, incarnation=INCARNATION):
    engine = open_engine(upgraded_url)
    one = AgentReport("agent-host0", "host0", "m" * 32, incarnation, NOW_NS, sent_ns, {}, [])
    with engine.begin() as connection:
        write_reports(connection, [one], {("agent-host0", incarnation): NOW_NS}, sent_ns)
    engine.dispose()


def state(client):
    return {one["agent"]: one["state"] for one in client.get("/api/v1/agents").json()["agents"]}["agent-host0"]


def test_a_silent_agent_can_be_retired_and_is_expected_no_more(client, clock):
    clock.now_ns = NOW_NS + 20 * SECOND_NS
    before = client.over_the_minute("/api/v1/values", metric="probes_total").json()["coverage"]
    answer = client.request("DELETE", "/api/v1/agents/agent-host0")
    RetiredAgent.model_validate_json(answer.content, strict=True)
    assert (answer.status_code, state(client)) == (200, "retired")
    after = client.over_the_minute("/api/v1/values", metric="probes_total").json()["coverage"]
    assert (before["agents_expected"], after["agents_expected"]) == (2, 1)


def test_an_agent_that_is_alive_is_a_409_that_says_what_to_do(client):
    answer = client.request("DELETE", "/api/v1/agents/agent-host0")
    assert (answer.status_code, "stop it" in answer.json()["detail"], state(client)) == (409, True, "alive")


def test_an_unknown_agent_is_a_404_with_the_nearest_id(client):
    answer = client.request("DELETE", "/api/v1/agents/agent-hots0")
    assert (answer.status_code, answer.json()["nearest"]) == (404, "agent-host0")
    assert client.request("DELETE", "/api/v1/agents/%00").status_code == 404


def test_a_retired_agent_comes_back_with_its_next_report_but_not_with_one_made_before(client, clock, upgraded_url):
    clock.now_ns = NOW_NS + 20 * SECOND_NS
    client.request("DELETE", "/api/v1/agents/agent-host0")
    report(upgraded_url, NOW_NS + 10 * SECOND_NS)
    assert state(client) == "retired"
    report(upgraded_url, clock.now_ns + SECOND_NS)
    assert state(client) == "alive"


def test_a_retired_agent_comes_back_with_a_new_start_whatever_its_clock_says(client, clock, upgraded_url):
    clock.now_ns = NOW_NS + 20 * SECOND_NS
    client.request("DELETE", "/api/v1/agents/agent-host0")
    report(upgraded_url, NOW_NS + 15 * SECOND_NS, "f" * 32)
    assert state(client) == "alive"
