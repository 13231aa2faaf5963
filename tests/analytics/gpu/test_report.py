"""Tables of the report hold what their attempts say, and what a trace does not tell is named."""

import json
from pathlib import Path

import polars as pl
import pytest

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.report import Report, report
from analytics.gpu.traces.columns import frame_of
from analytics.gpu.traces.formats import read_trace
from analytics.gpu.traces.trace import Trace
from tests.analytics.gpu.made_up_attempts import attempt, cluster
from tests.analytics.gpu.traces.layouts import pai


def reported(*attempts: Attempt) -> Report:
    return report(Trace("attempts", frame_of(attempts)))


def test_shares_are_of_attempts_of_jobs_by_their_last_attempt_and_of_gpu_time() -> None:
    found = reported(
        attempt("a", "failed", gpus=8.0, hours=1.0),
        attempt("a", "passed", number=2, gpus=8.0, hours=2.0),
        attempt("b", "killed", gpus=1.0, hours=8.0),
        attempt("c", "preempted", gpus=2.0, hours=4.0),
        Attempt("d", 1, "u", "q", ("n1",), 1.0, 0, 0, None, "running"),
    )
    rows = {row["outcome"]: row for row in found.outcomes.to_dicts()}
    assert list(rows) == ["passed", "failed", "killed", "preempted", "running"]
    assert [rows[name]["jobs"] for name in rows] == [1, 0, 1, 1, 1]
    assert [rows[name]["gpu_hours"] for name in rows] == [16.0, 8.0, 8.0, 8.0, 0.0]
    assert rows["failed"]["attempt_share"] == 0.2
    assert rows["passed"]["gpu_hours_share"] == 0.4
    overview = found.overview
    assert (overview.gpu_hours, overview.lost_gpu_hours, overview.preempted_gpu_hours) == (40.0, 8.0, 8.0)
    assert overview.lost_share == 0.2


def test_failures_are_counted_by_what_they_have_in_common() -> None:
    found = reported(
        attempt("a", user="x", gpus=4.0, hours=1.0, reason="gpu_oom", category="ai_engine", nodes=("n1",)),
        attempt("a", number=2, user="x", gpus=4.0, hours=3.0, reason="gpu_oom", category="ai_engine", nodes=("n2",)),
        attempt("b", "timeout", user="y", gpus=0.5, hours=2.0, reason="time_limit", category="infrastructure"),
        attempt("c", "node_failure", user="y", gpus=16.0, hours=1.0, nodes=("n1", "n2")),
        attempt("d", "passed", user="y"),
        attempt("e", "killed", user="y"),
    )
    reasons = found.failures["reason"].to_dicts()
    assert [(row["reason"], row["failures"], row["jobs"], row["gpu_hours_lost"]) for row in reasons] == [
        ("gpu_oom", 2, 1, 16.0),
        ("(none)", 1, 1, 16.0),
        ("time_limit", 1, 1, 1.0),
    ]
    by_user = {row["user"]: row for row in found.failures["user"].to_dicts()}
    assert by_user["y"]["ended"] == 4
    assert by_user["y"]["failed_share"] == 0.5
    assert by_user["x"]["lost_share"] == pytest.approx(16 / 33)
    assert {row["gpus"]: row["failures"] for row in found.failures["gpus"].to_dicts()} == {"<1": 1, "2-4": 2, "9-16": 1}
    assert {row["node"]: row["gpu_hours_lost"] for row in found.failures["node"].to_dicts()} == {"n1": 13.0, "n2": 20.0}
    oom = next(row for row in reasons if row["reason"] == "gpu_oom")
    assert (oom["p50"], oom["p90"]) == (60.0, 180.0)  # minutes, nearest rank
    assert found.to_failure == {"p50": 60.0, "p90": 180.0, "p95": 180.0}


def test_repeats_are_counted_along_each_chain() -> None:
    found = reported(
        attempt("a", nodes=("n1",), reason="r"),
        attempt("a", number=2, nodes=("n1",), reason="r"),
        attempt("a", "passed", number=3, nodes=("n2",), gpus=2.0),
        attempt("b", nodes=("n1",), reason="r", user="v"),
        attempt("b", "failed", number=2, nodes=("n3",), reason="s", user="v", hours=4.0),
        attempt("c", user="w"),
        attempt("d", "preempted", user="w"),
        attempt("d", "passed", number=2, user="w"),
    ).repeats
    assert found is not None
    assert (found.jobs, found.retried) == (4, 3)
    assert (found.again.hits, found.again.trials) == (2, 3)  # c was not run again, d was not failing
    assert [(number, share.hits, share.trials) for number, share in found.by_number] == [(1, 2, 2), (2, 0, 1)]
    assert (found.same_nodes.hits, found.same_nodes.trials) == (1, 1)
    assert (found.other_nodes.hits, found.other_nodes.trials) == (1, 2)
    assert [(reason, share.hits, share.trials) for reason, share in found.by_reason] == [("r", 1, 3)]
    assert (found.passed_later.hits, found.passed_later.trials) == (1, 2)
    assert (found.retry_gpu_hours, found.wasted_gpu_hours) == (8.0, 4.0)


