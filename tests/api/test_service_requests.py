"""Recorded requests over HTTP: each batch once, in any form, with what was left out and why."""

import gzip
import json
from contextlib import ExitStack

import msgspec
import numpy as np
import pytest

from api.service_models import RequestsTaken
from api.service_samples import LARGE_AT_ONCE
from store.connect import open_engine
from store.tail_batches import read_columns
from tests.api.recorded_world import filled_services
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, SECOND_NS, asking

GOOD = {"wait_ms": 1, "service_ms": 2.5, "predicted_ms": 2, "raised_ms": 0.5, "long_threads": 3, "table_version": 7}
PATH = "/api/v1/services/{}/requests"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A client of a database of these tests' own, and its address."""
    url = f"sqlite:///{tmp_path_factory.mktemp('services') / 'tailwatch.db'}"
    filled_services(url)
    with asking(url) as asked:
        yield asked, url


def post(client, records, service="web", kind="application/json", headers=None, **given):
    body = records if isinstance(records, bytes) else json.dumps(records).encode()
    return client.request(
        "POST", PATH.format(service), content=body, params=given, headers={"Content-Type": kind} | (headers or {})
    )


def stored(url, service="web"):
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection:
        found = read_columns(connection, service, 0, 2**62, 10**6)
    engine.dispose()
    return found


def test_requests_are_kept_with_all_that_they_tell(own):
    client, url = own
    sent = [GOOD | {"arrival_ns": NOW_NS - SECOND_NS, "weight": 3, "explored": True}, GOOD]
    answer = post(client, sent, "told", instance="i-1", batch="b")
    RequestsTaken.model_validate_json(answer.content, strict=True)
    assert answer.json() == {"accepted": 2, "left_out": {}, "why": {}, "ignored_fields": [], "duplicate": False}
    found = stored(url, "told")
    assert found.instances == ("i-1",)
    assert found.columns["arrival_ns"].tolist() == [NOW_NS - SECOND_NS, NOW_NS - 3_500_000]
    for name, values in {
        "wait_us": [1_000.0] * 2, "service_us": [2_500.0] * 2, "predicted_us": [2_000.0] * 2, "raised_us": [500.0] * 2,
        "long_threads": [3, 3], "table_version": [7, 7], "weight": [3, 1], "explored": [1, 0], "degree": [-1, -1],
    }.items():  # fmt: skip
        assert found.columns[name].tolist() == values, name
    assert np.isnan(found.columns["cpu_us"]).all()


@pytest.mark.parametrize(
    ("degrees", "said"),
    [
        ({"degree": 0}, "record 2 has degree 0"),
        ({"degree": 4, "degree_final": 2}, "record 2 has degree 4 and degree_final 2"),
        ({"degree_final": 0}, "record 2 has degree_final 0"),
        ({"degree": 2, "degree_final": 4_097}, "record 2 has degree 2 and degree_final 4097"),
    ],
)
def test_degrees_that_cannot_be_are_refused_by_record_with_what_was_seen_and_what_is_wanted(own, degrees, said):
    client, url = own
    service = f"threads-{said[9:]}".replace(" ", "-")
    answer = post(client, [GOOD, GOOD | degrees, GOOD | {"degree": 2, "degree_final": 4_096}], service).json()
    assert (answer["accepted"], answer["left_out"]) == (2, {"bad_degree": 1})
    assert answer["why"] == {
        "bad_degree": "a request begins with 1 thread or more, and ends with as many or more, at most 4096; " + said
    }
    assert stored(url, service).columns["degree"].tolist() == [-1, 2]
    alone = problem_of(post(client, [7, GOOD | degrees], service))
    assert alone["status"] == 400
    assert f"at most 4096; {said.replace('record 2', 'record 1 of those that can be read')}" in alone["detail"]


