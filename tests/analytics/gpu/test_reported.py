"""Attempts as they are reported, made into what diagnoses and advice take."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from analytics.errors import DataError
from analytics.gpu.diagnosis import Diagnosis
from analytics.gpu.reported import attempt_of, by_scheduler, facts_of, lost_gpu_s, rules_version
from analytics.gpu.signature_files import shipped_signatures

HOUR_NS = 3_600 * 10**9


@dataclass(frozen=True)
class Told:
    job: str = "train-7"
    number: int = 2
    user: str = "ana"
    queue: str = ""
    nodes: tuple[str, ...] = ("n1", "n2")
    gpus: float | None = 16.0
    submitted_ns: int | None = None
    start_ns: int | None = HOUR_NS
    end_ns: int | None = 3 * HOUR_NS
    outcome: str = "failed"


@dataclass(frozen=True)
class Said:
    reason: str | None = "gpu_oom"
    category: str | None = "ai_engine"
    template: str | None = None


def test_an_attempt_takes_its_reason_from_what_was_found():
    attempt = attempt_of(Told(), Said())
    assert (attempt.reason, attempt.category, attempt.template) == ("gpu_oom", "ai_engine", "")
    assert (attempt.submitted_ns, attempt.runtime_s()) == (HOUR_NS, 7_200.0)
    assert attempt_of(Told(gpus=None)).gpus == 0.0
    assert attempt_of(Told()).reason == ""


def test_an_outcome_that_is_none_is_refused_by_name():
    with pytest.raises(DataError, match=r"outcome 'dead' of job 'train-7'; want passed, failed"):
        attempt_of(Told(outcome="dead"))


@pytest.mark.parametrize(
    ("outcome", "failed"), [("passed", False), ("failed", True), ("timeout", True), ("killed", None), ("running", None)]
)
def test_facts_say_whether_it_failed_and_where_it_ran(outcome, failed):
    facts = facts_of(Told(outcome=outcome))
    assert facts.failed is failed
    assert (facts.nodes, facts.start_ns, facts.end_ns) == ({"n1", "n2"}, HOUR_NS, 3 * HOUR_NS)


@pytest.mark.parametrize(
    ("outcome", "logs_say", "reason"),
    [
        ("timeout", None, "time_limit"),
        ("timeout", "gpu_oom", "gpu_oom"),
        ("preempted", "gpu_oom", "job_preempted"),
        ("node_failure", None, "node_failure"),
        ("failed", None, None),
        ("", "gpu_oom", "gpu_oom"),
    ],
)
def test_what_the_scheduler_did_answers_where_logs_do_not(outcome, logs_say, reason):
    found = by_scheduler(said(logs_say), outcome)
    assert (found.reason, found.status) == (reason, "answered" if reason else "abstained")
    if outcome == "preempted":
        assert found.notes[-1].endswith("ended with preempted; the logs alone suggest gpu_oom")


def said(reason):
    return Diagnosis(
        status="answered" if reason else "abstained", reason=reason, category="user" if reason else None, guess=reason,
        confidence=0.9, retry=None, action=None, rank=0, node="n1", evidence=(), cascades=(), silent_ranks=(),
        template=None, lines=1, bytes=1,
    )  # fmt: skip


def test_gpu_time_is_lost_only_where_it_is_known():
    assert lost_gpu_s(Told()) == 16 * 7_200
    assert lost_gpu_s(Told(end_ns=None), 2 * HOUR_NS) == 16 * 3_600
    assert lost_gpu_s(Told(end_ns=0)) == 0
    for unknown in (Told(gpus=None), Told(start_ns=None), Told(end_ns=None)):
        assert lost_gpu_s(unknown) is None


def test_other_rules_are_another_version():
    rules = shipped_signatures()
    changed = (replace(rules[0], weight=rules[0].weight - 1), *rules[1:])
    assert rules_version(rules) == rules_version(list(rules))
    assert len({rules_version(rules), rules_version(rules[1:]), rules_version(changed)}) == 3
