"""From stored lines and reports to diagnoses: which attempts are looked into, when, and what is found of them."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from analytics.gpu.cleaning import Origin
from analytics.gpu.scanning import Scanner
from collector.jobs import gpu_scans
from pipeline.line_state import KeptLine
from store.gpu_advice import advice_of
from store.gpu_failures import FailureRow, put_failure
from tests.collector.jobs.gpu_world import (
    DAY_NS,
    FINE,
    HOUR_NS,
    MINUTE_NS,
    NOW,
    OUT_OF_MEMORY,
    S_NS,
    XID,
    GpuWorld,
    attempt,
    lines,
)


def test_an_attempt_that_is_reported_failed_gets_its_reason_from_its_lines(gpu_world: GpuWorld) -> None:
    world = gpu_world
    world.take(lines("j1", OUT_OF_MEMORY, rank="3"))
    world.report(attempt("j1"))
    assert world.rounds().tick(NOW)
    (found,) = world.failures("j1")
    assert (found.number, found.status, found.reason, found.category) == (1, "answered", "gpu_oom", "ai_engine")
    assert (found.user, found.gpus, found.lost_gpu_s, found.failed_ns) == ("anna", 8.0, 8 * 3600.0, NOW - HOUR_NS)
    assert (found.rank, found.node, found.origin, found.reported) == (3, "n1", "agents", True)
    told = json.loads(found.diagnosis)
    assert told["evidence"][0]["text"] == OUT_OF_MEMORY[-1]
    assert told["evidence"][0]["file"] == "out.log"


def test_what_to_do_is_advised_with_the_reason(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.report(attempt("j1"))
    assert world.rounds().tick(NOW)
    with world.engine.connect() as connection:
        given = advice_of(connection, "j1", 1)
    assert given is not None
    assert given.model_generation is None, "nothing was learned yet: the priors alone speak"
    assert json.loads(given.body)["reason"] == "gpu_oom"


def test_a_failed_attempt_is_looked_into_once_its_lines_have_settled(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.report(attempt("j1"))
    rounds = world.rounds(settle_s=600)
    assert rounds.tick(NOW - HOUR_NS + 599 * S_NS)
    assert world.failures("j1") == []
    assert rounds.tick(NOW - HOUR_NS + 601 * S_NS)
    assert world.reasons("j1") == {1: "gpu_oom"}


def test_what_nobody_reported_is_found_when_its_log_has_been_quiet(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take([*lines("bad", OUT_OF_MEMORY), *lines("good", FINE)])
    rounds = world.rounds(quiet_s=900)
    assert rounds.tick(NOW - HOUR_NS + 899 * S_NS)
    assert world.failures("bad") == []
    assert rounds.tick(NOW - HOUR_NS + 920 * S_NS)
    (found,) = world.failures("bad")
    assert (found.number, found.reason, found.reported, found.failed_ns) == (1, "gpu_oom", False, NOW - HOUR_NS)
    assert world.failures("good") == []
    assert world.table("gpu_progress", "updated_ns", "value") == [
        ("gpu due", 0, None),
        ("gpu hours", (NOW - HOUR_NS) // HOUR_NS, None),
        ("gpu learned", 0, None),
        ("gpu nodes tested", 0, None),
        ("gpu rounds", 0, None),
    ], "no job waits any longer"


def test_a_log_that_goes_on_is_not_quiet(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    rounds = world.rounds(quiet_s=1800)
    assert rounds.tick(NOW - HOUR_NS + MINUTE_NS)
    world.take(lines("j1", ("caught, going on", "step 200 loss 2.65"), NOW - MINUTE_NS))
    assert rounds.tick(NOW)
    assert world.failures("j1") == []


def test_lines_that_come_late_change_what_was_found(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.report(attempt("j1"))
    rounds = world.rounds()
    assert rounds.tick(NOW)
    (found,) = world.failures("j1")
    assert (found.status, found.reason, found.revision) == ("abstained", None, 1)
    world.take(lines("j1", OUT_OF_MEMORY))
    assert rounds.tick(NOW + S_NS)
    (again,) = world.failures("j1")
    assert (again.status, again.reason, again.revision, again.id) == ("answered", "gpu_oom", 2, found.id)
    assert rounds.tick(NOW + 2 * S_NS)
    assert world.failures("j1") == [again]


def test_lines_that_come_late_and_tell_nothing_else_change_nothing(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.report(attempt("j1"))
    rounds = world.rounds()
    assert rounds.tick(NOW)
    (found,) = world.failures("j1")
    world.take(lines("j1", ("step 98 loss 2.73", "step 99 loss 2.72"), NOW - HOUR_NS - MINUTE_NS))
    world.take(lines("j1", ("saved nothing",), NOW - HOUR_NS + MINUTE_NS))
    assert rounds.tick(NOW + S_NS)
    assert world.failures("j1") == [found]


def test_a_report_that_comes_late_confirms_or_takes_back_what_the_log_alone_told(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take([*lines("failed", OUT_OF_MEMORY), *lines("passed", OUT_OF_MEMORY)])
    rounds = world.rounds()
    assert rounds.tick(NOW)
    assert [world.failures(job)[0].reported for job in ("failed", "passed")] == [False, False]
    world.report(attempt("failed"), attempt("passed", outcome="passed"))
    assert rounds.tick(NOW + S_NS)
    (found,) = world.failures("failed")
    assert (found.reported, found.user, found.revision) == (True, "anna", 2)
    assert world.failures("passed") == []
    with world.engine.connect() as connection:
        advised = [advice_of(connection, job, 1) is not None for job in ("failed", "passed")]
    assert advised == [True, False], "what passed is not to be run again"


def test_each_attempt_is_told_by_its_own_lines(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    second = {"submitted_ns": NOW - 55 * MINUTE_NS, "start_ns": NOW - 50 * MINUTE_NS, "end_ns": NOW - 40 * MINUTE_NS}
    missing = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'apex'")
    world.take([*lines("j1", OUT_OF_MEMORY), *lines("j1", missing, NOW - 40 * MINUTE_NS)])
    world.report(attempt("j1"), attempt("j1", 2, reported_ns=NOW - 39 * MINUTE_NS, **second))
    assert world.rounds().tick(NOW)
    assert world.reasons("j1") == {1: "gpu_oom", 2: "import_error"}


def test_the_end_of_each_attempt_is_read_as_closely_when_both_are_reported_at_once(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    noise = [f"Error budget of loader {number}: " + "x" * 100 for number in range(150)]
    missing = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'apex'")
    first = {"submitted_ns": NOW - 9 * HOUR_NS, "start_ns": NOW - 8 * HOUR_NS, "end_ns": NOW - 5 * HOUR_NS}
    world.take([*lines("j1", noise, NOW - 7 * HOUR_NS), *lines("j1", OUT_OF_MEMORY, NOW - 5 * HOUR_NS)])
    world.take(lines("j1", missing))
    world.report(attempt("j1", **first), attempt("j1", 2))
    assert world.rounds().tick(NOW)
    assert world.reasons("j1") == {1: "gpu_oom", 2: "import_error"}


def test_an_attempt_that_follows_unreported_is_the_next_one_until_it_is_reported(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    missing = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'apex'")
    world.take([*lines("j1", OUT_OF_MEMORY), *lines("j1", missing, NOW - 30 * MINUTE_NS)])
    world.report(attempt("j1"))
    rounds = world.rounds()
    assert rounds.tick(NOW)
    assert [(row.number, row.reason, row.reported) for row in world.failures("j1")] == [
        (1, "gpu_oom", True),
        (2, "import_error", False),
    ]
    # It turns out that the first attempt ran on until then.
    world.report(attempt("j1", end_ns=NOW - 30 * MINUTE_NS, reported_ns=NOW))
    assert rounds.tick(NOW + 2 * MINUTE_NS)
    assert [row.number for row in world.failures("j1")] == [1]


def test_kernel_lines_of_the_nodes_it_ran_on_tell_also_when_they_come_late(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", ("step 100 loss 2.71",)))
    world.report(attempt("j1", nodes=("n1.cluster.local",)), attempt("j2", nodes=("n2",)))
    rounds = world.rounds()
    assert rounds.tick(NOW)
    assert world.reasons("j1") == {1: None}
    world.take(lines("", (XID,), source="kernel", file="kmsg"))
    assert rounds.tick(NOW + S_NS)
    assert world.reasons("j1") == {1: "gpu_fell_off_bus"}
    assert world.reasons("j2") == {1: None}, "another node's kernel says nothing of it"


def test_an_unreported_failure_stays_when_a_kernel_or_an_earlier_attempt_is_heard_of_late(
    quick_gpu_world: GpuWorld,
) -> None:
    world = quick_gpu_world
    missing = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'apex'")
    world.take([*lines("alone", OUT_OF_MEMORY), *lines("again", missing, NOW - 30 * MINUTE_NS)])
    world.report(attempt("again", outcome="passed"))
    rounds = world.rounds()
    assert rounds.tick(NOW)
    found = [world.failures(job) for job in ("alone", "again")]
    assert [(row.number, row.reason, row.reported) for rows in found for row in rows] == [
        (1, "gpu_oom", False),
        (2, "import_error", False),
    ]
    world.take(lines("", ("systemd[1]: Started a session.",), source="kernel", file="kmsg"))
    world.report(attempt("again", outcome="passed", exit_code=0))
    assert rounds.tick(NOW + MINUTE_NS)
    assert [world.failures(job) for job in ("alone", "again")] == found
    world.take(lines("", (XID,), source="kernel", file="kmsg"))
    assert rounds.tick(NOW + 2 * MINUTE_NS)
    assert world.reasons("alone") == {1: "gpu_fell_off_bus"}


def test_a_second_death_that_nobody_reports_is_another_attempt_and_not_the_first_told_anew(
    quick_gpu_world: GpuWorld,
) -> None:
    world = quick_gpu_world
    missing = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'apex'")
    world.take([*lines("nightly", OUT_OF_MEMORY), *lines("late", OUT_OF_MEMORY)])
    rounds = world.rounds()
    assert rounds.tick(NOW)
    first = world.failures("nightly")
    died_ns = NOW - HOUR_NS
    again = [row for minute in range(5, 45, 5) for row in lines("late", ("step 9",), died_ns + minute * MINUTE_NS)]
    world.take([*lines("nightly", missing, NOW), *again, *lines("late", missing, NOW)])
    assert rounds.tick(NOW + 16 * MINUTE_NS)
    assert world.reasons("nightly") == {1: "gpu_oom", 2: "import_error"}
    assert world.failures("nightly")[:1] == first
    assert list(world.reasons("late")) == [1], "its log was not quiet, it came late"
    world.take(lines("nightly", OUT_OF_MEMORY, NOW + HOUR_NS))
    restarted = world.rounds("another")
    rounds.leave()
    assert restarted.tick(NOW + 2 * HOUR_NS)
    assert world.reasons("nightly") == {1: "gpu_oom", 2: "import_error", 3: "gpu_oom"}
    assert world.failures("nightly")[:1] == first
    world.take(lines("nightly", OUT_OF_MEMORY, NOW + 3 * DAY_NS))
    assert restarted.tick(NOW + 3 * DAY_NS + HOUR_NS)
    assert list(world.reasons("nightly")) == [1, 2, 3, 4], "also where the others lie too far back to be looked at"


def test_kernel_lines_of_another_time_say_nothing(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("", (XID,), NOW - 10 * MINUTE_NS, source="kernel", file="kmsg"))
    world.report(attempt("j1"))
    assert world.rounds().tick(NOW)
    assert world.reasons("j1") == {1: None}


def test_what_follows_in_a_nodes_kernel_from_another_jobs_failure_makes_no_failure_of_one_that_nobody_reported(
    quick_gpu_world: GpuWorld,
) -> None:
    world = quick_gpu_world
    torn_down = ("NVRM: Xid (PCI:0000:5e:00): 43, pid=88, name=python, Ch 00000010",)
    world.take(row for job in ("quiet", "running", "died") for row in lines(job, FINE[:2]))
    world.take([*lines("", torn_down, source="kernel", file="kmsg"), *lines("told", OUT_OF_MEMORY)])
    world.report(attempt("running", outcome="running", end_ns=None), attempt("died"))
    assert world.rounds().tick(NOW)
    assert {job: world.reasons(job) for job in ("quiet", "running")} == {"quiet": {}, "running": {}}
    assert [row.status for row in world.failures("died")] == ["abstained"], "of this one it is known that it failed"
    assert world.reasons("told") == {1: "gpu_oom"}


def test_of_a_node_that_jobs_share_the_kernel_tells_only_what_nobody_else_can_mean(
    quick_gpu_world: GpuWorld,
) -> None:
    world = quick_gpu_world
    killed = (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
        "oom_memcg=/slurm/uid_7/job_{0},task_memcg=/slurm/uid_7/job_{0}/step_0/task_0,task=python,pid=4242,uid=7"
    )
    for node, kernel in (("n1", XID), ("n2", killed.format(5501)), ("n3", XID)):
        world.take(lines("", (kernel,), node=node, source="kernel", file="kmsg"))
    world.take(lines("fine", FINE[:2]))
    world.take([*lines("known", (*FINE[:1], "train.py: worker pid 1234 on gpu 0")), *lines("other", OUT_OF_MEMORY)])
    world.take(row for job in ("train-5500", "train-5501") for row in lines(job, FINE[:1], node="n2"))
    world.take(lines("alone", FINE[:1], node="n3"))
    world.take(lines("earlier", FINE[:1], NOW - HOUR_NS - 30 * MINUTE_NS, node="n3"))
    world.report(attempt("known"), attempt("other"), attempt("untold"))
    world.report(*(attempt(job, nodes=("n2",)) for job in ("train-5500", "train-5501")))
    assert world.rounds().tick(NOW)
    jobs = "known", "other", "untold", "fine", "train-5500", "train-5501", "alone"
    assert {job: [row.guess for row in world.failures(job)] for job in jobs} == {
        "known": ["gpu_fell_off_bus"],
        "other": ["gpu_oom"],
        "untold": ["gpu_fell_off_bus"],
        "fine": [],
        "train-5500": [None],
        "train-5501": ["cpu_oom"],
        "alone": ["gpu_fell_off_bus"],
    }

    def notes(job: str) -> list[str]:
        (row,) = world.failures(job)
        return [note for note in json.loads(row.diagnosis)["notes"] if "other" in note]

    assert notes("known") == notes("train-5501") == notes("alone") == []
    assert notes("train-5500") == ["1 kernel lines name another job of the node and were left out"]
    assert notes("other") == ["1 kernel lines may be about other jobs of the node (fine, known): set aside"]
    assert notes("untold") == [
        "node n1 ran other jobs at that time (fine, known, other): what its kernel wrote may be about them"
    ]


def test_a_nodes_scheduler_tells_of_the_jobs_that_its_lines_name(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    told = "slurmstepd: error: *** JOB 4711 ON n1 CANCELLED AT 2024-11-20T12:30:00 DUE TO TIME LIMIT ***"
    world.take(lines("", (told,), source="scheduler", file="slurmd.log"))
    world.report(attempt("4711"), attempt("471"))
    assert world.rounds().tick(NOW)
    assert [world.reasons(job) for job in ("4711", "471")] == [{1: "time_limit"}, {1: None}]


def test_what_the_scheduler_did_is_the_reason_where_logs_are_not_sure(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take([*lines("t2", OUT_OF_MEMORY), *lines("p2", OUT_OF_MEMORY)])
    world.report(
        attempt("t1", outcome="timeout"),
        attempt("t2", outcome="timeout"),
        attempt("p2", outcome="preempted"),
        attempt("n1", outcome="node_failure"),
        attempt("k1", outcome="killed"),
    )
    assert world.rounds().tick(NOW)
    wanted = {"t1": "time_limit", "t2": "gpu_oom", "p2": "job_preempted", "n1": "node_failure"}
    assert {job: world.reasons(job)[1] for job in wanted} == wanted
    assert world.failures("k1") == []
    (found,) = world.failures("p2")
    assert "suggest gpu_oom" in json.loads(found.diagnosis)["notes"][-1]


def test_a_job_of_many_ranks_is_read_in_pieces_and_told_as_in_one(
    quick_gpu_world: GpuWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_gpu_world
    for rank in range(20):
        texts = OUT_OF_MEMORY if rank == 13 else FINE[:2]
        world.take(lines("j1", texts, rank=str(rank), file=f"rank-{rank}.log", node=f"n{rank // 8}"))
    world.report(attempt("j1", nodes=("n0", "n1", "n2")))
    pieces: list[int] = []
    read = gpu_scans.kept_lines

    def seen(snapshot: Any, query: Any, series: Any, *rest: Any) -> Any:
        pieces.append(len(series))
        return read(snapshot, query, series, *rest)

    monkeypatch.setattr(gpu_scans, "kept_lines", seen)
    rounds = world.rounds()
    assert rounds.tick(NOW)
    rounds.leave()
    (whole,) = world.failures("j1")
    assert (whole.reason, whole.rank, whole.node) == ("gpu_oom", 13, "n1")
    with world.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM gpu_failures"))
        connection.execute(sa.text("DELETE FROM gpu_progress"))
    monkeypatch.setattr(gpu_scans, "SERIES_AT_ONCE", 8)
    assert world.rounds().tick(NOW)
    assert pieces == [20, 8, 8, 4]
    assert [row.diagnosis for row in world.failures("j1")] == [whole.diagnosis]


def test_of_a_job_of_very_many_logs_each_has_a_smaller_share_of_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_scans, "MOST_BYTES", 10_000)
    monkeypatch.setattr(gpu_scans, "LEAST_SHARE", 500)
    logs = gpu_scans.Logs("j1", range(100), (), 0, 10**6)
    kept = [KeptLine(number, 0, f"line {number:4} " + "x" * 40) for number in range(1000)]
    gpu_scans._scan(logs, kept, Origin("out.log"), Scanner(()), False)
    (scan,) = logs.scans
    assert scan.bytes < 1_500
    assert [line.text[:9] for line in scan.tail][-1] == "line  999"
    assert scan.lines == 10


def test_what_somebody_found_in_whole_logs_is_not_replaced_by_what_was_kept_of_them(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.report(attempt("j1"))
    with world.engine.begin() as connection:
        put_failure(connection, uploaded("j1"))
    assert world.rounds().tick(NOW)
    assert [(row.reason, row.origin) for row in world.failures("j1")] == [("disk_full", "upload")]


def test_two_collectors_do_it_once(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.take(lines("j1", OUT_OF_MEMORY))
    world.report(attempt("j1"))
    first, second = world.rounds("a"), world.rounds("b")
    assert first.tick(NOW)
    before = {name: world.table(name) for name in ("gpu_failures", "gpu_advice", "gpu_progress")}
    assert not second.tick(NOW + S_NS)
    assert {name: world.table(name) for name in before} == before
    first.leave()
    assert second.tick(NOW + S_NS)
    assert {name: world.table(name) for name in ("gpu_failures", "gpu_advice")} == {
        name: before[name] for name in ("gpu_failures", "gpu_advice")
    }


def test_attempts_of_long_ago_are_learned_from_and_not_looked_into(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    old = {"submitted_ns": NOW - 9 * DAY_NS, "start_ns": NOW - 9 * DAY_NS, "end_ns": NOW - 8 * DAY_NS}
    world.report(attempt("j1", **old))
    assert world.rounds().tick(NOW)
    assert world.failures("j1") == []


def test_made_up_attempts_are_called_so(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    world.report(attempt("j1", synthetic=True), attempt("j2"))
    assert world.rounds().tick(NOW)
    assert [world.failures(job)[0].synthetic for job in ("j1", "j2")] == [True, False]


def uploaded(job: str) -> FailureRow:
    return FailureRow(
        job=job,
        number=1,
        failed_ns=NOW - HOUR_NS,
        found_ns=NOW - MINUTE_NS,
        status="answered",
        reason="disk_full",
        category="infrastructure",
        guess="disk_full",
        confidence=0.9,
        diagnosis="{}",
        rules_version="x",
        origin="upload",
    )