FORMS = {
    "array": (json.dumps([GOOD]).encode(), "application/json"),
    "lines": (json.dumps(GOOD).encode() + b"\n", "application/x-ndjson; charset=utf-8"),
    "envelope": (json.dumps({"service": "forms", "requests": [GOOD]}).encode(), "application/json"),
    "msgpack": (msgspec.msgpack.encode([GOOD]), "application/msgpack"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_a_batch_may_come_in_several_forms(own, form, packed):
    body, kind = FORMS[form]
    headers = {"Content-Encoding": "gzip"} if packed else {}
    answer = post(own[0], gzip.compress(body) if packed else body, "forms", kind, headers)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)


def test_a_batch_that_is_sent_again_counts_once_and_one_without_a_name_as_often_as_it_comes(own):
    client, url = own
    answers = [post(client, [GOOD] * 3, "again", batch="b 1", instance="one").json() for _ in range(3)]
    assert [(one["accepted"], one["duplicate"]) for one in answers] == [(3, False), (0, True), (0, True)]
    assert post(client, [GOOD], "again", batch="b 1", instance="other").json()["accepted"] == 1
    for _ in range(2):
        assert post(client, [GOOD], "again").json()["accepted"] == 1
    found = stored(url, "again")
    assert (len(found), found.instances) == (6, ("one", "other", "127.0.0.1"))


def test_what_cannot_be_kept_is_left_out_alone_and_said(own):
    client, url = own
    day_s = 86_400
    old, ahead = NOW_NS // SECOND_NS - 15 * day_s, NOW_NS // SECOND_NS + 3_700
    records = [
        GOOD, GOOD | {"arrival_s": old}, GOOD | {"arrival_s": ahead}, GOOD | {"arrival_s": old + 2 * day_s},
        GOOD | {"service": "other"}, {"wait_ms": 1}, {"wait_ms": 1, "service_us": 0}, {"wait": 3}, {"service_ms": -1},
        7, GOOD | {"trace": "x"},
    ]  # fmt: skip
    answer = post(client, records, "odd").json()
    assert answer["accepted"] == 3
    assert answer["left_out"] == {
        "time_off": 2, "other_service": 1, "no_service_time": 2, "no_unit": 1, "bad_values": 1, "no_record": 1
    }  # fmt: skip
    assert answer["ignored_fields"] == ["trace"]
    assert answer["why"].keys() == answer["left_out"].keys()
    assert len(stored(url, "odd")) == 3
    text = client.get("/metrics").text
    assert 'tailwatch_api_recorded_requests_total{result="time_off"}' in text
    assert 'tailwatch_api_recorded_requests_total{result="accepted"}' in text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{oops", 400, "malformed (1): it is neither JSON"),
        (b"", 400, "malformed"),
        (b'[{"wait_ms": 1}]', 400, "no_service_time (1)"),
        (b"[" + b"{}," * 100_001 + b"{}]", 413, "more than 100,000 records"),
    ],
)
def test_a_body_of_which_nothing_can_be_kept_is_refused(own, body, status, words):
    client, url = own
    problem = problem_of(post(client, body, "useless"))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]
    assert len(stored(url, "useless")) == 0


def test_nothing_is_no_mistake_and_makes_no_service(own):
    client, _ = own
    assert post(client, [], "nothing").json()["accepted"] == 0
    assert client.get("/api/v1/services/nothing/objective").status_code == 404


def test_types_encodings_and_packed_bombs_are_refused(own):
    client, _ = own
    assert problem_of(post(client, [GOOD], kind="text/plain"))["status"] == 415
    assert problem_of(post(client, [GOOD], headers={"Content-Encoding": "br"}))["status"] == 415
    packed = {"Content-Encoding": "gzip"}
    assert "pack it again" in problem_of(post(client, [GOOD], headers=packed))["detail"]
    assert "ends in the middle" in problem_of(post(client, gzip.compress(b"[]" * 99)[:-9], headers=packed))["detail"]
    bomb = problem_of(post(client, gzip.compress(b" " * 40_000_000), headers=packed))
    assert (bomb["status"], bomb["limit"]) == (413, 32 * 2**20)


@pytest.mark.parametrize(
    ("given", "parameter"),
    [({"instance": ""}, "instance is ''"), ({"batch": "\x00"}, "batch"), ({"synthetic": "yes"}, "synthetic='yes'"),
     ({"batch": "b 1"}, "batch='b 1' without instance"),
     ({"batch": "x" * 129}, "batch"), ({"name": "x"}, "takes no parameter 'name'")],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_named(own, given, parameter):
    problem = problem_of(post(own[0], [GOOD], **given))
    assert (problem["status"], parameter in problem["detail"]) == (400, True), problem["detail"]


def test_few_large_bodies_are_read_at_a_time_and_small_ones_meanwhile(own, monkeypatch):
    client, _ = own
    monkeypatch.setattr("api.service_samples.LARGE_BYTES", 200)
    monkeypatch.setattr("api.service_samples._LARGE_WITHIN_S", 0)
    bodies = client.app.state.large_bodies
    with ExitStack() as held:
        for _ in range(LARGE_AT_ONCE):
            held.enter_context(bodies.place_for(b"x" * 201))
        busy = post(client, [GOOD] * 9, "large")
        assert (problem_of(busy)["status"], "retry-after" in busy.headers) == (503, True)
        assert post(client, [GOOD], "large").status_code == 200
    assert post(client, [GOOD] * 9, "large").json()["accepted"] == 9


def test_a_small_body_that_unpacks_to_a_large_one_needs_a_place_too(own, monkeypatch):
    client, _ = own
    packed = gzip.compress(json.dumps([GOOD] * 50).encode())
    monkeypatch.setattr("api.service_samples.LARGE_BYTES", len(packed) + 1)
    monkeypatch.setattr("api.service_samples._LARGE_WITHIN_S", 0)
    bodies = client.app.state.large_bodies
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    path = "/api/v1/services/packed/requests"
    with ExitStack() as held:
        for _ in range(LARGE_AT_ONCE):
            held.enter_context(bodies.place_for(b"x" * (len(packed) + 2)))
        assert client.request("POST", path, content=packed, headers=headers).status_code == 503
    assert client.request("POST", path, content=packed, headers=headers).json()["accepted"] == 50


def test_services_beyond_the_limit_are_refused_clearly(own, monkeypatch):
    monkeypatch.setattr("store.tail_services.SERVICES_MAX", 1)
    problem = problem_of(post(own[0], [GOOD], "one-more"))
    assert problem["status"] == 409
    assert "'one-more' is new, and there are 1 services already" in problem["detail"]
