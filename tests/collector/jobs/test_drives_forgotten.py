"""What the job deletes, and when: by settings, step by step, under the lease."""

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from collector.jobs import drive_forgetting
from collector.jobs.config import DrivesConfig
from store.drive_models import install, models, promote
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading

NOW = TODAY * DAY_NS + 13 * HOUR_NS


def drives_of(world: DrivesWorld) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT drive FROM drives ORDER BY drive")).scalars())


def test_drives_and_models_are_forgotten_when_their_time_is_over(world: DrivesWorld) -> None:
    world.know([reading(TODAY, serial="new"), reading(TODAY - 200, serial="silent", device="/dev/sdb")])
    with world.engine.begin() as connection:
        for n, ago in enumerate((500, 450, 399)):
            row, _ = install(connection, b"none %d" % n, {}, "shadow", NOW - ago * DAY_NS)
            promote(connection, row.digest, "", NOW - ago * DAY_NS)
    rounds = world.rounds(interval_s=1e-9, keep_days=90, forget_after_days=250)
    assert rounds.tick(NOW)
    assert drives_of(world) == ["new", "silent"]
    with world.engine.connect() as connection:
        assert [one.role for one in models(connection)] == ["active", "retired"]
    assert rounds.tick(NOW + 51 * DAY_NS)
    assert drives_of(world) == ["new"]
    # What is left of the chunk is judged as ever, and the next drive has a number of its own.
    world.know([reading(TODAY + 51, serial="next", device="/dev/sdc")])
    assert rounds.tick(NOW + 51 * DAY_NS)
    assert world.drive("next")["scored_ns"] == NOW + 51 * DAY_NS
    assert world.drive("next")["id"] == 3


def test_old_days_go_in_steps_between_which_the_job_rests(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    world.know([reading(TODAY - ago) for ago in range(90, 100)])
    delete = drive_forgetting.delete_days
    monkeypatch.setattr(drive_forgetting, "delete_days", lambda connection, before: delete(connection, before, limit=4))
    rounds = world.rounds(keep_days=90, forget_after_days=90)
    assert rounds.take(NOW)
    order: list[str] = []
    hold = rounds._lease.hold

    def held(connection: sa.Connection) -> None:
        order.append("hold")
        hold(connection)

    pace = drive_forgetting.Pace(held, lambda: order.append("rest"), lambda what, _: order.append(what))
    drive_forgetting.forget_old(world.engine, rounds._config, TODAY, pace)
    assert [row[1] for row in world.table("drive_days", "data")] == [TODAY - 90]
    # nine days in three steps; then drives and models, of which there are none to forget
    assert order == ["hold", "rest"] * 3 + ["hold"] * 3
    assert drives_of(world) == ["S1"]


@pytest.mark.parametrize(
    "settings", [{"forget_after_days": 399}, {"forget_after_days": 500, "keep_days": 501}, {"gone_after_days": 801}]
)
def test_a_drive_is_not_forgotten_before_its_days_and_its_series(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="forget_after_days"):
        msgspec.convert(settings, DrivesConfig)
