"""Questions about services that take long: asked once however often, listed, answered by others, cancelled."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from api.service_run_models import RunAsked, RunDetail, RunEntry, RunsPage
from store.connect import open_engine
from store.leases import take_lease
from store.tail_alerts import put_alerts
from store.tail_runs import LEASE, end_run, next_run, note_progress
from store.tail_targets import draft_table
from tests.api.services_world import BURN, MINUTE_NS, SINCE_NS, UNTIL_NS, filled_services
from tests.api.test_lists import pages
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, SECOND_NS, asking

BASE = "/api/v1/services/shop"
PATHS = {
    "what_if": f"{BASE}/what-if",
    "search": f"{BASE}/target-tables/search",
    "learn": f"{BASE}/speedup-profile/learn",
}
TABLE = {"kind": "tpc", "table": {"metric": "in_system", "width": 4.0, "targets_ms": [15.0, 40.0]}}
FIXED = {"candidate": {"kind": "fixed", "degree": 2}}


def ask(client, kind, body, path=None, **parameters):
    return client.request("POST", path or PATHS[kind], json=body, params=parameters or None)


def asked(client, kind, body, **parameters):
    answer = ask(client, kind, body, **parameters)
    assert answer.status_code == 202, answer.text
    RunAsked.model_validate_json(answer.content, strict=True)
    assert answer.headers["location"] == answer.json()["href"]
    return answer.json()


def test_a_what_if_is_queued_with_everything_that_was_left_out_filled_in(services_url):
    with asking(services_url) as client:
        run = asked(client, "what_if", {**FIXED, "start": str(SINCE_NS // 10**9), "end": "now", "workers": 8})
        assert run["request"] == {
            "start_ns": SINCE_NS, "end_ns": (NOW_NS // MINUTE_NS + 1) * MINUTE_NS, "instance": None,
            "candidate": {"kind": "fixed", "degree": 2}, "table_version": None, "load_multiplier": 1.0, "fan_out": 4,
            "threads": None, "workers": 8, "max_degree": None, "table_max_degree": None, "predictor": None,
        }  # fmt: skip
        assert (run["state"], run["new"], run["asked_by"]) == ("waiting", True, "somebody at 127.0.0.1")
        shown = client.get(run["href"])
        RunDetail.model_validate_json(shown.content, strict=True)
        assert (shown.json()["id"], shown.json()["answer"]) == (run["id"], None)


def test_policies_come_as_documents_in_words_and_by_the_version_of_a_table(services_url):
    with asking(services_url) as client:
        words = asked(client, "what_if", {"candidate": "fixed:2"})
        assert words["request"] == asked(client, "what_if", FIXED)["request"]
        table = asked(client, "what_if", {"table_version": 1, "predictor": {"sigma": 0.1}})["request"]
        assert (table["candidate"]["kind"], table["candidate"]["table"]["targets_ms"]) == ("tpc", [15.0, 40.0, 60.0])
        assert table["predictor"] == {"sigma": 0.1, "mistaken": 0.08, "from_ms": 30.0}


def test_searches_and_learnings_are_queued_as_well(services_url):
    with asking(services_url) as client:
        search = asked(client, "search", {"metric": "in_system", "note": "for the sale", "instance": "web-1"})[
            "request"
        ]
        wanted = {"metric": "in_system", "width": None, "p999_weight": 0.5, "mean_weight": 1.0, "note": "for the sale"}
        assert {name: search[name] for name in wanted} == wanted
        assert (search["instance"], search["mean_over_sequential"]) == ("web-1", 1.08)
        learn = asked(client, "learn", {"class_edges_ms": [10, 50]})["request"]
        assert (learn["class_edges_ms"], learn["instance"]) == ([10.0, 50.0], None)


def test_an_equal_question_has_one_run_until_it_has_ended(services_url):
    with asking(services_url) as client:
        first = asked(client, "what_if", FIXED)
        assert asked(client, "what_if", FIXED)["id"] == first["id"]
        other = asked(client, "what_if", FIXED, fresh="true")
        assert (other["id"] != first["id"], other["new"]) == (True, True)
        assert asked(client, "what_if", {**FIXED, "load_multiplier": 1.5})["new"]
        for run in (first, other):
            assert client.request("DELETE", run["href"]).status_code == 200
        assert asked(client, "what_if", FIXED)["new"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_that_ask_the_same_at_once_get_one_run(kind, services_url, request):
    if kind == "postgresql":
        services_url = filled_services(request.getfixturevalue("postgres_url"))
    together = Barrier(2)
    with asking(services_url) as client, ThreadPoolExecutor(2) as threads:

        def one(_):
            together.wait(30)
            return asked(client, "what_if", FIXED)

        found = list(threads.map(one, range(2)))
    assert found[0]["id"] == found[1]["id"]
    assert sorted(run["new"] for run in found) == [False, True]


def test_more_questions_than_may_wait_are_refused_until_some_are_answered(services_url):
    with asking(services_url) as client:
        waiting = len(client.get(f"{BASE}/runs", state="waiting").json()["runs"])
        for n in range(20 - waiting):
            assert asked(client, "what_if", {**FIXED, "load_multiplier": 2 + n})["new"]
        answer = ask(client, "what_if", {**FIXED, "load_multiplier": 1.9})
        problem = problem_of(answer)
        assert (problem["status"], answer.headers["retry-after"]) == (429, "60")
        assert "at most 20 may" in problem["detail"]
        assert asked(client, "what_if", {**FIXED, "load_multiplier": 2})["new"] is False
        newest = client.get(f"{BASE}/runs", limit=1).json()["runs"][0]
        client.request("DELETE", newest["href"])
        assert asked(client, "what_if", {**FIXED, "load_multiplier": 1.9})["new"]


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("what_if", {}, 400, "exactly one of candidate"),
        ("what_if", {**FIXED, "table_version": 1}, 400, "exactly one of candidate"),
        ("what_if", {"candidate": {"kind": "fixed"}}, 400, "policy has no degree"),
        ("what_if", {"candidate": {"kind": "fixed", "degree": 2, "speed": 1}}, 400, "unknown field 'speed'"),
        ("what_if", {"candidate": "fixed:many"}, 400, "want a number"),
        ("what_if", {"candidate": "fixed:4"}, 400, "max_degree is 3"),
        ("what_if", {"candidate": "{" * 900}, 400, "no JSON"),
        ("what_if", {"table_version": 9}, 404, "newest are 1"),
        ("what_if", {**FIXED, "load_multiplier": 0}, 400, "load_multiplier"),
        ("what_if", {**FIXED, "load_multiplier": "2"}, 400, "load_multiplier: Input should be a valid number"),
        ("what_if", {**FIXED, "threads": 5_000}, 400, "threads"),
        ("what_if", {**FIXED, "workers": 2}, 400, "max_degree=3 is more than the 2 workers"),
        ("what_if", {**FIXED, "fan_out": True}, 400, "fan_out"),
        ("what_if", {**FIXED, "predictor": {"recall": 0.9}}, 400, "predictor.recall"),
        ("what_if", {**FIXED, "start": "-3d", "end": "-2d"}, 409, "the newest recorded request came at"),
        ("what_if", {**FIXED, "start": "now", "end": "-1h"}, 400, "is not before"),
        ("what_if", {**FIXED, "instance": "web-7"}, 404, "leave instance out"),
        ("search", {"metric": "threads"}, 400, "metric"),
        ("search", {"width": 0}, 400, "width"),
        ("search", {"mean_over_sequential": 0.9}, 400, "mean_over_sequential"),
        ("learn", {"class_edges_ms": [50, 10]}, 400, "do not rise"),
        ("learn", {"class_edges_ms": [0]}, 400, "do not rise"),
        ("learn", {"clas_edges_ms": []}, 400, "did you mean class_edges_ms?"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused_at_once(services_client, kind, body, status, words):
    problem = problem_of(ask(services_client, kind, body))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


@pytest.mark.parametrize("kind", PATHS)
def test_services_of_which_too_little_is_known_are_told_what_to_do(services_client, kind):
    body = FIXED if kind == "what_if" else {}
    for service, status, words in (
        ("nobody", 404, "unknown service 'nobody'"),
        ("new", 409, "PUT /api/v1/services/new/objective"),
        ("quiet", 409, "POST /api/v1/services/quiet/requests"),
    ):
        path = PATHS[kind].replace("/shop/", f"/{service}/", 1)
        problem = problem_of(ask(services_client, kind, body, path))
        assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


def test_runs_are_listed_the_newest_first_by_pages_kind_and_state(services_client):
    answer = services_client.get(f"{BASE}/runs")
    RunsPage.model_validate_json(answer.content, strict=True)
    runs = answer.json()["runs"]
    assert [(run["kind"], run["state"]) for run in runs] == [
        ("what_if", "waiting"), ("what_if", "done"), ("learn", "refused")
    ]  # fmt: skip
    paged = [run["id"] for page in pages(services_client, f"{BASE}/runs", limit=1) for run in page.json()["runs"]]
    assert paged == [run["id"] for run in runs]
    for parameters, wanted in (({"kind": "learn"}, runs[2:]), ({"state": "done"}, runs[1:2]), ({"kind": "search"}, [])):
        assert services_client.get(f"{BASE}/runs", **parameters).json()["runs"] == wanted
    for parameters, words in (
        ({"kind": "whatif"}, "did you mean what_if?"),
        ({"state": "ended"}, "There are waiting, running"),
        ({"cursor": "aG9zdA"}, "cursor is not one"),
        ({"limit": 0}, "limit=0"),
    ):
        problem = problem_of(services_client.get(f"{BASE}/runs", **parameters))
        assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]


def test_a_run_shows_its_progress_and_its_answer_or_why_there_is_none(services_client):
    waiting, done, refused = services_client.get(f"{BASE}/runs").json()["runs"]
    assert services_client.get(done["href"]).json()["answer"] == {"answered": True}
    assert services_client.get(refused["href"]).json()["error"] == "all predictions are the same"
    assert services_client.get(waiting["href"]).json()["progress"] == 0
    for path in (f"{BASE}/runs/nothing", done["href"].replace("/shop/", "/quiet/", 1)):
        assert (problem_of(services_client.get(path))["status"]) == 404
    assert "unknown service" in problem_of(services_client.get("/api/v1/services/nobody/runs"))["detail"]


def test_what_waits_or_runs_can_be_cancelled_and_what_has_ended_cannot(services_url):
    with asking(services_url) as client:
        waiting, done, _ = client.get(f"{BASE}/runs").json()["runs"]
        answer = client.request("DELETE", waiting["href"])
        RunEntry.model_validate_json(answer.content, strict=True)
        assert answer.json()["state"] == client.request("DELETE", waiting["href"]).json()["state"] == "cancelled"
        problem = problem_of(client.request("DELETE", done["href"]))
        assert (problem["status"], "is done already" in problem["detail"]) == (409, True)
        running = asked(client, "learn", {})
        engine = open_engine(services_url)
        with engine.begin() as connection:
            taken = next_run(connection, "collector-1", NOW_NS)
        assert (taken.id, client.get(running["href"]).json()["state"]) == (running["id"], "running")
        assert client.request("DELETE", running["href"]).json()["state"] == "cancelled"
        with engine.begin() as connection:
            assert not end_run(connection, taken.id, "collector-1", "done", NOW_NS, answer={})
        engine.dispose()
        assert client.get(running["href"]).json()["answer"] is None


def test_a_run_whose_collector_was_killed_says_until_when_and_then_that_nobody_works_on_it(services_url):
    engine = open_engine(services_url)
    with asking(services_url) as client:
        href = client.get(f"{BASE}/runs").json()["runs"][0]["href"]
        assert client.get(href).json()["held_until_ns"] is None, "it waits"

        def shown(owner, until_ns):
            with engine.begin() as connection:
                assert take_lease(connection, LEASE, owner, until_ns - 120 * SECOND_NS, 120 * SECOND_NS)
            run = client.get(href).json()
            assert run == {**client.get(f"{BASE}/runs").json()["runs"][0], "answer": None, "notes": []}
            return run["state"], run["held_until_ns"], run["progress_text"]

        with engine.begin() as connection:
            taken = next_run(connection, "dies", NOW_NS)
            assert note_progress(connection, taken.id, "dies", 0.5, "replaying")
        until_ns = NOW_NS + 20 * SECOND_NS
        assert shown("dies", until_ns) == ("running", until_ns, "replaying")
        gone = "whoever worked on it is gone; the next collector begins it anew"
        assert shown("dies", NOW_NS) == ("running", None, gone)
        assert shown("next", NOW_NS + 120 * SECOND_NS) == ("running", None, gone), "which has not come to it yet"
    engine.dispose()


def test_a_table_with_most_threads_of_its_own_is_asked_about_with_these(services_url):
    engine = open_engine(services_url)
    with engine.begin() as connection:
        own = draft_table(connection, "shop", TABLE, NOW_NS, max_degree=2)
    engine.dispose()
    with asking(services_url) as client:
        assert asked(client, "what_if", {"table_version": 1})["request"]["table_max_degree"] is None
        request = asked(client, "what_if", {"table_version": own.version})["request"]
        assert (request["max_degree"], request["table_max_degree"]) == (None, 2)


def test_a_promise_that_no_policy_can_keep_is_told_with_every_run(services_url):
    text = "p99 within 20 ms cannot be kept"
    engine = open_engine(services_url)
    with engine.begin() as connection:
        alert = type(BURN)("objective_unreachable", "ticket", True, UNTIL_NS, "", text, {})
        put_alerts(connection, "shop", [alert], NOW_NS)
    engine.dispose()
    with asking(services_url) as client:
        run = asked(client, "search", {})
        assert run["notes"] == client.get(run["href"]).json()["notes"] == [text]
