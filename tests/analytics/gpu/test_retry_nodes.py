"""Nodes that failed jobs lately."""

from dataclasses import replace

from analytics.gpu.retry_nodes import MOST_NODES, MOST_PER_NODE, NodeHistory
from tests.analytics.gpu.attempt_rows import START_NS, attempt

REASONS = frozenset({"gpu_ecc"})
NOW_NS = START_NS + 10 * 3600 * 10**9


def test_a_node_stands_out_after_two_jobs_with_one_reason_and_not_after_one_job_twice() -> None:
    nodes = NodeHistory()
    nodes.add(attempt(1, "gpu_ecc", job="a", nodes=("n1", "n2"), at_h=0))
    nodes.add(attempt(2, "gpu_ecc", job="a", nodes=("n1",), at_h=2))
    assert nodes.to_avoid(REASONS, NOW_NS) == ()
    nodes.add(attempt(1, "gpu_ecc", job="b", nodes=("n1",), at_h=4))
    assert nodes.to_avoid(REASONS, NOW_NS) == ("n1",)


def test_other_reasons_old_failures_and_later_ones_do_not_count() -> None:
    nodes = NodeHistory()
    for job, reason, hours in (("a", "gpu_ecc", 0.0), ("b", "semantic_error", 1.0), ("c", "gpu_ecc", -200.0)):
        nodes.add(attempt(1, reason, job=job, nodes=("n1",), at_h=hours))
    nodes.add(attempt(1, "gpu_ecc", job="d", nodes=("n1",), at_h=500))
    assert nodes.to_avoid(REASONS, NOW_NS) == ()
    assert nodes.failures_of_others(attempt(1, "gpu_ecc", job="e", nodes=("n1",), at_h=3)) == 1


def test_the_same_failure_is_noted_once() -> None:
    nodes = NodeHistory()
    for _ in range(3):
        nodes.add(attempt(1, "gpu_ecc", nodes=("n1",)))
    assert [len(failures) for _, failures in nodes.items()] == [1]


def test_a_jobs_own_failures_are_not_those_of_others() -> None:
    nodes = NodeHistory()
    nodes.add(attempt(1, "gpu_ecc", job="a", nodes=("n1",), at_h=0))
    assert nodes.failures_of_others(attempt(2, "gpu_ecc", job="a", nodes=("n1",), at_h=2)) == 0
    assert nodes.failures_of_others(attempt(1, "gpu_ecc", job="b", nodes=("n1",), at_h=2)) == 1


def test_history_is_bounded_and_forgets_what_failed_longest_ago() -> None:
    nodes = NodeHistory()
    for number in range(MOST_PER_NODE + 5):
        nodes.add(attempt(1, "gpu_ecc", job=f"j{number}", nodes=("n1",), at_h=number))
    assert [failure.job for failure in dict(nodes.items())["n1"]] == [f"j{n}" for n in range(5, MOST_PER_NODE + 5)]
    many = replace(attempt(1, "gpu_ecc"), nodes=tuple(f"x{number}" for number in range(MOST_NODES)))
    nodes.add(many)
    kept = dict(nodes.items())
    assert len(kept) == MOST_NODES
    assert "n1" not in kept
