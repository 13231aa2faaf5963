"""Queries as resources: posted, checked, changed, listed, retired; on both databases."""

import json
import sqlite3

import pytest

from api.config import ApiConfig
from api.query_models import PostedQuery, QueriesPage, QueryAnswer, QueryVersions, RetiredQuery
from store.connect import open_engine, upgrade
from store.registry import register_queries
from tests.api.world import NOW_NS, SECOND_NS, WINDOW_NS, asking, fill, probe_plan, probe_records

STREAMS = {"probes": {"ts": "int64", "host": "string", "tor": "string", "rtt_us": "int64"}}
CONFIG = ApiConfig(streams=STREAMS, valid_from_lead_s=25)
SQL = "SELECT tor, sketch(rtt_us) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), tor"
COUNTED = SQL.replace("sketch(rtt_us) AS rtt_us", "sketch(rtt_us) AS rtt_us, count(*) AS probes_total")
LATER_NS = -(-(NOW_NS + 25 * SECOND_NS) // WINDOW_NS) * WINDOW_NS


class Clock:
    """A clock that tests move."""

    now_ns = NOW_NS

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client(upgraded_url, clock):
    with asking(upgraded_url, CONFIG, clock) as asked:
        yield asked


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A client for what is refused before the database is asked: one database does for all."""
    url = f"sqlite:///{tmp_path_factory.mktemp('queries') / 'tailwatch.db'}"
    upgrade(url)
    with asking(url, CONFIG) as asked:
        yield asked


def post(client, sql=SQL, check=None, **body):
    return client.request(
        "POST", "/api/v1/queries", json={"sql": sql} | body, params={} if check is None else {"check": check}
    )


def test_a_posted_query_is_a_resource_that_runs_for_all_time(client):
    answer = post(client, name="probes")
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/v1/queries/probes")
    PostedQuery.model_validate_json(answer.content, strict=True)
    posted = answer.json()
    assert (posted["outcome"], posted["valid_from"], posted["source"], posted["labels"], posted["sql"]) == (
        "created", None, "probes", ["tor"], SQL,
    )  # fmt: skip
    assert posted["metrics"] == [{"name": "rtt_us", "function": "sketch", "unit": "us"}]
    assert posted["stages"][-1] == {"kind": "aggregate", "text": "rtt_us per 10 s by tor"}
    page = client.get("/api/v1/queries")
    QueriesPage.model_validate_json(page.content, strict=True)
    (entry,) = page.json()["queries"]
    assert (entry["name"], entry["state"], entry["version"]) == ("probes", "running", posted["version"])
    assert client.get("/api/v1/metrics").json()["metrics"][0]["name"] == "rtt_us"


def test_a_stage_that_extracts_is_shown_in_words(client):
    sql = SQL.replace("tor", "REGEXP_EXTRACT(tor, '([0-9]+)') AS number", 1).replace(", tor", ", number")
    posted = post(client, sql, name="numbers").json()
    assert {"kind": "extract", "text": "REGEXP_EXTRACT(tor, '([0-9]+)', 1) AS #extract1"} in posted["stages"]


def test_the_same_content_again_changes_nothing_and_says_so(client):
    first, again = post(client, name="probes"), post(client, SQL.lower().replace("second", "SECOND"), name="probes")
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    assert again.json()["version"] == first.json()["version"]
    assert len(client.get("/api/v1/queries/probes/versions").json()["versions"]) == 1


def test_a_query_without_a_name_is_called_after_its_first_metric(client):
    assert post(client).json()["name"] == "rtt_us"
    assert post(client).json()["outcome"] == "unchanged"


def test_a_change_begins_at_a_window_start_that_lies_ahead(client, clock):
    first, changed = post(client, name="probes").json(), post(client, COUNTED, name="probes").json()
    assert (changed["outcome"], changed["valid_from_ns"]) == ("changed", LATER_NS)
    answer = client.get("/api/v1/queries/probes")
    QueryAnswer.model_validate_json(answer.content, strict=True)
    before = answer.json()
    assert (before["state"], before["version"], before["next"]["version"], before["next"]["valid_from_ns"]) == (
        "changing", first["version"], changed["version"], LATER_NS,
    )  # fmt: skip
    clock.now_ns = LATER_NS
    after = client.get("/api/v1/queries/probes").json()
    assert (after["state"], after["version"], after["next"]) == ("running", changed["version"], None)
    versions = client.get("/api/v1/queries/probes/versions")
    QueryVersions.model_validate_json(versions.content, strict=True)
    spans = [(span["version"], span["valid_from_ns"], span["valid_to_ns"]) for span in versions.json()["spans"]]
    assert spans == [(first["version"], None, LATER_NS), (changed["version"], LATER_NS, None)]


def test_what_was_to_begin_at_the_same_window_is_replaced(client):
    first = post(client, name="probes").json()
    post(client, COUNTED, name="probes")
    back = post(client, name="probes").json()
    assert (back["outcome"], back["valid_from_ns"]) == ("changed", LATER_NS)
    spans = client.get("/api/v1/queries/probes").json()["spans"]
    assert [span["version"] for span in spans] == [first["version"]]


def test_a_check_says_what_would_happen_and_changes_nothing(client):
    answer = post(client, check="true", name="probes")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "created")
    assert client.get("/api/v1/queries").json()["queries"] == []
    post(client, name="probes")
    assert post(client, COUNTED, check="true", name="probes").json()["outcome"] == "changed"
    assert client.get("/api/v1/queries/probes").json()["next"] is None


def test_a_mistake_in_the_sql_is_shown_with_line_column_caret_and_what_is_allowed(client):
    answer = post(client, SQL.replace("sketch(rtt_us)", "\nsketch(rtt)"), name="probes")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "urn:tailwatch:problem:bad-query")
    assert (problem["line"], problem["column"]) == (2, 8)
    assert problem["caret"].splitlines() == [
        "sketch(rtt) AS rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), tor",
        "       ^",
    ]
    assert "rtt_us" in problem["allowed"]
    assert client.get("/api/v1/queries").json()["queries"] == []


def test_a_metric_of_another_query_is_a_409_that_names_the_owner(client):
    post(client, name="probes")
    answer = post(client, COUNTED, name="others")
    assert (answer.status_code, answer.json()["owners"]) == (409, {"rtt_us": "probes"})
    assert [query["name"] for query in client.get("/api/v1/queries").json()["queries"]] == ["probes"]


def test_a_metric_that_would_mean_something_else_is_a_409(client):
    post(client, name="probes")
    answer = post(client, SQL.replace("sketch", "max"), name="probes")
    assert (answer.status_code, "would become max of integers" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "sql is missing"),
        ({"sql": SQL, "nmae": "x"}, "no member 'nmae'; did you mean name?"),
        ({"sql": 5}, "sql"),
        ({"sql": SQL + "\x00"}, "zero byte"),
        ({"sql": SQL, "name": "Probes"}, "query name 'Probes'"),
        ({"sql": SQL, "name": "p" * 200}, "at most 128"),
        ({"sql": SQL, "scale": 9}, "want 0..8"),
        ({"sql": SQL, "streams": {"probes": {"other": "int64"}}}, "other columns"),
        ({"sql": SQL, "streams": {"x": {"y": "int"}}}, "did you mean 'int64'"),
        ({"sql": SQL, "tables": [{"name": "hosts", "content_hash": "f"}]}, "no content 'f'"),
        ({"sql": ""}, "empty"),
        ([], "no JSON object"),
    ],
)
def test_a_body_that_cannot_be_used_is_a_400_that_says_why(unchanged, body, words):
    answer = unchanged.request("POST", "/api/v1/queries", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"sql": "\\ud800"}', b'{"\\ud800": 1}', b""])
def test_a_body_that_is_no_json_is_a_400(unchanged, content):
    headers = {"Content-Type": "application/json"}
    assert unchanged.request("POST", "/api/v1/queries", content=content, headers=headers).status_code == 400


def test_an_unknown_parameter_of_a_post_is_named(client):
    answer = client.request("POST", "/api/v1/queries?chek=true", json={"sql": SQL})
    assert (answer.status_code, answer.json()["nearest"]) == (400, "check")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/queries", "GET, POST"),
        ("POST", "/api/v1/queries/probes", "DELETE, GET"),
        ("PUT", "/api/v1/queries/probes/versions", "GET"),
        ("PUT", "/api/v1/agents/a/b", "DELETE, GET"),
        ("PUT", "/api/v1/agents/a/b/plan", "DELETE, GET"),
        ("PUT", "/api/v1/metrics", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_a_405_that_names_all_it_takes(unchanged, method, path, allowed):
    answer = unchanged.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert f"takes {allowed}, not {method}" in answer.json()["detail"]


def test_a_stream_that_only_the_body_names_can_be_read(client):
    sql = "SELECT rack, max(load_ratio) AS load_ratio FROM racks GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), rack"
    assert post(client, sql).status_code == 400
    answer = post(client, sql, streams={"racks": {"rack": "string", "load_ratio": "float64"}})
    assert (answer.status_code, answer.json()["name"]) == (201, "load_ratio")


def test_a_retired_query_ends_at_a_window_start_keeps_its_names_and_can_be_revived(client, clock):
    first = post(client, name="probes").json()
    answer = client.request("DELETE", "/api/v1/queries/probes")
    RetiredQuery.model_validate_json(answer.content, strict=True)
    assert (answer.status_code, answer.json()["valid_until_ns"]) == (200, LATER_NS)
    assert client.get("/api/v1/queries/probes").json()["state"] == "retiring"
    clock.now_ns = LATER_NS + 100 * SECOND_NS
    again = client.request("DELETE", "/api/v1/queries/probes")
    assert (again.status_code, again.json()["valid_until_ns"]) == (200, LATER_NS)
    gone = client.get("/api/v1/queries/probes").json()
    assert (gone["state"], gone["version"]) == ("retired", first["version"])
    assert post(client, COUNTED, name="others").status_code == 409
    assert client.get("/api/v1/quantiles", metric="rtt_us").status_code == 200
    revived = post(client, name="probes").json()
    assert (revived["outcome"], revived["version"]) == ("revived", first["version"])
    assert revived["valid_from_ns"] >= clock.now_ns + 25 * SECOND_NS
    assert client.get("/api/v1/queries/probes").json()["state"] == "reviving"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/versions"), ("DELETE", "")])
def test_an_unknown_query_is_a_404_with_the_nearest_name(client, method, path):
    post(client, name="probes")
    answer = client.request(method, f"/api/v1/queries/probs{path}")
    assert (answer.status_code, answer.json()["nearest"]) == (404, "probes")
    assert client.request(method, f"/api/v1/queries/%00{path}").status_code == 404


def test_a_file_does_not_take_back_what_was_posted(client, upgraded_url):
    from_file = probe_plan()
    engine = open_engine(upgraded_url)
    with engine.begin() as connection:
        register_queries(connection, [from_file], NOW_NS - SECOND_NS)
    entry = client.get("/api/v1/queries/probe_rtt").json()
    assert (entry["posted"], entry["sql"], entry["version"]) == (False, None, from_file.version)
    changed = SQL.replace("AS rtt_us", "AS probe_rtt_us")
    assert post(client, changed, name="probe_rtt").json()["outcome"] == "changed"
    with engine.begin() as connection:
        register_queries(connection, [from_file], NOW_NS)
    entry = client.get("/api/v1/queries/probe_rtt").json()
    assert (entry["posted"], entry["state"], len(entry["spans"])) == (True, "changing", 2)
    client.request("DELETE", "/api/v1/queries/probe_rtt")
    with engine.begin() as connection:
        register_queries(connection, [from_file], NOW_NS)
    assert client.get("/api/v1/queries/probe_rtt").json()["state"] == "retiring"
    engine.dispose()


def test_queries_come_in_pages(client):
    for name in ("a", "b", "c"):
        post(client, SQL.replace("AS rtt_us", f"AS {name}_us"), name=name)
    first = client.get("/api/v1/queries", limit=2).json()
    rest = client.get("/api/v1/queries", limit=2, cursor=first["next_cursor"]).json()
    assert [query["name"] for query in first["queries"] + rest["queries"]] == ["a", "b", "c"]
    assert rest["next_cursor"] is None


def test_a_database_that_somebody_else_writes_is_a_503_and_nothing_happened(tmp_path, monkeypatch):
    world = fill(tmp_path / "locked.db", probe_records(n=60))
    monkeypatch.setattr("store.connect._SQLITE_WAIT_S", 0)
    with asking(world.url, CONFIG) as client:
        blocker = sqlite3.connect(world.path)
        blocker.execute("BEGIN IMMEDIATE")
        answer = post(client, name="locked_out")
        blocker.close()
        assert (answer.status_code, "writing" in answer.json()["detail"]) == (503, True)
        assert "retry-after" in answer.headers
        assert [query["name"] for query in client.get("/api/v1/queries").json()["queries"]] == ["probe_rtt"]


def test_a_database_that_can_only_be_read_is_a_503_that_says_so(tmp_path, monkeypatch):
    world = fill(tmp_path / "readonly.db", probe_records(n=60))
    monkeypatch.setattr("api.writing.open_engine", lambda url, **_: open_engine(url, read_only=True))
    with asking(world.url, CONFIG) as client:
        answer = post(client, name="probes")
        assert (answer.status_code, "only be read" in answer.json()["detail"]) == (503, True)
        assert client.over_the_minute("/api/v1/values", metric="probes_total").status_code == 200


def test_the_reference_names_every_member_of_an_entry(client):
    from pathlib import Path

    post(client, name="probes")
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text()
    (entry,) = client.get("/api/v1/queries").json()["queries"]
    assert [member for member in json.loads(json.dumps(entry)) if f"`{member}`" not in reference] == []
