"""POST /api/v1/gpu/classify: logs of any form and size, read while they come, and every refusal in words."""

import gzip
import json
import shutil
import threading
import tracemalloc

import anyio
import pytest

from analytics.errors import MissingLibraryError
from analytics.gpu.classifier import diagnose_logs
from analytics.gpu.cleaning import Origin
from api import log_classifier, log_stream
from api.config import ApiConfig, GpuConfig
from api.gpu_models import ClassifyAnswer
from store.api_keys import create_key
from store.connect import open_engine
from store.gpu_advice import advice_of
from store.gpu_failures import failures_of
from tests.api.gpu_world import OOM, PASSED, scanner
from tests.api.test_auth import bearer
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, asking

PATH = "/api/v1/gpu/classify"
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def url(gpu_file, tmp_path_factory):
    """Of a database of these tests' own."""
    return f"sqlite:///{shutil.copy(gpu_file, tmp_path_factory.mktemp('classify') / 'tailwatch.db')}"


@pytest.fixture(scope="module")
def client(url):
    with asking(url, ApiConfig(max_body_bytes=2_000)) as asked:
        yield with_scanner(asked)


def with_scanner(client):
    """Signatures that were made ready before: that takes most of a second."""
    client.app.state.log_classifier._scanner = scanner()
    return client


def post(client, body, path=PATH, **headers):
    return client.request("POST", path, content=body, headers=headers)


def said(response):
    assert response.status_code == 200, response.text
    ClassifyAnswer.model_validate_json(response.content, strict=True)
    return response.json()


def stream(*parts):
    """A body that comes in these parts; what is called is called first, and may wait."""

    async def coming():
        for part in parts:
            yield await part() if callable(part) else part

    return coming()


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"])
def test_a_log_gets_the_diagnosis_that_the_command_line_prints(client, kind):
    answer = said(post(client, OOM, **{"content-type": kind} if kind else {}))
    expected = diagnose_logs([(Origin("log"), [OOM])], scanner())
    assert answer["diagnosis"]["reason"] == expected.reason == "gpu_oom"
    assert answer["diagnosis"]["evidence"][0]["number"] == 5
    assert answer["diagnosis"]["bytes"] == len(OOM)
    assert (answer["job"], answer["kept"], answer["why_not_kept"]) == (None, False, "keep was not asked for")


@pytest.mark.parametrize("as_header", [False, True])
def test_gzip_is_unpacked_whether_a_header_says_so_or_not(client, as_header):
    headers = {"content-encoding": "gzip"} if as_header else {}
    two = gzip.compress(OOM[:60]) + gzip.compress(OOM[60:]) + b"\0" * 100
    assert said(post(client, two, **headers))["diagnosis"]["reason"] == "gpu_oom"


def test_gzip_that_ends_in_the_middle_is_read_so_far_and_the_answer_says_so(client):
    packed = gzip.compress(OOM, mtime=0)
    answer = said(post(client, packed[:-9]))
    assert answer["diagnosis"]["notes"][-1] == "the gzip ends in the middle: what came before was read"


def test_what_is_said_to_be_gzip_and_is_not_is_refused(client):
    problem = problem_of(post(client, OOM, **{"content-encoding": "gzip"}))
    assert (problem["status"], problem["type"]) == (400, "urn:tailwatch:problem:bad-log")
    packed = gzip.compress(OOM, mtime=0)
    problem = problem_of(post(client, packed[:20] + b"\xff" * 20 + packed[40:]))
    assert "the gzip is damaged after" in problem["detail"]


def test_a_bomb_is_refused_long_before_it_is_unpacked(client):
    bomb = gzip.compress(b"\0" * (24 * MEGABYTE), 1)
    problem = problem_of(post(client, bomb))
    assert (problem["status"], problem["type"]) == (413, "urn:tailwatch:problem:too-large")
    assert "more than 200 times its size" in problem["detail"]


