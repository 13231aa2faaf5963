"""Whether to run a failed job again: as it was advised, computed now, of posted attempts; and the models behind it."""

import pytest

from analytics.gpu.retry_advice import RetryAdvice
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_state import dump_state, state_digest
from api.gpu_models import AdviceAnswer, AdviceList, RetryModels
from store.connect import open_engine
from store.gpu_advice import AdviceRow, put_advice
from store.gpu_failures import put_failure
from store.gpu_models import put_model
from tests.api.gpu_world import HOUR_NS, ODD_JOB, SLASHED, failure, found
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

PATH = "/api/v1/gpu/retry-advice"


@pytest.fixture
def client(gpu_client):
    return gpu_client


def advised(client, **parameters):
    answer = client.get(PATH, **parameters)
    assert answer.status_code == 200, answer.text
    AdviceAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()


def test_advice_is_what_was_advised_then_unless_it_is_asked_for_anew(client):
    stored = advised(client, job="train-7")
    assert (stored["stored"], stored["given_ns"], stored["model_generation"]) == (True, NOW_NS - HOUR_NS, None)
    fresh = advised(client, job="train-7", fresh="true")
    assert (fresh["stored"], fresh["given_ns"], fresh["model_generation"]) == (False, NOW_NS, 2)
    for answer in (stored, fresh):
        advice = answer["advice"]
        assert (advice["number"], advice["reason"], advice["decision"]) == (2, "nccl_timeout", "same")
        assert advice["why"][1] == "the same failure came 2 times in a row, on other nodes too: it is not the node"


def test_advice_is_computed_where_none_was_given_with_the_rules_reaction(client):
    first = advised(client, job="train-7", number="1")
    assert (first["stored"], first["advice"]["decision"]) == (False, "other_node")
    assert first["advice"]["avoid"] == ["gpu-1", "gpu-2"]
    assert advised(client, job=ODD_JOB)["advice"]["reason"] == ""


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"job": "nobody"}, 404, "nothing is known of job 'nobody'"),
        ({"job": "train-7", "number": "3"}, 404, "job 'train-7' has no attempt 3; known are 1, 2"),
        ({"job": "train-7", "number": "0"}, 400, "no whole number from 1"),
        ({"job": SLASHED}, 409, "attempt 1 of the job is passed"),
        ({"job": "running"}, 409, "attempt 1 of the job is running"),
        ({"job": "log-only"}, 409, "attempt 1 of the job was not reported"),
        ({}, 400, "job is missing"),
    ],
)
def test_where_no_advice_can_be_given_the_answer_says_why(client, parameters, status, words):
    problem = problem_of(client.get(PATH, **parameters))
    assert (problem["status"], words in problem["detail"]) == (status, True), problem["detail"]


def test_of_an_attempt_that_was_not_reported_no_advice_is_given_about_an_earlier_one(gpu_url):
    engine = open_engine(gpu_url)
    with engine.begin() as connection:
        put_failure(connection, failure("train-7", 3, 1, found("gpu_ecc", "gpu-9"), reported=False))
    engine.dispose()
    with asking(gpu_url) as client:
        for parameters in ({}, {"number": "3"}, {"fresh": "true"}):
            problem = problem_of(client.get(PATH, job="train-7", **parameters))
            assert problem["status"] == 409
            assert "attempt 3 of the job was not reported" in problem["detail"]


def post(client, attempts, **more):
    return client.request("POST", PATH, json={"attempts": attempts, **more})


FAILED = {"job": "a", "outcome": "failed", "reason": "gpu_oom", "gpus": 8, "started": "now-2h", "ended": "now-1h"}


