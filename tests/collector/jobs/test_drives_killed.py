"""A job that dies between any two of its transactions, and is run again, leaves the same tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import sqlalchemy as sa

from analytics.ssd.columns import DAYS
from analytics.ssd.features import FEATURES_VERSION
from collector.jobs.drive_intake import day_of
from store.connect import upgrade
from store.drive_days import read_days
from store.drive_features import read_features
from store.drives import DriveRow, chunk_rows
from store.windows import Selection, merged
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading
from tests.collector.jobs.killing import Content, KilledError, Mortal, killed_at

NOW = TODAY * DAY_NS + 13 * HOUR_NS


def filled(engine: sa.Engine) -> DrivesWorld:
    world = DrivesWorld(engine)
    world.take(
        reading(TODAY - ago, serial=f"S{number}", device=f"/dev/sd{number}", realloc_total=40 * number * (8 - ago))
        for ago in (8, 0)
        for number in range(3)
    )
    return world


def content(world: DrivesWorld) -> Content:
    """All that the job leaves, by names: numbers that PostgreSQL gave to the dead are gone for good."""
    with world.engine.connect() as connection:
        rows = chunk_rows(connection, 0)
        names = {row.id: row.drive for row in rows}
        drives = {row.drive: {name: getattr(row, name) for name in DriveRow.__slots__ if name != "id"} for row in rows}
        days = read_days(connection, 0, day_of(0), day_of(TODAY), DAYS).to_dicts()
        features = read_features(connection, 0, FEATURES_VERSION)
        states = connection.execute(
            sa.text("SELECT drive_id, at_ns, since_ns, was, state, why FROM drive_states ORDER BY drive_id")
        )
        changes = [(names[number], *rest) for number, *rest in states]
        # When is by the server's clock.
        progress = connection.execute(
            sa.text(
                "SELECT scope, key, CASE WHEN scope IN ('drives rounds', 'drives due') THEN 0 ELSE value END, body "
                "FROM drive_progress"
            )
        )
        done = sorted(map(tuple, progress), key=repr)
        windows = {
            name: [
                (group.labels, group.start_ns, group.state.answers())
                for group in merged(connection, Selection(name, NOW - DAY_NS, NOW + DAY_NS, by=by)).groups
            ]
            for name, by in (("drive_state", ("drive",)), ("drives_count", ("state", "model")))
        }
    assert features is not None
    return {"drives": drives, "days": days, "features": features[1].sort("drive").to_dicts()} | {
        "changes": changes,
        "progress": done,
        "windows": windows,
    }


def lived(world: DrivesWorld, dies_at: int) -> bool:
    """Whether a process that dies before this commit came to the end of what is due."""
    rounds = world.rounds()
    # The dead one's lease would have to run out first; a process of the same name need not wait.
    rounds._lease.owner = "tester"
    with killed_at(world.engine, dies_at):
        try:
            return rounds.tick(NOW)
        except KilledError:
            return False


JOB: Final = Mortal(DrivesWorld, filled, lived, content)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Content]]:
    """A database before the job ran, and what the tables are after it ran once to its end."""
    untouched = tmp_path_factory.mktemp("untouched") / "tailwatch.db"
    upgrade(f"sqlite:///{untouched}")
    with JOB.undisturbed(untouched, tmp_path_factory.mktemp("undisturbed")) as found:
        yield found


def test_a_job_killed_before_any_commit_leaves_what_its_next_run_ends_like_one_that_never_was(
    undisturbed: tuple[Path, Content], tmp_path: Path
) -> None:
    JOB.dies_before_commits(*undisturbed, tmp_path)
    assert [change[-2] for change in undisturbed[1]["changes"]] == [0, 1, 1]


def test_a_job_killed_again_and_again_ends_like_one_that_never_was(
    world: DrivesWorld, undisturbed: tuple[Path, Content]
) -> None:
    JOB.dies_again_and_again(world.engine, undisturbed[1], least=2, among=7)