def test_a_log_larger_than_may_be_is_refused_also_when_its_length_is_not_announced(url):
    with asking(url, ApiConfig(gpu=GpuConfig(max_log_bytes=1_000))) as client:
        with_scanner(client)
        assert post(client, b"x" * 1_000).status_code == 200
        for body in (b"x" * 1_001, stream(b"x" * 600, b"x" * 600), gzip.compress(b"x" * 1_001)):
            problem = problem_of(post(client, body))
            assert (problem["status"], problem["limit"]) == (413, 1_000)
            assert "api.gpu.max_log_bytes" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b"", "the logs are empty: they tell nothing of the job"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, "log is"),
        (b"x" * (3 * MEGABYTE), ""),
        (b"\xff\xfe" + OOM.decode().encode("utf-16-le"), ""),
    ],
    ids=["empty", "binary", "one line of megabytes", "utf-16"],
)
def test_whatever_comes_as_a_log_is_answered(client, body, note):
    answer = said(post(client, body))
    assert any(one.startswith(note) for one in [*answer["diagnosis"]["notes"], ""])
    assert answer["diagnosis"]["bytes"] >= len(body) // 2 - 1


def test_memory_does_not_grow_with_the_log(client):
    line = b"epoch 1 step 7 loss 0.25 and nothing wrong here at all\n"
    piece = line * (MEGABYTE // len(line))
    said(post(client, stream(piece)))
    tracemalloc.start()
    try:
        answer = said(post(client, stream(*[piece] * 24)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer["diagnosis"]["bytes"] == 24 * len(piece)
    assert peak < 16 * MEGABYTE


def test_others_are_answered_while_a_log_comes_and_one_too_many_is_told_to_come_again(url, monkeypatch):
    monkeypatch.setattr(log_classifier, "TURN_WITHIN_S", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    async def wait():
        begun.set()
        while not go_on.is_set():
            await anyio.sleep(0.005)
        return OOM[100:]

    with asking(url, ApiConfig(gpu=GpuConfig(max_concurrent=1))) as client:
        with_scanner(client)
        first = client.portal.start_task_soon(
            lambda: client.http.request("POST", PATH, content=stream(OOM[:100], wait))
        )
        try:
            assert begun.wait(30)
            assert client.get("/healthz").status_code == 200
            refused = post(client, OOM)
        finally:
            go_on.set()
        assert problem_of(refused)["type"] == "urn:tailwatch:problem:busy"
        assert refused.headers["retry-after"] == "5"
        assert said(first.result(30))["diagnosis"]["reason"] == "gpu_oom"
        assert said(post(client, OOM))["diagnosis"]["reason"] == "gpu_oom"


async def never():
    await anyio.sleep_forever()


def test_a_log_that_does_not_come_is_a_408_and_one_that_takes_too_long_a_503(url, monkeypatch):
    with asking(url, ApiConfig(gpu=GpuConfig(timeout_s=0.05, max_concurrent=1))) as client:
        with_scanner(client)
        problem = problem_of(post(client, stream(OOM, never)))
        assert (problem["status"], problem["type"]) == (503, "urn:tailwatch:problem:question-timeout")
        assert "api.gpu.timeout_s" in problem["detail"]
    with asking(url) as client, monkeypatch.context() as patched:
        patched.setattr(log_stream, "PIECE_WITHIN_S", 0.05)
        response = post(with_scanner(client), stream(OOM, never))
        assert (problem_of(response)["status"], response.headers["connection"]) == (408, "close")
        patched.undo()
        assert said(post(client, OOM))["diagnosis"]["reason"] == "gpu_oom"


def test_a_client_that_goes_away_frees_its_place(url):
    with asking(url, ApiConfig(gpu=GpuConfig(max_concurrent=1))) as client:
        with_scanner(client)

        async def leaves():
            with anyio.move_on_after(0.05):
                await client.http.request("POST", PATH, content=stream(OOM, never))

        client.portal.call(leaves)
        assert said(post(client, OOM))["diagnosis"]["reason"] == "gpu_oom"


def test_several_logs_come_as_json_with_what_is_known_of_the_job(client):
    logs = [{"name": "r0", "text": PASSED.decode(), "rank": 0}, {"name": "r3", "text": OOM.decode(), "rank": 3}]
    body = {"logs": logs, "facts": {"nodes": ["gpu-1"], "exit_code": 1, "end": "2026-11-22T07:00:00Z"}}
    answer = said(client.request("POST", PATH, json=body))
    assert (answer["diagnosis"]["reason"], answer["diagnosis"]["rank"]) == ("gpu_oom", 3)
    packed = gzip.compress(json.dumps(body).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert said(post(client, packed, **headers)) == answer


def test_an_exit_code_of_0_says_that_nothing_failed(client):
    answer = said(post(client, OOM, f"{PATH}?exit_code=0&job=odd&keep=true"))
    assert answer["diagnosis"]["status"] == "no_failure"
    told = "the scheduler or the exit code says that the job did not fail; its logs tell of gpu_oom"
    assert told in answer["diagnosis"]["notes"]
    why = "exit_code=0 says that the job did not fail; leave it out to have its logs decide"
    assert (answer["kept"], answer["why_not_kept"], answer["why_no_advice"]) == (False, why, why)
    assert said(post(client, b"nothing of note\n", f"{PATH}?signal=9"))["diagnosis"]["status"] == "abstained"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "the body is no JSON"),
        (b'{"logs": []}', 400, "logs: "),
        (b'{"logs": [{"text": 3}]}', 400, "logs.0.text: "),
        (b'{"logs": [{"text": "x"}], "fact": {}}', 400, "no member 'fact'; did you mean facts?"),
        (b'{"logs": [{"text": "x"}], "facts": {"end": "soon"}}', 400, "facts.end='soon' is not a time"),
        (b'{"logs": [{"text": "' + b"x" * 3_000 + b'"}]}', 413, "more than the 2000 bytes of JSON"),
    ],
)
def test_json_that_is_no_log_is_refused_with_the_place(client, body, status, words):
    problem = problem_of(post(client, body, **{"content-type": "application/json"}))
    assert problem["status"] == status
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("query", "headers", "status", "words"),
    [
        ("", {"content-type": "multipart/form-data; boundary=x"}, 415, "--data-binary @FILE"),
        ("", {"content-type": "image/png"}, 415, "a body of type 'image/png' is not taken"),
        ("", {"content-encoding": "br"}, 415, "Content-Encoding 'br' is not taken"),
        ("keep=true", {}, 400, "keep=true needs job"),
        ("keep=yes", {}, 400, "keep='yes' is none; there are true, false"),
        (f"keep=true&job={'x' * 257}", {}, 400, "job has 257 characters; want at most 256"),
        ("keep=true&job=x&number=65536", {}, 400, "number='65536' is no whole number from 1 to 65535"),
        ("rank=-1", {}, 400, "rank='-1' is no whole number from 0"),
        ("source=kernal", {}, 400, "did you mean kernel?"),
        ("jb=x", {}, 400, "did you mean job?"),
        ("start=soon", {}, 400, "start=soon"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(client, query, headers, status, words):
    problem = problem_of(post(client, OOM, f"{PATH}?{query}", **headers))
    assert problem["status"] == status
    assert words in problem["detail"].replace("start='soon'", "start=soon")


def test_a_known_job_gets_advice_and_what_is_kept_shows_in_its_lists(client, url):
    answer = said(post(client, OOM, f"{PATH}?job=train-7&number=2"))
    assert (answer["kept"], answer["href"]) == (False, None)
    assert answer["advice"]["decision"] == "never"
    assert answer["advice"]["reason"] == "gpu_oom"
    assert answer["advice"]["model"].startswith("generation 2, ")
    with_failures = answers(client, "train-7")
    kept = said(post(client, OOM, f"{PATH}?job=kept&keep=true"))
    assert (kept["kept"], kept["href"], kept["number"]) == (True, "/api/v1/gpu/jobs/kept", 1)
    assert kept["why_no_advice"].startswith("attempt 1 of the job was not reported")
    (entry,) = answers(client, "kept")["failures"]
    assert (entry["origin"], entry["reported"], entry["reason"]) == ("upload", False, "gpu_oom")
    assert entry["diagnosis"] == kept["diagnosis"]
    assert answers(client, "train-7") == with_failures  # what is not to be kept changes nothing


def answers(client, job):
    response = client.get(f"/api/v1/gpu/jobs/{job}")
    assert response.status_code == 200, response.text
    return response.json()


def test_advice_is_kept_with_the_failure_of_a_reported_attempt(client, url):
    kept = said(post(client, OOM, f"{PATH}?job=eval,%22%3D1%22&keep=true"))
    assert kept["advice"]["grounds"] == ["rule"]
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection:
        (row,) = failures_of(connection, kept["job"])
        advice = advice_of(connection, kept["job"], 1)
    engine.dispose()
    assert (row.reported, row.user, row.lost_gpu_s, row.revision) == (True, "bo", 8 * 3_600, 2)
    assert (advice.decision, advice.model_generation, advice.given_ns) == ("never", 2, NOW_NS)


def test_a_log_of_a_job_that_passed_is_not_kept_and_gets_no_advice(client):
    answer = said(post(client, OOM, f"{PATH}?job=pre/train%203&keep=true"))
    assert answer["diagnosis"]["status"] == "no_failure"
    assert (answer["kept"], answer["why_not_kept"]) == (False, "attempt 1 is reported to have passed")
    assert (answer["advice"], answer["why_no_advice"]) == (None, "attempt 1 is reported to have passed")
    answer = said(post(client, PASSED, f"{PATH}?job=kept-not&keep=true"))
    assert (answer["kept"], answer["why_not_kept"]) == (False, "nothing in the logs says that the job failed")


def test_what_the_scheduler_reported_answers_where_the_log_does_not(client):
    timed_out = {"job": "slow", "started": "now-2h", "ended": "now-1h", "outcome": "timeout", "gpus": 8}
    client.request("POST", "/api/v1/gpu/attempts", json={"attempts": [timed_out]})
    answer = said(post(client, b"epoch 7 of 90\n", f"{PATH}?job=slow"))
    assert (answer["diagnosis"]["reason"], answer["advice"]["reason"]) == ("time_limit", "time_limit")
    assert answer["diagnosis"]["notes"][-1] == "the scheduler reported that it ended with timeout"


def test_keeping_needs_another_scope_than_asking(url):
    engine = open_engine(url)
    with engine.begin() as connection:
        keys = {one: create_key(connection, f"key-{one}", [one], NOW_NS)[1] for one in ("read", "ingest", "agent")}
    engine.dispose()
    with asking(url, ApiConfig(auth="on")) as client:
        with_scanner(client)
        for query, allowed in (("", "read"), ("?job=theirs&keep=true", "ingest")):
            statuses = {one: post(client, OOM, PATH + query, **bearer(key)).status_code for one, key in keys.items()}
            assert statuses == {one: 200 if one == allowed else 403 for one in keys}
        problem = problem_of(post(client, OOM, f"{PATH}?job=theirs&k%65ep=true", **bearer(keys["read"])))
        assert (problem["scope"], problem["status"]) == ("ingest", 403)


def test_without_the_library_the_answer_names_the_extra(url, monkeypatch):
    def missing(*_):
        raise MissingLibraryError("signatures need google-re2; install tailwatch[analytics]")

    monkeypatch.setattr("analytics.gpu.signature_files.with_site_file", missing)
    with asking(url) as client:
        problem = problem_of(post(client, OOM))
        assert (problem["status"], problem["type"]) == (501, "urn:tailwatch:problem:not-installed")
        assert "tailwatch[analytics]" in problem["detail"]
        assert client.get("/api/v1/gpu/failures").status_code == 200


def test_signatures_of_the_site_are_used_and_when_they_cannot_be_the_answer_says_why(url, tmp_path):
    rules = tmp_path / "site.yaml"
    with asking(url, ApiConfig(gpu=GpuConfig(rules_path=str(rules)))) as client:
        problem = problem_of(post(client, OOM))
        assert (problem["status"], "site.yaml" in problem["detail"]) == (503, True)
        rules.write_text(
            "signatures:\n"
            "  - {id: site-frob, reason: network_conn, role: root, weight: 95, pattern: 'frobnicator lost its link',\n"
            "     examples: ['frobnicator lost its link 7']}\n"
        )
        answer = said(post(client, b"ERROR: frobnicator lost its link 7\n", f"{PATH}?exit_code=1"))
        assert answer["diagnosis"]["evidence"][0]["signature"] == "site-frob"


def test_logs_are_counted_by_what_came_out(url):
    with asking(url) as client:
        with_scanner(client)
        for body in (OOM, OOM, PASSED):
            said(post(client, body))
        text = client.get("/metrics").text
    assert 'tailwatch_api_logs_classified_total{status="answered"} 2.0' in text
    assert 'tailwatch_api_logs_classified_total{status="no_failure"} 1.0' in text
    assert f"tailwatch_api_log_bytes_total {float(2 * len(OOM) + len(PASSED))}" in text
