"""Nodes stand out where the truth says that they are bad, and hardly ever elsewhere."""

import numpy as np
import polars as pl
import pytest

from analytics.gpu.node_outliers import node_test
from analytics.gpu.traces.columns import frame_of, with_durations
from tests.analytics.gpu.made_up_attempts import attempt, cluster


@pytest.mark.parametrize("diagnosed", [True, False])
def test_bad_nodes_stand_out_and_others_do_not(diagnosed: bool) -> None:
    bad = {"synthetic-n7": 20.0, "synthetic-n33": 20.0}
    found = node_test(with_durations(cluster(1, bad=bad, diagnosed=diagnosed, node_faults=0.01)))
    assert found is not None
    assert found.counted == ("infrastructure" if diagnosed else "all")
    assert {node.name for node in found.outliers} == set(bad)
    assert len(found.nodes) == 60
    first = found.outliers[0]
    assert first.ratio is not None
    assert first.ratio > 1.5
    assert first.users > 5
    assert not first.one_user


def test_in_clusters_of_equal_nodes_hardly_any_is_named() -> None:
    named = tested = 0
    for seed in range(8):
        for diagnosed in (False, True):
            found = node_test(with_durations(cluster(seed, jobs=600, diagnosed=diagnosed)))
            assert found is not None
            named += len(found.outliers)
            tested += len(found.nodes)
    assert tested == 960
    assert named <= 2


def test_a_job_counts_once_a_node_however_often_it_failed_there() -> None:
    rows = [attempt("loop", number=number, nodes=("bad",)) for number in range(1, 40)]
    rows += [
        attempt(f"j{n}", "passed" if n // 10 % 5 else "failed", nodes=(f"n{n % 10}",), user=f"u{n % 7}")
        for n in range(200)
    ]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert {node.name: node.failures for node in found.nodes}["bad"] == 1
    assert found.outliers == ()


def test_a_node_that_gets_many_short_jobs_is_not_taken_for_a_bad_one() -> None:
    # Every fifth job fails everywhere; those of node `short` are a hundred times shorter, so per GPU hour it looks bad.
    rows = [
        attempt(f"j{node}-{n}", "passed" if n % 5 else "failed", nodes=(f"n{node}",), hours=0.01 if node == 0 else 1.0)
        for node in range(20)
        for n in range(100)
    ]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert found.outliers == ()


def test_failures_at_the_start_are_not_held_against_hours_that_have_nothing_to_do_with_them() -> None:
    rng = np.random.default_rng(8)
    rows = [
        attempt(
            f"j{node}-{n}",
            "failed" if rng.random() < (0.4 if node == 5 else 0.15) else "passed",
            nodes=(f"n{node}",),
            user=f"u{n % 9}",
            hours=float(rng.lognormal(0.0, 2.5)),
        )
        for node in range(40)
        for n in range(150)
    ]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert found.exposures == ("jobs",)
    assert found.dispersion == 1.0
    assert [node.name for node in found.outliers] == ["n5"]


def test_a_node_where_one_users_jobs_fail_stands_out_with_that_doubt() -> None:
    rows = [
        attempt(f"j{node}-{n}", "passed" if n % 10 else "failed", nodes=(f"n{node}",), user=f"u{n % 9}")
        for node in range(20)
        for n in range(100)
    ]
    rows += [attempt(f"mine-{n}", nodes=("n3",), user="clumsy") for n in range(60)]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert [(node.name, node.one_user) for node in found.outliers] == [("n3", True)]
    spread = [attempt(f"yours-{n}", nodes=("n3",), user=f"v{n}") for n in range(60)]
    found = node_test(with_durations(frame_of([*rows[:2000], *spread])))
    assert found is not None
    assert [(node.name, node.one_user) for node in found.outliers] == [("n3", False)]


def test_gpu_hours_go_to_the_node_that_gave_them() -> None:
    frame = frame_of([attempt("a", nodes=("x", "y"), gpus=4.0, hours=2.0), attempt("b", "passed", nodes=("y",))])
    frame = frame.with_columns(node_gpus=pl.Series([[3.0, 1.0], [1.0]]))
    found = node_test(with_durations(frame))
    assert found is not None
    assert {node.name: (node.gpu_hours, node.failures, node.jobs) for node in found.nodes} == {
        "x": (6.0, 1, 1),
        "y": (3.0, 1, 2),
    }


def test_failures_that_no_node_can_cause_are_held_against_none() -> None:
    rows = [
        attempt(f"j{node}-{n}", "timeout" if node == 3 or n % 25 == 1 else "passed", nodes=(f"n{node}",), user=f"u{n}",
                reason="time_limit", category="infrastructure")
        for node in range(20)
        for n in range(50)
    ]  # fmt: skip
    rows += [
        attempt(f"e{node}", nodes=(f"n{node}",), reason="gpu_ecc", category="infrastructure") for node in range(20)
    ]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert {node.failures for node in found.nodes} == {1}
    assert found.outliers == ()


def test_there_is_no_test_without_two_nodes() -> None:
    assert node_test(with_durations(frame_of([attempt("a"), attempt("b", "passed")]))) is None
    assert node_test(with_durations(frame_of([attempt("a", nodes=())]))) is None


def test_a_node_on_which_every_job_dies_at_once_stands_out() -> None:
    # Schedulers write whole seconds: what dies within the first has run for 0 s, and was there all the same.
    rows = [
        attempt(
            f"j{n}",
            "passed" if n % 50 else "node_failure",
            nodes=(f"n{n % 9}",),
            reason="node_failure" * (n % 50 == 0),
            category="infrastructure",
        )
        for n in range(450)
    ]
    rows += [
        attempt(
            f"h{n}",
            "node_failure",
            nodes=("hole",),
            hours=0.0,
            reason="node_failure",
            category="infrastructure",
            user=f"u{n}",
        )
        for n in range(30)
    ]
    found = node_test(with_durations(frame_of(rows)))
    assert found is not None
    assert [node.name for node in found.outliers] == ["hole"]
