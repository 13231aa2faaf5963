"""`tailwatch gpu failures` and `tailwatch gpu attempts` against a stand-in API that answers as the API does."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from api.gpu_models import AttemptsPost, AttemptsTaken, FailuresPage
from tailwatch.cli import main
from tailwatch.commands import gpu_attempts
from tests.tailwatch.stand_in import StandIn

FAILURE: dict[str, Any] = {
    "id": 7, "job": "train-1", "number": 2, "failed": "2026-11-22T12:05:00.250Z", "failed_ns": 1_795_349_100 * 10**9,
    "found": "2026-11-22T12:06:00Z", "found_ns": 1_795_349_160 * 10**9, "status": "answered", "reason": "gpu_ecc",
    "category": "infrastructure", "guess": "gpu_ecc", "confidence": 0.97, "retry": "other_node",
    "action": "drain the node", "node": "gpu-17", "rank": 3, "user": "ann", "gpus": 16.0, "lost_gpu_hours": 32.0,
    "template": None, "rules_version": "0123456789abcdef", "origin": "agents", "reported": True, "synthetic": False,
    "revision": 1, "href": "/api/v1/gpu/jobs/train-1",
}  # fmt: skip
UNKNOWN: dict[str, Any] = {
    **FAILURE, "id": 6, "job": "eval\x1b[2J", "number": 1, "status": "abstained", "reason": None, "category": None,
    "guess": "nccl_timeout", "confidence": 0.41, "retry": None, "action": None, "node": None, "rank": None, "user": "",
    "gpus": None, "lost_gpu_hours": None,
}  # fmt: skip
SACCT = """\
JobIDRaw|User|Partition|State|Submit|Start|End|NodeList|AllocTRES|ExitCode
7|ann|gpu|NODE_FAIL|1000|2000|5600|gpu[01-02]|gres/gpu=8|0:9
7|ann|gpu|COMPLETED|1000|9000|12600|gpu[03-04]|gres/gpu=8|0:0
8|bob|cpu|FAILED|1000|9000|12600|c1|cpu=4|1:0
9|bob|gpu|PENDING|1000|Unknown|Unknown|None assigned||0:0
"""


def page(*failures: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    found = {"failures": list(failures), "next_cursor": cursor}
    FailuresPage.model_validate(found)
    return found


def taken(attempts: int, changed: int) -> dict[str, Any]:
    found = {"attempts": attempts, "changed": changed}
    AttemptsTaken.model_validate(found)
    return found


def shown(api: StandIn, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["gpu", *words, "--url", api.url]) == 0
    return capsys.readouterr().out.splitlines()


def test_failures_are_a_table_in_the_order_of_the_api(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/gpu/failures", page(FAILURE, UNKNOWN))
    assert shown(api, capsys, "failures") == [
        "failed                job          attempt  reason                         sure  category        node    user  GPUs  lost GPU h  retry",  # noqa: E501
        "2026-11-22T12:05:00Z  train-1            2  gpu_ecc                         97%  infrastructure  gpu-17  ann     16        32.0  other_node",  # noqa: E501
        "2026-11-22T12:05:00Z  eval\\x1b[2J        1  unknown, perhaps nccl_timeout   41%  -               -       -        -           -  -",  # noqa: E501
    ]


def test_jobs_that_were_made_up_are_told_from_others(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/gpu/failures", page({**FAILURE, "synthetic": True}, UNKNOWN))
    assert [line.split()[-1] for line in shown(api, capsys, "failures")] == ["origin", "synthetic", "agents"]


def test_where_nothing_is_guessed_nobody_is_sure_of_it(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/gpu/failures", page({**UNKNOWN, "guess": None, "confidence": 0.0}))
    assert "unknown     -  -" in shown(api, capsys, "failures")[1]


def test_what_narrows_the_list_is_passed_on_and_pages_are_followed_up_to_the_limit(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter([page(*[FAILURE] * 100, cursor="x"), page(*[UNKNOWN] * 20, cursor="y")])
    asked: list[list[tuple[str, str]]] = []

    def answer(_url: str, path: str, question: list[tuple[str, str]]) -> dict[str, Any]:
        assert path == "/api/v1/gpu/failures"
        asked.append(question)
        return next(pages)

    monkeypatch.setattr("tailwatch.commands.gpu_failures.get", answer)
    narrowed = [("reason", "gpu_ecc"), ("category", "infrastructure"), ("node", "gpu-17"), ("start", "-1d")]
    words = [word for name, text in narrowed for word in (f"--{name}={text}",)]
    lines = shown(api, capsys, "failures", *words, "--limit", "120")
    assert asked == [[*narrowed, ("limit", "100")], [*narrowed, ("limit", "20"), ("cursor", "x")]]
    assert len(lines) == 123
    assert "--limit 240" in lines[-1]


def test_json_is_what_the_api_said(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/gpu/failures", page(FAILURE))
    assert json.loads("\n".join(shown(api, capsys, "failures", "--output", "json"))) == {"failures": [FAILURE]}


@pytest.mark.parametrize(("words", "said"), [([], "no failures found yet"), (["--job", "x"], "no failures like that")])
def test_no_failure_is_said_in_words(
    api: StandIn, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    api.put("/api/v1/gpu/failures", page())
    assert shown(api, capsys, "failures", *words)[0].startswith(said)


def test_what_sacct_printed_is_sent_without_what_held_no_gpu(
    api: StandIn, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "sacct.txt"
    file.write_text(SACCT, encoding="utf-8")
    api.put("/api/v1/gpu/attempts", taken(3, 2))
    lines = shown(api, capsys, "attempts", str(file))
    first = {
        "job": "7", "number": 1, "user": "ann", "queue": "gpu", "gpus": 8.0, "outcome": "node_failure", "exit_code": 0,
        "signal": 9, "submitted": "1970-01-01T00:16:40Z", "started": "1970-01-01T00:33:20Z",
        "ended": "1970-01-01T01:33:20Z", "nodes": ["gpu01", "gpu02"],
    }  # fmt: skip
    waiting = {
        "job": "9", "number": 1, "user": "bob", "queue": "gpu", "outcome": "running",
        "submitted": "1970-01-01T00:16:40Z",
    }  # fmt: skip
    ((path, body),) = api.posted
    assert path == "/api/v1/gpu/attempts"
    AttemptsPost.model_validate(body)
    assert [row["job"] for row in body["attempts"]] == ["7", "7", "9"]
    assert (body["attempts"][0], body["attempts"][2]) == (first, waiting)
    assert lines == [
        "3 attempts of 2 jobs sent, of which 2 are new or told of anew",
        "1 that held no GPU were left out; --without-gpus sends them, too",
    ]
    shown(api, capsys, "attempts", str(file), "--without-gpus", "--synthetic")
    rows = api.posted[-1][1]["attempts"]
    assert [(row["job"], row["synthetic"]) for row in rows] == [(job, True) for job in ("7", "7", "8", "9")]


def test_standard_input_is_sent_in_bodies_of_bounded_size(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"job": "wide", "outcome": "failed", "gpus": 8, "nodes": [f"node-{number:05d}" for number in range(60)]}
    rows = [{**wide, "number": number + 1} for number in range(7)]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(rows).encode())))
    monkeypatch.setattr(gpu_attempts, "_BYTES_AT_ONCE", 3_000)
    monkeypatch.setattr(gpu_attempts, "_AT_ONCE", 2)
    api.put("/api/v1/gpu/attempts", taken(2, 1))
    answer = json.loads("\n".join(shown(api, capsys, "attempts", "-", "--output", "json")))
    assert answer == {"attempts": 7, "changed": 4, "without_gpus": 0}
    sent = [[row["number"] for row in body["attempts"]] for _, body in api.posted]
    assert sent == [[1, 2], [3, 4], [5, 6], [7]]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(rows).encode())))
    monkeypatch.setattr(gpu_attempts, "_BYTES_AT_ONCE", 100)
    shown(api, capsys, "attempts", "-")
    assert [len(body["attempts"]) for _, body in api.posted[4:]] == [1] * 7


def test_a_refusal_says_from_where_on_its_places_count_and_what_is_stored(
    api: StandIn, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sacct.txt"
    file.write_text(SACCT, encoding="utf-8")
    monkeypatch.setattr(gpu_attempts, "_AT_ONCE", 2)
    real, calls = gpu_attempts.post, []

    def post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        calls.append(body)
        if len(calls) == 2:
            api.put(path, {"status": 422, "detail": "attempts[0].user: too long"}, 422)
        return real(url, path, body)

    api.put("/api/v1/gpu/attempts", taken(2, 2))
    monkeypatch.setattr(gpu_attempts, "post", post)
    assert main(["gpu", "attempts", str(file), "--url", api.url]) == 1
    said = capsys.readouterr().err
    assert "attempts[0].user: too long" in said
    assert f"counted from attempt 1 of job 9 on; of {file} the 2 attempts before it are stored" in said


def test_a_file_that_is_none_is_named_before_anything_is_sent(
    api: StandIn, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "sacct.txt"
    file.write_text(SACCT.replace("PENDING", "THINKING"), encoding="utf-8")
    assert main(["gpu", "attempts", str(file), "--url", api.url]) == 1
    assert "row 4 (counted from 1, a header aside), column State: 'THINKING'" in capsys.readouterr().err
    assert api.posted == []
