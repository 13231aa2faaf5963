"""The demo's made-up GPU jobs: logs where the agent reads them, reports as a scheduler would make them."""

from pathlib import Path
from typing import Any

import pytest

from analytics.gpu.made_up_jobs import MadeUpAttempt, MadeUpLine
from api.gpu_models import AttemptsPost
from store.connect import open_engine, upgrade
from store.gpu_advice import AdviceRow, put_advice
from store.gpu_failures import put_failure
from tailwatch.cli import main
from tailwatch.demo_gpu_jobs import FOLDER, GpuJobs, report, timeline
from tailwatch.demo_gpu_report import gpu_jobs_line
from tailwatch.demo_report import Summary, summary_text, where_to_look
from tests.store.gpu_world import NOW_NS, failure
from tests.tailwatch.stand_in import StandIn

BEGUN_NS = 1_795_330_800 * 10**9
LINES = (
    MadeUpLine(1.0, "synthetic-gpu-01", 3, "step 10"),
    MadeUpLine(2.0, "synthetic-gpu-01", None, "NVRM: something"),
    MadeUpLine(2.5, "synthetic-gpu-02", 8, "it is over\nfor good"),
)
ATTEMPT = MadeUpAttempt(
    job="synthetic-1", number=1, user="ana", queue="batch", nodes=("synthetic-gpu-01", "synthetic-gpu-02"), gpus=16,
    story="x", reason="gpu_ecc", outcome="failed", exit_code=1, signal=0, begins_s=0.5, ends_s=3.0, ran_s=3_600.0,
    lines=LINES,
)  # fmt: skip
LATER = MadeUpAttempt(
    job="synthetic-2", number=2, user="bo", queue="batch", nodes=("synthetic-gpu-02",), gpus=1, story="passed",
    reason="", outcome="passed", exit_code=0, signal=0, begins_s=1.5, ends_s=9.0, ran_s=7.5, lines=(),
)  # fmt: skip


class Clock:
    """Time that passes by being waited for; over at `ends_s`."""

    def __init__(self, ends_s: float = 1e9) -> None:
        self.waited: list[float] = []
        self.ends_s = ends_s

    def __call__(self, at_s: float) -> bool:
        self.waited.append(at_s)
        return at_s >= self.ends_s


def told(api: StandIn) -> list[tuple[str, str, bool]]:
    rows: list[dict[str, Any]] = [row for _, body in api.posted for row in body["attempts"]]
    return [(row["job"], row["outcome"], row["synthetic"]) for row in rows]


def test_what_happens_is_in_order_and_a_job_begins_before_its_lines() -> None:
    events = [(event.at_s, event.what, event.attempt.job, event.line) for event in timeline([LATER, ATTEMPT])]
    assert events == [
        (0.5, "begins", "synthetic-1", 0),
        (1.0, "writes", "synthetic-1", 0),
        (1.5, "begins", "synthetic-2", 0),
        (2.0, "writes", "synthetic-1", 1),
        (2.5, "writes", "synthetic-1", 2),
        (3.0, "ended", "synthetic-1", 0),
        (9.0, "ended", "synthetic-2", 0),
    ]


def test_lines_stand_below_their_node_and_job_and_reports_are_told_in_order(tmp_path: Path, api: StandIn) -> None:
    api.put("/api/v1/gpu/attempts", {"attempts": 1, "changed": 1})
    clock = Clock()
    GpuJobs(tmp_path, 2, api.url).play(timeline([ATTEMPT, LATER]), BEGUN_NS, clock)
    found = {str(path.relative_to(tmp_path / FOLDER)): path.read_text() for path in tmp_path.rglob("*.log")}
    assert found == {
        "synthetic-gpu-01/job-synthetic-1/rank3.log": "step 10\n",
        "synthetic-gpu-01/kernel.log": "NVRM: something\n",
        "synthetic-gpu-02/job-synthetic-1/rank8.log": "it is over\nfor good\n",
    }
    assert told(api) == [
        ("synthetic-1", "running", True), ("synthetic-2", "running", True), ("synthetic-1", "failed", True),
        ("synthetic-2", "passed", True),
    ]  # fmt: skip
    assert clock.waited == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0]


def test_a_report_has_the_hours_that_the_job_is_made_up_to_have_run() -> None:
    running = report(ATTEMPT, BEGUN_NS, ended=False)
    assert (running["started"], running["submitted"]) == ("2026-11-22T06:00:03Z", "2026-11-22T05:56:03Z")
    assert not {"ended", "exit_code", "signal"} & set(running)
    over = report(ATTEMPT, BEGUN_NS, ended=True)
    assert {name: over[name] for name in running if name != "outcome"} == {
        name: running[name] for name in running if name != "outcome"
    }
    AttemptsPost.model_validate({"attempts": [running, over]})
    assert (over["ended"], over["outcome"], over["exit_code"]) == ("2026-11-22T07:00:03Z", "failed", 1)


