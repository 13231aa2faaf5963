"""Failed jobs in lists, one by one and summed up; what schedulers report of them; and nodes that stand out."""

import csv
import io
import shutil

import pytest

from api.gpu_models import AttemptsTaken, FailuresPage, GpuSummary, JobDetail, NodesPage
from store.connect import open_engine
from store.gpu_attempts import attempts_of
from tests.api.gpu_world import HOUR_NS, ODD_JOB, SLASHED, filled
from tests.api.test_lists import pages
from tests.api.test_problems import problem_of
from tests.api.world import NOW_NS, SECOND_NS, asking

NEWEST_FIRST = [("log-only", 1), (ODD_JOB, 1), ("train-7", 2), ("train-7", 1)]


@pytest.fixture
def client(gpu_client):
    return gpu_client


def listed(client, **parameters):
    answer = client.get("/api/v1/gpu/failures", **parameters)
    assert answer.status_code == 200, answer.text
    FailuresPage.model_validate_json(answer.content, strict=True)
    return [(entry["job"], entry["number"]) for entry in answer.json()["failures"]]


def test_a_failure_stands_in_the_list_with_its_reason_and_what_it_cost(client):
    first = client.get("/api/v1/gpu/failures", job="train-7", limit=1).json()["failures"][0]
    wanted = {
        "job": "train-7", "number": 2, "status": "answered", "reason": "nccl_timeout", "category": "infrastructure",
        "node": "gpu-3", "lost_gpu_hours": 8.0, "failed_ns": NOW_NS - 3 * HOUR_NS, "origin": "agents",
        "href": "/api/v1/gpu/jobs/train-7",
    }  # fmt: skip
    assert {name: first[name] for name in wanted} == wanted


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_failures_are_filtered_and_paged_alike_in_both_databases(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path / 't.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with asking(filled(url)) as client:
        assert listed(client) == NEWEST_FIRST
        for parameters, wanted in (
            ({"reason": "nccl_timeout"}, NEWEST_FIRST[2:]),
            ({"category": "infrastructure", "node": "gpu-9"}, NEWEST_FIRST[:1]),
            ({"user": "bo"}, NEWEST_FIRST[1:2]),
            ({"status": "abstained"}, NEWEST_FIRST[1:2]),
            ({"synthetic": "false", "start": "-4h"}, [NEWEST_FIRST[0], NEWEST_FIRST[2]]),
            ({"end": "-4h"}, NEWEST_FIRST[3:]),
            ({"start": "-4h", "end": "-150m"}, NEWEST_FIRST[2:3]),
            ({"job": "nobody's"}, []),
        ):
            assert listed(client, **parameters) == wanted, parameters
        seen = [
            entry["job"] for page in pages(client, "/api/v1/gpu/failures", limit=1) for entry in page.json()["failures"]
        ]
        assert seen == [job for job, _ in NEWEST_FIRST]
        nodes = [
            entry["node"] for page in pages(client, "/api/v1/gpu/nodes", limit=2) for entry in page.json()["nodes"]
        ]
        assert nodes == ["gpu-1", "gpu-2", "gpu-3"]
        assert client.get("/api/v1/gpu/jobs/train-7").json()["failures"][1]["advice"]["number"] == 2


def test_a_list_that_has_not_changed_is_a_304_and_csv_runs_as_no_formula(client):
    first = client.get("/api/v1/gpu/failures", start="0")
    again = client.request(
        "GET", "/api/v1/gpu/failures", params={"start": "0"}, headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    answer = client.get("/api/v1/gpu/failures", format="csv", limit=2)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["job"], row["reason"], row["lost_gpu_hours"]) for row in rows] == [
        ("log-only", "gpu_ecc", ""), (ODD_JOB, "", "8.0")
    ]  # fmt: skip
    assert [(row["reported"], row["synthetic"]) for row in rows] == [("false", "false"), ("true", "true")]
    cursor = answer.headers["tailwatch-next-cursor"]
    assert listed(client, cursor=cursor) == NEWEST_FIRST[2:]
    nodes = list(csv.DictReader(io.StringIO(client.get("/api/v1/gpu/nodes", format="csv", stands_out="true").text)))
    assert [(row["node"], row["ratio"]) for row in nodes] == [("gpu-3", "6.0")]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"category": "infra"}, "did you mean infrastructure?"),
        ({"status": "no_failure"}, "status='no_failure' is none"),
        ({"start": "now", "end": "-1h"}, "is not before"),
        ({"cursor": "aG9zdA"}, "cursor is not one that this API gave"),
        ({"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OR8x"}, "cursor is not one that this API gave"),
        ({"limit": 0}, "limit=0"),
        ({"synthetic": "1"}, "there are true, false"),
        ({"format": "xml"}, "format=json or format=csv"),
        ({"reasn": "x"}, "did you mean reason?"),
    ],
)
def test_a_list_of_nothing_that_can_be_meant_is_refused(client, parameters, words):
    problem = problem_of(client.get("/api/v1/gpu/failures", **parameters))
    assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]


