"""A job that dies between any two of its transactions, and is run again, leaves the same findings and series."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from store.windows import Selection, merged
from tests.collector.jobs.gpu_world import (
    DAY_NS,
    FINE,
    MINUTE_NS,
    NOW,
    OUT_OF_MEMORY,
    XID,
    GpuWorld,
    attempt,
    lines,
)
from tests.collector.jobs.killing import MOST_COMMITS, Content, KilledError, Mortal, copied, killed_at

LATER = NOW + MINUTE_NS


def filled(engine: sa.Engine) -> GpuWorld:
    """Failures reported and not, with lines and without, a retry that got past one, a kernel that tells of another."""
    world = GpuWorld(engine)
    for number in range(3):
        world.take(lines(f"j{number}", OUT_OF_MEMORY, node=f"n{number}"))
    world.take([*lines("unreported", OUT_OF_MEMORY), *lines("good", FINE)])
    world.take(lines("", (XID,), source="kernel", file="kmsg", node="n7"))
    retried = {"submitted_ns": NOW - 55 * MINUTE_NS, "start_ns": NOW - 55 * MINUTE_NS, "end_ns": NOW - MINUTE_NS * 5}
    world.report(*(attempt(f"j{number}", nodes=(f"n{number}",)) for number in range(3)))
    world.report(attempt("j2", 2, outcome="passed", nodes=("n3",), **retried), attempt("gone", nodes=("n7",)))
    return world


def content(world: GpuWorld) -> Content:
    """All that the job leaves; numbers that PostgreSQL gave to the dead, and when by its clock, left out."""
    with world.engine.connect() as connection:
        windows = {
            name: [
                (group.labels, group.start_ns, group.state.answers())
                for group in merged(connection, Selection(name, NOW - DAY_NS, NOW + DAY_NS, by=by)).groups
            ]
            for name, by in (
                ("gpu_job_failures_total", ("category", "reason", "origin")),
                ("gpu_lost_seconds_total", ("category", "reason", "origin")),
                ("gpu_jobs_unexplained_ratio", ("origin",)),
                ("gpu_node_failures_ratio", ("node",)),
            )
        }
    return windows | {
        "failures": world.table("gpu_failures", "id"),
        "advice": world.table("gpu_advice"),
        "models": world.table("gpu_retry_models", "data"),
        "nodes": world.table("gpu_nodes"),
        "progress": [row[:2] for row in world.table("gpu_progress", "updated_ns")],
    }


def lived(world: GpuWorld, dies_at: int) -> bool:
    """Whether a process that dies before this commit came to the end of what is due, and its series were written."""
    rounds = world.rounds()
    # The dead one's lease would have to run out first; a process of the same name need not wait.
    rounds._lease.owner = "tester"
    with killed_at(world.engine, dies_at):
        try:
            return rounds.tick(NOW) and rounds.write_series(LATER)
        except KilledError:
            return False


JOB: Final = Mortal(GpuWorld, filled, lived, content)


@pytest.fixture(scope="module")
def undisturbed(untouched_gpu: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Content]]:
    """A database before the job ran, and what the tables are after it ran once to its end."""
    with JOB.undisturbed(untouched_gpu, tmp_path_factory.mktemp("undisturbed")) as found:
        yield found


def test_a_job_killed_before_a_commit_leaves_what_its_next_run_ends_like_one_that_never_was(
    undisturbed: tuple[Path, Content], tmp_path: Path
) -> None:
    # The test below dies before the other commits.
    JOB.dies_before_commits(*undisturbed, tmp_path, every=3)


def test_what_there_is_was_found_learned_and_counted(undisturbed: tuple[Path, Content]) -> None:
    wanted = undisturbed[1]
    counted = {(labels["category"], labels["reason"]): n for labels, _, (n,) in wanted["gpu_job_failures_total"]}
    assert counted == {("ai_engine", "gpu_oom"): 4, ("infrastructure", "gpu_fell_off_bus"): 1}
    lost = {labels["reason"]: seconds for labels, _, (seconds,) in wanted["gpu_lost_seconds_total"]}
    assert lost == {"gpu_oom": 3 * 8 * 3600.0, "gpu_fell_off_bus": 8 * 3600.0}
    assert [answers for _, _, answers in wanted["gpu_jobs_unexplained_ratio"]] == [[0.0]]
    assert [row[0] for row in wanted["models"]] == [1]
    assert "learned 1 outcomes" in str(wanted["models"])
    assert {row[0] for row in wanted["nodes"]} == {"n0", "n1", "n2", "n3", "n7"}
    assert not [scope for scope, _ in wanted["progress"] if scope in ("gpu jobs waiting", "gpu jobs to learn")]


def test_a_job_killed_again_and_again_ends_like_one_that_never_was(
    gpu_world: GpuWorld, undisturbed: tuple[Path, Content]
) -> None:
    JOB.dies_again_and_again(gpu_world.engine, undisturbed[1], least=3, among=17)


def test_windows_are_found_again_as_they_were(undisturbed: tuple[Path, Content], tmp_path: Path) -> None:
    before, wanted = undisturbed
    with copied(before.with_name("after.db"), tmp_path / "again.db") as engine:
        world = GpuWorld(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM gpu_progress WHERE scope IN ('gpu hours', 'gpu attempts seen')"))
        assert lived(world, MOST_COMMITS), "everything counts as new"
        assert content(world) == wanted
