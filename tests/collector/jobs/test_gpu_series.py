"""Failures of GPU jobs as series: each counted once, in the window in which it happened; nodes and shares beside."""

from typing import Any

import pytest
import sqlalchemy as sa

from collector.jobs.gpu_series import GpuFailureCounts, GpuWindows
from collector.jobs.job_series import STEP_NS
from collector.jobs.job_streams import COLLECTOR_STREAMS
from store.errors import FencedError
from store.windows import Selection, merged
from tests.collector.jobs.gpu_world import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    NOW,
    OUT_OF_MEMORY,
    S_NS,
    GpuWorld,
    attempt,
    lines,
)


def counts(world: GpuWorld, name: str, *by: str) -> dict[tuple[Any, ...], Any]:
    """(start of the window in minutes before now, labels) -> value, of five minutes each."""
    with world.engine.connect() as connection:
        answer = merged(connection, Selection(name, NOW - DAY_NS, NOW + DAY_NS, by=by, step_ns=STEP_NS))
    return {
        ((NOW - one.start_ns) // MINUTE_NS, *(one.labels[label] for label in by)): one.state.answers()[0]
        for one in answer.groups
    }


def found(world: GpuWorld, *jobs: str, **known: Any) -> None:
    """These failed of the memory of their GPUs, and that was found."""
    world.take(row for job in jobs for row in lines(job, OUT_OF_MEMORY))
    world.report(*(attempt(job, **known) for job in jobs))
    rounds = world.rounds(series=False)
    assert rounds.tick(NOW)
    rounds.leave()


def test_failures_count_once_in_the_window_of_their_failure(gpu_world: GpuWorld) -> None:
    world = gpu_world
    found(world, "j1", "j2")
    later = NOW + MINUTE_NS
    first = GpuFailureCounts(1000, world.engine, "a")
    assert first.write(later) == 2
    assert first.write(later) == 0
    by = ("category", "reason", "origin")
    assert counts(world, "gpu_job_failures_total", *by) == {(60, "ai_engine", "gpu_oom", "measured"): 2}
    assert counts(world, "gpu_lost_seconds_total", "reason") == {(60, "gpu_oom"): 2 * 8 * 3600.0}
    with world.engine.begin() as connection:
        connection.execute(sa.text("UPDATE gpu_failures SET reason = 'nccl_error', revision = 2"))
    found(world, "j3", end_ns=NOW - 30 * MINUTE_NS, reported_ns=NOW - 29 * MINUTE_NS)
    second = GpuFailureCounts(1000, world.engine, "b")
    assert second.write(later) == 1
    assert counts(world, "gpu_job_failures_total", "reason") == {(60, "gpu_oom"): 2, (30, "gpu_oom"): 1}
    found(world, "j4")
    with pytest.raises(FencedError):
        first.write(later)
    assert first.write(later) == 1


def test_a_failure_counts_at_once_by_whatever_clock_it_was_found(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    found(world, "j1")
    writer = GpuFailureCounts(1000, world.engine, "a")
    assert writer.write(NOW - MINUTE_NS) == 1, "by a clock that is behind the one it was found by"
    assert writer.write(NOW + S_NS) == 0


def test_a_failure_that_is_taken_back_and_found_again_counts_once(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    found(world, "j1")
    writer = GpuFailureCounts(1000, world.engine, "a")
    assert writer.write(NOW) == 1
    for outcome, failures in (("passed", 0), ("failed", 1)):
        world.report(attempt("j1", outcome=outcome))
        rounds = world.rounds(series=False)
        assert rounds.tick(NOW + S_NS)
        rounds.leave()
        assert len(world.failures("j1")) == failures
        assert writer.write(NOW + S_NS) == 0
    assert counts(world, "gpu_job_failures_total", "reason") == {(60, "gpu_oom"): 1}
    found(world, "j2")
    assert writer.write(NOW + S_NS) == 1


def test_windows_say_what_holds_and_are_written_once(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    found(world, "j1")
    world.report(attempt("j2", nodes=("n2",)), attempt("m1", nodes=("n3", "n4"), synthetic=True))
    rounds = world.rounds(series=False)
    assert rounds.tick(NOW + HOUR_NS)
    rounds.leave()
    writer = GpuWindows(1000, world.engine, "a")
    assert writer.write(NOW + HOUR_NS) == 2
    assert GpuWindows(1000, world.engine, "b").write(NOW + HOUR_NS) == 0
    at = -(HOUR_NS - STEP_NS) // MINUTE_NS
    assert counts(world, "gpu_jobs_unexplained_ratio", "origin") == {(at, "measured"): 0.5, (at, "synthetic"): 1.0}
    assert set(counts(world, "gpu_node_anomaly_state", "node", "origin").items()) == {
        ((at, node, origin), 0)
        for node, origin in (("n1", "measured"), ("n2", "measured"), ("n3", "synthetic"), ("n4", "synthetic"))
    }


def test_records_have_the_columns_that_their_streams_say(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    found(world, "j1", nodes=("n1", "n2"))
    rounds = world.rounds(series=False)
    assert rounds.tick(NOW + HOUR_NS)
    parts = list(GpuWindows(1000, world.engine, "a")._parts(NOW + HOUR_NS, 0))
    assert [stream for _, stream, _ in parts] == ["gpu_explained", "gpu_node_tests"]
    for _, stream, records in parts:
        assert set(records.columns) == set(COLLECTOR_STREAMS[stream])


def test_where_series_are_not_wanted_none_are_written(quick_gpu_world: GpuWorld) -> None:
    world = quick_gpu_world
    found(world, "j1")
    rounds = world.rounds(series=False)
    assert rounds.tick(NOW + HOUR_NS)
    assert "jobs/gpu" not in {row[0] for row in world.table("offsets")}
