"""A job that dies between any two of its transactions, and is run again, leaves the same minutes, alerts and series."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from analytics.tail.minutes import minute_from
from tests.collector.jobs.killing import MOST_COMMITS, Content, KilledError, Mortal, copied, killed_at
from tests.collector.jobs.tail_world import LONG_AGO, MINUTE_NS, NOW, TailWorld, requests

SERIES = (
    ("service_requests_total", ("service", "origin")),
    ("service_slow_requests_total", ("service",)),
    ("service_slow_cause_requests_total", ("service", "cause")),
    ("service_latency_us_total", ("service",)),
    ("service_p99_us", ("service",)),
    ("service_alert_state", ("service", "alert")),
)


def filled(engine: sa.Engine) -> TailWorld:
    """Two services, two instances, some requests too late, a run that can be answered and one that cannot."""
    world = TailWorld(engine)
    world.serve("a")
    world.serve("b", target_ms=None)
    world.take(requests(NOW - 5 * MINUTE_NS, n=900), service="a")
    world.take(requests(NOW - 4 * MINUTE_NS, n=300, seed=2), service="a", instance="i2")
    world.take(requests(NOW - 4 * MINUTE_NS, n=300, seed=3), service="b", synthetic=True)
    world.take(requests(NOW - 400 * MINUTE_NS, n=50, seed=4), service="b")
    world.ask("learn", service="a", end_ns=NOW - 4 * MINUTE_NS, now_ns=NOW - MINUTE_NS)
    world.ask("learn", service="b", end_ns=LONG_AGO, now_ns=NOW)
    with engine.begin() as connection:
        # Names by chance would come in another order in each world.
        connection.execute(sa.text("UPDATE tail_runs SET id = service"))
    return world


def content(world: TailWorld) -> Content:
    """All that the job leaves; when by its clock, and how often it was begun, left out."""
    return {name: world.series(name, *by) for name, by in SERIES} | {
        "minutes": world.table("tail_minutes"),
        # What was learned meanwhile is in their words.
        "alerts": world.table("tail_alerts", "text", "figures"),
        "changes": world.table("tail_alert_changes", "id"),
        "profiles": world.table("tail_profiles", "created_ns"),
        "runs": world.table("tail_runs", "id", "owner", "attempts", "started_ns", "ended_ns"),
        "progress": [row[:2] for row in world.table("tail_progress", "updated_ns") if row[0] != "tail rounds"],
    }


def lived(world: TailWorld, dies_at: int) -> bool:
    """Whether a process that dies before this commit came to the end of what is due."""
    # What it does by itself depends on what it finds; here it does what it is asked.
    rounds = world.rounds(series=True, learn_every_s=86_400.0)
    # The dead one's lease would have to run out first; a process of the same name need not wait.
    rounds._lease.owner = "tester"
    with world.engine.begin() as connection:
        # A run that whole processes die of fails after three; these die of whatever comes at that commit.
        connection.execute(sa.text("UPDATE tail_runs SET attempts = 0"))
    with killed_at(world.engine, dies_at):
        try:
            return rounds.tick(NOW)
        except KilledError:
            return False


JOB: Final = Mortal(TailWorld, filled, lived, content)


@pytest.fixture(scope="module")
def undisturbed(untouched_tail: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Content]]:
    """A database before the job ran, and what the tables are after it ran once to its end."""
    with JOB.undisturbed(untouched_tail, tmp_path_factory.mktemp("undisturbed")) as found:
        yield found


def test_a_job_killed_before_a_commit_leaves_what_its_next_run_ends_like_one_that_never_was(
    undisturbed: tuple[Path, Content], tmp_path: Path
) -> None:
    # The test below dies before the other commits.
    JOB.dies_before_commits(*undisturbed, tmp_path, every=4)


def test_what_there_is_was_counted_learned_and_answered(undisturbed: tuple[Path, Content]) -> None:
    wanted = undisturbed[1]
    counted = wanted["service_requests_total"]
    assert sum(counted.values()) == 900 + 300 + 300
    assert {origin for _, service, origin in counted if service == "b"} == {"synthetic"}
    assert counted[4, "a", "measured"] == 600
    assert [row[2] for row in wanted["profiles"]] in ([True], [1])
    assert sorted(row[2] for row in wanted["runs"]) == ["done", "refused"]
    assert not [row for row in wanted["progress"] if row[0] == "tail minutes waiting"]
    assert {service for service, *_ in wanted["service_slow_requests_total"]} != set()


def test_a_job_killed_again_and_again_ends_like_one_that_never_was(
    tail_world: TailWorld, undisturbed: tuple[Path, Content]
) -> None:
    JOB.dies_again_and_again(tail_world.engine, undisturbed[1], least=3, among=13)


def test_minutes_are_made_again_as_they_were(undisturbed: tuple[Path, Content], tmp_path: Path) -> None:
    before, wanted = undisturbed
    with copied(before.with_name("after.db"), tmp_path / "again.db") as engine:
        world = TailWorld(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM tail_progress WHERE scope = 'tail batches seen'"))
        assert lived(world, MOST_COMMITS), "everything counts as new"
        # Of other speed-ups by now; what was counted in series stays as it was.
        assert {name: value for name, value in content(world).items() if name.startswith("service_")} == {
            name: value for name, value in wanted.items() if name.startswith("service_")
        }
        first = minute_from(world.minutes("a")[5].document)
        assert replace(first, start_ns=0).requests == 600