def test_intervals_of_repeats_hold_the_truth_and_widen_with_few_users() -> None:
    many = report(Trace("attempts", cluster(2, jobs=1500, node_faults=1e-9, repeat=0.6))).repeats
    few = report(Trace("attempts", cluster(2, jobs=1500, users=3, node_faults=1e-9, repeat=0.6))).repeats
    assert many is not None
    assert few is not None
    first = dict(many.by_number)[1]
    assert first.low is not None
    assert first.high is not None
    assert first.low <= 0.6 <= first.high
    one = reported(attempt("a"), attempt("a", "passed", number=2)).repeats
    assert one is not None
    assert (one.again.low, one.again.high) == (None, None)  # a single user says nothing about others


def test_waits_go_by_gpus_and_by_the_nodes_that_jobs_were_spread_over() -> None:
    found = reported(
        attempt("a", "passed", gpus=8.0, nodes=("n1",), waited=1.0),
        attempt("b", "passed", gpus=8.0, nodes=("n1", "n2"), waited=0.25),
        attempt("b", "passed", number=2, gpus=8.0, nodes=("n1",), waited=50.0),
        attempt("c", "passed", gpus=0.5, waited=0.0),
    )
    assert [(row["gpus"], row["jobs"], row["mean"], row["p50"]) for row in found.waits.to_dicts()] == [
        ("<1", 1, 0.0, 0.0),
        ("5-8", 2, 37.5, 15.0),
    ]
    assert [(row["gpus"], row["nodes"], row["p99"]) for row in found.waits_by_locality.to_dicts()] == [
        ("5-8", "1", 60.0),
        ("5-8", "2", 15.0),
    ]


def test_utilisation_is_a_mean_over_gpu_time() -> None:
    rows = [attempt("a", "passed", gpus=8.0, hours=3.0), attempt("b", gpus=8.0, hours=1.0), attempt("c", gpus=1.0)]
    frame = frame_of(rows).with_columns(busy=pl.Series([0.8, 0.4, None]))
    found = report(Trace("philly", frame))
    assert found.busy["gpus"].to_dicts() == [
        {"gpus": "5-8", "attempts": 2, "mean": pytest.approx(0.7), "p10": 0.4, "p50": 0.4, "p90": 0.8}
    ]
    assert found.busy["outcome"]["outcome"].to_list() == ["passed", "failed"]
    assert not any("utilisation" in text for text in found.missing)


def test_what_a_trace_does_not_tell_is_said() -> None:
    found = reported(Attempt("a", 1, "", "", (), 1.0, 0, None, None, "passed"))
    assert [text.split(":")[0] for text in found.missing] == [
        "no attempt failed",
        "no test of nodes",
        "no repeat rates",
        "no waits",
        "no locality",
        "no utilisation",
    ]
    assert found.failures == {}
    assert "no reasons" in reported(attempt("a")).missing[0]
    assert found.overview.lost_share is None
    with pytest.raises(DataError, match="none of the 1 attempts asked for a GPU"):
        reported(attempt("a", gpus=0.0))


def test_jobs_without_gpus_are_left_out_and_counted(tmp_path: Path) -> None:
    found = reported(attempt("a", gpus=0.0), attempt("b"))
    assert (found.overview.attempts, found.overview.without_gpus) == (1, 1)
    alibaba = report(read_trace(pai(tmp_path, sensors=True), utilisation=True))
    assert alibaba.overview.gpu_hours == pytest.approx(0.5 * 600 / 3600 + 2 * 500 / 3600)
    assert alibaba.overview.nodes == 3
    assert alibaba.busy["gpus"]["gpus"].to_list() == ["<1", "2-4"]


def test_the_report_is_plain_json_and_calls_the_made_up_synthetic() -> None:
    found = report(Trace("attempts", cluster(4, jobs=300, diagnosed=True)))
    answer = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert answer["synthetic"] is True
    assert set(answer["failures_by"]) == {"category", "reason", "user", "queue", "node", "gpus"}
    assert answer["node_test"]["nodes"][0]["q_value"] <= 1
    assert sum(row["failures"] for row in answer["failures_by"]["gpus"]) == sum(
        row["attempts"] for row in answer["outcomes"] if row["outcome"] == "failed"
    )
