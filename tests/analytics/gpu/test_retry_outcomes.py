"""What became of retries, told by attempts alone."""

from dataclasses import replace

import pytest

from analytics.errors import DataError
from analytics.gpu.attempts import Outcome
from analytics.gpu.retry_learning import learn_from
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_outcomes import chains, got_past, outcomes
from analytics.gpu.retry_state import dump_state
from tests.analytics.gpu.attempt_rows import HOUR_NS, START_NS, attempt, failing

FAILURE = attempt(1, "cpu_oom", 2.0)


@pytest.mark.parametrize(
    ("reason", "hours", "outcome", "passed"),
    [
        ("", 0.1, "passed", True),  # went on from a checkpoint
        ("cpu_oom", 2.0, "failed", False),
        ("cpu_oom", 0.5, "failed", False),
        ("cpu_oom", 2.1, "failed", False),  # no clearly later point
        ("cpu_oom", 2.5, "failed", True),
        ("import_error", 2.5, "failed", True),
        ("import_error", 0.5, "failed", None),  # another failure hides whether the first would have come back
        ("", 0.5, "killed", None),
        ("", 0.5, "preempted", None),
        ("", 5.0, "killed", True),
        ("", 0.0, "running", None),
    ],
)
def test_a_retry_got_past_the_failure_or_not_or_nobody_knows(
    reason: str, hours: float, outcome: Outcome, passed: bool | None
) -> None:
    assert got_past(FAILURE, attempt(2, reason, hours, outcome)) is passed


@pytest.mark.parametrize("outcome", ["killed", "running"])
def test_what_was_ended_by_a_person_or_still_runs_repeats_no_unknown_failure(outcome: Outcome) -> None:
    for hours in (0.0, 0.01):
        assert got_past(attempt(1, "", 0.01), attempt(2, "", hours, outcome)) is None
    assert got_past(attempt(1, "", 0.01), attempt(2, "", 0.01)) is False


def test_a_chain_teaches_one_outcome_a_retry_from_what_was_known_then() -> None:
    chain = [*failing(3, "cpu_oom"), attempt(4, "", 9.0, "passed")]
    found = list(outcomes(chain))
    assert [(each.seen.number, each.seen.repeats, each.passed) for each in found] == [
        (1, 0, False),
        (2, 1, False),
        (3, 2, True),
    ]
    assert len({each.learned_from for each in found}) == 3


def test_neither_a_person_nor_a_gap_in_the_numbers_teaches_anything() -> None:
    assert list(outcomes([attempt(1, "", outcome="killed"), attempt(2, "", outcome="passed")])) == []
    assert list(outcomes([attempt(1, "cpu_oom"), attempt(3, "", outcome="passed")])) == []


def test_whether_the_retry_went_elsewhere_is_known_only_with_nodes() -> None:
    for nodes, moved in ((("b",), True), (("a", "b"), False), ((), None)):
        (found,) = outcomes([attempt(1, nodes=("a",)), attempt(2, "", outcome="passed", nodes=nodes)])
        assert found.seen.moved is moved


def test_attempts_are_put_in_order_and_no_number_comes_twice() -> None:
    assert [each.number for each in chains(reversed(failing(3)))["job-1"]] == [1, 2, 3]
    with pytest.raises(DataError, match="job 'job-1': two attempts of number 2"):
        chains([*failing(2), attempt(2)])


def test_outcomes_are_learned_once_and_in_order_of_time_whatever_order_jobs_come_in() -> None:
    jobs = [
        [attempt(1, "cpu_oom", job="a"), attempt(2, "cpu_oom", job="a")],
        [attempt(1, "cpu_oom", job="b", at_h=-50), attempt(2, "", 9.0, "passed", job="b", at_h=-40)],
    ]
    one, two = RetryModel(), RetryModel()
    assert learn_from(one, jobs) == 2
    assert learn_from(two, jobs[::-1]) == 2
    assert one.records == two.records
    assert one.weights.tobytes() == two.weights.tobytes()
    assert learn_from(one, jobs) == 0
    assert one.records == two.records


def test_run_times_that_nobody_knows_teach_nothing_but_passing() -> None:
    for first in (replace(attempt(1), end_ns=None), replace(attempt(1), end_ns=START_NS - HOUR_NS)):
        assert got_past(first, attempt(2, hours=9)) is None
        assert got_past(first, attempt(2, "", outcome="passed")) is True
    unknown = replace(attempt(2), end_ns=None)
    assert got_past(attempt(1), unknown) is None
    backwards = replace(attempt(1), end_ns=START_NS - HOUR_NS)
    assert backwards.runtime_s() == 0


def test_what_never_started_is_passed_by_whatever_ran() -> None:
    first = replace(attempt(1, "k8s_admission"), start_ns=None, end_ns=None)
    assert got_past(first, attempt(2, hours=1)) is True


def test_many_jobs_at_once_teach_what_they_would_have_taught_one_by_one() -> None:
    # More failures on one node than its history keeps: each still sees those that came just before it.
    jobs = [
        [
            attempt(1, "gpu_ecc", job=f"j{i}", nodes=("n1",), at_h=10 * i),
            attempt(2, "", outcome="passed", job=f"j{i}", nodes=("n2",), at_h=10 * i + 2),
        ]
        for i in range(40)
    ]
    at_once, one_by_one = RetryModel(), RetryModel()
    assert learn_from(at_once, jobs) == sum(learn_from(one_by_one, [chain]) for chain in jobs) == 40
    assert dump_state(at_once) == dump_state(one_by_one)