def test_a_job_shows_its_attempts_what_was_found_with_its_lines_and_the_advice(client):
    answer = client.get("/api/v1/gpu/jobs/train-7")
    JobDetail.model_validate_json(answer.content, strict=True)
    job = answer.json()
    assert [(one["number"], one["nodes"], one["outcome"]) for one in job["attempts"]] == [
        (1, ["gpu-1", "gpu-2"], "failed"), (2, ["gpu-3"], "failed")
    ]  # fmt: skip
    first, second = job["failures"]
    assert second["diagnosis"]["evidence"][0]["text"] == "what went wrong"
    assert (first["advice"], first["advised"]) == (None, None)
    assert (second["advice"]["reason"], second["advised_ns"]) == ("nccl_timeout", NOW_NS - HOUR_NS)


@pytest.mark.parametrize(("job", "attempts", "failures"), [(SLASHED, 1, 0), ("log-only", 0, 1), (ODD_JOB, 1, 1)])
def test_any_name_finds_its_job_through_the_link_of_the_list(client, job, attempts, failures):
    links = {one["job"]: one["href"] for one in client.get("/api/v1/gpu/failures").json()["failures"]}
    answer = client.get(links.get(job, f"/api/v1/gpu/jobs/{job}")).json()
    assert (answer["job"], len(answer["attempts"]), len(answer["failures"])) == (job, attempts, failures)


def test_a_job_of_which_nothing_is_known_is_a_404(client):
    for name in ("nobody", "a%00b"):
        problem = problem_of(client.get(f"/api/v1/gpu/jobs/{name}"))
        assert (problem["status"], problem["parameter"]) == (404, "job")


def test_the_summary_adds_up_by_reason_and_names_nodes_that_stand_out(client):
    answer = client.get("/api/v1/gpu/summary", start="-1d")
    GpuSummary.model_validate_json(answer.content, strict=True)
    found = answer.json()
    assert (found["failures"], found["unexplained"], found["unexplained_ratio"]) == (4, 1, 0.25)
    assert (found["lost_gpu_hours"], found["synthetic_failures"]) == (24.0, 1)
    assert [(one["reason"], one["failures"], one["lost_gpu_hours"]) for one in found["reasons"]] == [
        ("nccl_timeout", 2, 16.0), (None, 1, 8.0), ("gpu_ecc", 1, 0.0)
    ]  # fmt: skip
    assert (found["nodes_standing_out"], found["nodes_checked_ns"]) == (["gpu-3"], NOW_NS)
    assert (found["last_round_ns"], found["jobs_waiting"]) == (NOW_NS - SECOND_NS, 2)
    empty = client.get("/api/v1/gpu/summary", start="-4w", end="-3w").json()
    assert (empty["failures"], empty["unexplained_ratio"], empty["reasons"]) == (0, None, [])


def test_nodes_say_what_the_newest_test_found(client):
    answer = client.get("/api/v1/gpu/nodes", stands_out="true")
    NodesPage.model_validate_json(answer.content, strict=True)
    (node,) = answer.json()["nodes"]
    assert (node["node"], node["failures"], node["expected"], node["ratio"]) == ("gpu-3", 9, 1.5, 6.0)


