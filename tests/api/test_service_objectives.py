"""Which services there are, and what each has promised: set whole, strictly, and not over somebody else's change."""

import pytest

from api.service_models import ObjectiveAnswer, ServicesPage
from tests.api.recorded_world import POLICY, filled_services
from tests.api.test_lists import pages
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

PATH = "/api/v1/services/{}/objective"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('services') / 'tailwatch.db'}"
    filled_services(url)
    with asking(url) as asked:
        yield asked


def tag(answer):
    """Compression makes tags weak."""
    return answer.headers["etag"].removeprefix("W/")


def put(client, service="web", match=None, **settings):
    headers = {} if match is None else {"If-Match": match}
    return client.request("PUT", PATH.format(service), json=settings, headers=headers)


def test_services_are_listed_by_name_and_page_by_page(client):
    answer = client.get("/api/v1/services")
    ServicesPage.model_validate_json(answer.content, strict=True)
    found = {one["service"]: one for one in answer.json()["services"]}
    assert list(found)[:2] == ["ads", "search"]
    assert (found["search"]["target_ms"], found["search"]["version"], found["search"]["synthetic"]) == (80.0, 1, False)
    assert (found["ads"]["target_ms"], found["ads"]["version"], found["ads"]["synthetic"]) == (None, 0, True)
    assert found["ads"]["latest_ns"] <= NOW_NS
    assert client.get(found["ads"]["href"]).status_code == 200
    listed = pages(client, "/api/v1/services", limit=1)
    entries = [one["service"] for page in listed for one in page.json()["services"]]
    assert entries == list(found)


def test_an_objective_that_nobody_set_has_defaults_and_version_0(client):
    answer = client.get(PATH.format("ads"))
    ObjectiveAnswer.model_validate_json(answer.content, strict=True)
    one = answer.json()
    assert (tag(answer), one["version"], one["percentile"], one["target_ms"]) == ('"0"', 0, 0.99, None)
    again = client.request("GET", PATH.format("ads"), headers={"If-None-Match": '"0"'})
    assert (again.status_code, again.content) == (304, b"")


def test_an_objective_is_set_whole_and_its_service_is_there_from_then_on(client):
    first = put(client, "new", target_ms=80, threads=12, workers=24, max_degree=6, class_edges_ms=[30, 80.5])
    ObjectiveAnswer.model_validate_json(first.content, strict=True)
    assert (first.status_code, tag(first), first.json()["target_ms"]) == (200, '"1"', 80.0)
    assert (first.json()["changed_by"], first.json()["changed_ns"]) == ("somebody at 127.0.0.1", NOW_NS)
    second = put(client, "new", percentile=0.999, policy={"kind": "predictive", "degree": 3}).json()
    assert (second["version"], second["target_ms"], second["class_edges_ms"]) == (2, None, None)
    assert second["policy"] == {"kind": "predictive", "degree": 3, "long_ms": 80.0}
    assert client.get(PATH.format("new")).json() == second
    assert put(client, "new", policy=POLICY).json()["policy"] == POLICY


def test_a_policy_may_give_as_many_threads_as_a_request_may_have(client):
    policy = {"kind": "fixed", "degree": 3}
    assert put(client, "full", max_degree=3, workers=3, policy=policy).json()["policy"] == policy


def test_of_two_who_change_the_same_objective_the_second_is_told(client):
    etag = put(client, "both").headers["etag"]
    assert put(client, "both", etag, target_ms=10).status_code == 200
    problem = problem_of(put(client, "both", etag, target_ms=20))
    assert (problem["status"], "of version 2 now, and 1 was to be replaced" in problem["detail"]) == (412, True)
    assert client.get(PATH.format("both")).json()["target_ms"] == 10
    assert put(client, "fresh", '"0"', target_ms=20).status_code == 200
    assert put(client, "fresh", '"0"', target_ms=30).status_code == 412
    assert put(client, "both", "*").status_code == 200
    for odd in ("2", 'W/"1"', '"x"', '"1", "2"', '"99999999999"', '""'):
        assert problem_of(put(client, "both", odd))["status"] == 412


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"percentile": 1}, "percentile"),
        ({"percentile": 99}, "percentile"),
        ({"percentile": "0.9"}, "percentile"),
        ({"percentile": True}, "percentile"),
        ({"target_ms": 0}, "target_ms"),
        ({"target_ms": 1e300}, "target_ms is 1e+300; want a number above 0, at most a day"),
        ({"fan_out": 0}, "fan_out"),
        ({"fan_out": 1.5}, "fan_out"),
        ({"threads": 5_000}, "threads is 5000; want 1 to 4096"),
        ({"workers": 2, "max_degree": 3}, "max_degree is 3; want at most workers, 2"),
        ({"class_edges_ms": [80, 30]}, "class_edges_ms is (80.0, 30.0); want up to 15 rising numbers"),
        ({"explore_share": 0.7}, "explore_share is 0.7; want 0 to 0.5"),
        ({"window_days": 400}, "window_days"),
        ({"policy": {"kind": "magic"}}, "policy.kind is 'magic'; want one of"),
        ({"policy": {"kind": "fixed"}}, "policy has no degree"),
        ({"policy": {"kind": "fixed", "degree": 4}, "max_degree": 3}, "policy.degree is 4; want at most max_degree, 3"),
        ({"policy": {"kind": "predictive", "degree": 4}, "workers": 2}, "policy.degree is 4; want at most workers, 2"),
        ({"policy": {"kind": "fixed", "degree": 2, "speed": 1}}, "unknown field 'speed'"),
        ({"policy": {"kind": "tpc", "table": {"metric": "load", "width": 1, "targets_ms": [1]}}}, "table.metric"),
        ({"target": 80}, "takes no member 'target'; did you mean target_ms?"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_name(client, settings, words):
    problem = problem_of(put(client, "bad", **settings))
    assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]
    assert client.get(PATH.format("bad")).status_code == 404


def test_an_unknown_service_is_a_404_that_names_the_nearest(client):
    problem = problem_of(client.get(PATH.format("serach")))
    assert (problem["status"], problem["nearest"]) == (404, "search")