def test_what_an_api_that_is_away_was_not_told_it_is_told_later(tmp_path: Path, api: StandIn) -> None:
    class Back(Clock):
        def __call__(self, at_s: float) -> bool:
            if at_s > 12:
                jobs._url = api.url
            return super().__call__(at_s)

    api.put("/api/v1/gpu/attempts", {"attempts": 4, "changed": 4})
    jobs = GpuJobs(tmp_path, 2, "http://127.0.0.1:1")
    jobs.play(timeline([ATTEMPT, LATER]), BEGUN_NS, Back())
    assert len(api.posted) == 1
    assert [(job, outcome) for job, outcome, _ in told(api)] == [
        ("synthetic-1", "running"), ("synthetic-2", "running"), ("synthetic-1", "failed"), ("synthetic-2", "passed"),
    ]  # fmt: skip


def test_a_refusal_is_logged_and_goes_no_further(
    tmp_path: Path, api: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    api.put("/api/v1/gpu/attempts", {"status": 404, "detail": "no such route"}, 404)
    GpuJobs(tmp_path, 1, api.url).play(timeline([ATTEMPT]), BEGUN_NS, Clock())
    assert len(api.posted) == 2
    assert "no such route" in caplog.text


def test_nothing_is_written_once_it_is_over_and_what_earlier_jobs_wrote_is_removed(
    tmp_path: Path, api: StandIn
) -> None:
    api.put("/api/v1/gpu/attempts", {"attempts": 1, "changed": 1})
    jobs = GpuJobs(tmp_path, 1, api.url)
    jobs.play(timeline([ATTEMPT]), BEGUN_NS, Clock(ends_s=2.0))
    assert told(api) == [("synthetic-1", "running", True)]
    assert [path.name for path in tmp_path.rglob("*.log")] == ["rank3.log"]
    jobs.clear()
    assert list(tmp_path.iterdir()) == []


def test_jobs_run_in_a_thread_that_ends_when_told(tmp_path: Path, api: StandIn) -> None:
    api.put("/api/v1/gpu/attempts", {"attempts": 1, "changed": 1})
    jobs = GpuJobs(tmp_path, 30, api.url)
    jobs.start()
    jobs.start()
    jobs.stop()
    jobs._thread.join(30)
    assert not jobs._thread.is_alive()
    before = len(api.posted)
    jobs.start()
    assert len(api.posted) == before
    assert all(job.startswith("synthetic-") for job, _, _ in told(api))


def test_the_summary_says_what_jobs_of_this_run_died_of_and_what_was_advised(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    assert gpu_jobs_line(engine, 0) == ""
    rows = [
        failure("a", reason="gpu_oom", synthetic=True), failure("b", reason="gpu_ecc", synthetic=True),
        failure("c", reason="gpu_ecc"), failure("d", status="abstained", reason=None, category=None, guess=None),
        failure("old", failed_ns=NOW_NS - 1),
    ]  # fmt: skip
    with engine.begin() as connection:
        for row in rows:
            put_failure(connection, row)
        for job, decision in (("a", "never"), ("b", "other_node"), ("c", "other_node"), ("old", "same")):
            advice = AdviceRow(job=job, number=1, given_ns=NOW_NS, decision=decision, probability=0.5, body="{}")
            put_advice(connection, advice)
    said = gpu_jobs_line(engine, NOW_NS)
    engine.dispose()
    assert said == ("4 failed (2 synthetic): 2 gpu_ecc, 1 gpu_oom, 1 unknown; advice: 1 never, 2 other_node")
    summary = Summary({"records": 1, "windows": 1, "bytes": 1}, None, 2.0)
    assert "GPU jobs" not in summary_text(summary)
    assert f"GPU jobs           {said}" in summary_text(summary, "", said)
    url = "http://127.0.0.1:1"
    assert "gpu failures" not in where_to_look(url, "x", 1)
    assert f"tailwatch gpu failures --url {url}" in where_to_look(url, "x", 1, gpu_jobs=True)


@pytest.mark.parametrize("number", ["-1", "301", "many"])
def test_a_number_of_jobs_that_no_demo_has_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--gpu-jobs", number])
    assert ended.value.code == 2
    assert "0 to 300" in capsys.readouterr().err