@pytest.fixture(scope="module")
def own(gpu_file, tmp_path_factory):
    """A client of a database of these tests' own, and its address."""
    url = f"sqlite:///{shutil.copy(gpu_file, tmp_path_factory.mktemp('own') / 'tailwatch.db')}"
    with asking(url) as asked:
        yield asked, url


def report(client, *attempts):
    return client.request("POST", "/api/v1/gpu/attempts", json={"attempts": list(attempts)})


def test_attempts_are_reported_in_parts_and_twice_without_harm(own):
    client, url = own
    begun = {"job": "new", "user": "ana", "nodes": ["gpu-1"], "gpus": 8, "started": "2026-11-22T05:00:00.5Z"}
    ended = {"job": "new", "ended": 1_795_330_000.25, "outcome": "timeout", "signal": 9}
    for one, changed in ((begun, 1), (begun, 0), (ended, 1), (ended, 0), (begun, 0)):
        answer = report(client, one)
        AttemptsTaken.model_validate_json(answer.content, strict=True)
        assert answer.json() == {"attempts": 1, "changed": changed}
    engine = open_engine(url, read_only=True)
    with engine.connect() as connection:
        (row,) = attempts_of(connection, ["new"])["new"]
    engine.dispose()
    assert (row.user, row.nodes, row.gpus, row.outcome, row.signal) == ("ana", ("gpu-1",), 8.0, "timeout", 9)
    assert (row.start_ns % SECOND_NS, row.end_ns) == (SECOND_NS // 2, 1_795_330_000_250_000_000)
    assert report(client).json() == {"attempts": 0, "changed": 0}


def test_a_fault_in_one_attempt_is_named_with_its_place_and_none_is_taken(own):
    client, _ = own
    good = {"job": "good", "outcome": "passed"}
    for bad, words in (
        ({"job": "x", "outcome": "dead"}, "attempts.1.outcome='dead' is none; want 'passed', 'failed'"),
        ({"job": ""}, "attempts.1: job holds ''"),
        ({"job": "x" * 257}, "attempts.1.job is longer than the 256"),
        ({"outcome": "failed"}, "attempts.1.job is missing"),
        ({"job": "x", "ended": "soon"}, "attempts.1.ended='soon' is not a time"),
        (
            {"job": "x", "started": "2026-11-22T06:00:00Z", "ended": "2026-11-22T05:00:00Z"},
            "attempts.1: ended 2026-11-22T05:00:00Z is before started 2026-11-22T06:00:00Z",
        ),
        ({"job": "x", "ended": True}, "attempts.1.ended: no time; write RFC 3339"),
        ({"job": "x", "signal": True}, "attempts.1.signal: no number; write it without quotes"),
        ({"job": "x", "exit_code": "1"}, "attempts.1.exit_code: no number; write it without quotes"),
        ({"job": "x", "synthetic": "yes"}, "attempts.1.synthetic"),
        ({"job": "x", "ended": -1}, "attempts.1.ended=-1 is no time in Unix seconds"),
        ({"job": "x", "ended": "now+2d"}, "attempts.1.ended='now+2d' is more than a day ahead"),
        ({"job": "x", "number": 0}, "attempts.1: number is 0"),
        ({"job": "x", "gpus": -1}, "attempts.1: gpus is -1.0"),
        ({"job": "x", "jobs": 1}, "attempts.1.jobs is no known member"),
    ):
        problem = problem_of(report(client, good, bad))
        assert (problem["status"], words in problem["detail"]) == (400, True), problem["detail"]
    two = problem_of(report(client, {"job": "x", "gpus": -1}, good, {"job": "x", "ended": "soon"}))["detail"]
    assert "attempts.0: gpus" in two
    assert "attempts.2.ended" in two
    many = problem_of(report(client, *[{"job": ""}] * 20))["detail"]
    assert many.endswith("; and 12 more")
    assert client.get("/api/v1/gpu/jobs/good").status_code == 404
    lone = b'{"attempts": [{"job": "\\ud800"}]}'
    headers = {"Content-Type": "application/json"}
    assert client.request("POST", "/api/v1/gpu/attempts", content=lone, headers=headers).status_code == 400