def test_posted_attempts_get_the_document_that_the_command_line_prints(client):
    answer = post(client, [FAILED, {"job": "b", "outcome": "passed"}])
    AdviceList.model_validate_json(answer.content, strict=True)
    found = answer.json()
    assert (found["jobs"], found["failed"], found["state"]["generation"]) == (2, 1, 2)
    (advice,) = found["advice"]
    assert set(advice) == set(RetryAdvice.__dataclass_fields__)
    assert (advice["job"], advice["decision"], advice["grounds"]) == ("a", "never", ["rule"])
    assert post(client, [FAILED]).json()["advice"] == [advice]
    assert client.get("/api/v1/gpu/jobs/a").status_code == 404  # nothing is kept
    limited = post(client, [{**FAILED, "reason": "nccl_timeout"}], limits={"attempts": 1}).json()
    assert limited["advice"][0]["grounds"] == ["attempts"]
    assert post(client, []).json()["advice"] == []


def test_reasons_and_categories_that_nobody_knows_are_refused_with_their_place(client):
    wrong = {"job": "b", "reason": "gpu_omm", "category": "usr"}, {"job": "c", "reason": "-"}
    posted = [FAILED, *({**FAILED, **one} for one in wrong)]
    problem = problem_of(post(client, posted))
    assert problem["parameter"] == "attempts"
    assert problem["detail"] == (
        "attempts.1.reason='gpu_omm' is not known; did you mean gpu_oom? Else leave it out; "
        "attempts.1.category='usr' is not known; want ai_engine, infrastructure, user, or leave it out; "
        "attempts.2.reason='-' is not known; send one that a diagnosis gave, or leave it out"
    )


def test_posted_attempts_that_contradict_each_other_are_refused(client):
    problem = problem_of(post(client, [FAILED, FAILED]))
    assert problem["detail"] == "job 'a': two attempts of number 1; want each number once a job"
    assert problem_of(post(client, [FAILED], limits={"explore": 2}))["parameter"] == "limits.explore"


def test_going_back_to_an_earlier_state_changes_where_advice_comes_from(gpu_url):
    with asking(gpu_url) as client:
        answer = client.get("/api/v1/gpu/retry-models")
        RetryModels.model_validate_json(answer.content, strict=True)
        assert [(one["generation"], one["active"]) for one in answer.json()["models"]] == [(2, True), (1, False)]
        assert post(client, [FAILED]).json()["state"]["generation"] == 2
        back = client.request("POST", "/api/v1/gpu/retry-models/1/activate", json={"note": "ticket 7"})
        assert (back.status_code, back.json()["active"]) == (200, True)
        assert back.json()["note"] == "somebody at 127.0.0.1: ticket 7"
        assert post(client, [FAILED]).json()["state"]["generation"] == 1
        for generation, status in (("9", 404), ("x", 400), ("-1", 400)):
            answer = client.request("POST", f"/api/v1/gpu/retry-models/{generation}/activate", json={})
            assert problem_of(answer)["parameter"] == "generation"
            assert answer.status_code == status


def test_a_state_that_cannot_be_read_leaves_the_priors_and_the_log_says_so(gpu_url, caplog):
    engine = open_engine(gpu_url)
    with engine.begin() as connection:
        parent = state_digest(dump_state(RetryModel(seed=2, generation=2), _digest_of_first()))
        put_model(connection, 3, "sha256:0", parent, b"no state", "damaged", NOW_NS)
    engine.dispose()
    with asking(gpu_url) as client:
        for _ in range(2):
            assert post(client, [FAILED]).json()["state"]["generation"] == 0
        assert advised(client, job="train-7", fresh="true")["model_generation"] is None
    assert caplog.text.count("retry model cannot be used") == 1


def _digest_of_first():
    return state_digest(dump_state(RetryModel(seed=1, generation=1)))


def test_stored_advice_of_another_release_is_computed_anew(gpu_url):
    engine = open_engine(gpu_url)
    with engine.begin() as connection:
        row = AdviceRow(
            job="train-7", number=2, given_ns=NOW_NS, decision="later", probability=0.5, body='{"decision": "later"}'
        )
        put_advice(connection, row)
    engine.dispose()
    with asking(gpu_url) as client:
        assert not advised(client, job="train-7")["stored"]
        assert client.get("/api/v1/gpu/jobs/train-7").json()["failures"][1]["advice"] is None
