"""Two collectors at once, days late, twice or in any order, drives that go from host to host: one end of it all."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from collector.jobs.drives import DriveRounds
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading
from tests.collector.jobs.test_drives import days_of

NOW = TODAY * DAY_NS + 13 * HOUR_NS
FLAGS = ("moved", "hours_back", "counter_reset", "negative")


def two_chunks(world: DrivesWorld) -> None:
    """Drives of two chunks with a day each, and readings of two more days in windows."""
    names = ("S0", "S1", "S1028", "S1029")
    for name in names:
        world.next_number(int(name[1:]) + 1)
        world.know([reading(TODAY - 9, serial=name)])
    for ago in (8, 0):
        world.take(reading(TODAY - ago, serial=name, device=name, realloc_total=40 * (8 - ago)) for name in names)


def said(world: DrivesWorld) -> dict[str, list[tuple[Any, ...]]]:
    """What the job has left, but for when and by whom."""
    names = {"drives": ("scored_ns",), "drive_days": (), "drive_states": ("id", "at_ns"), "drive_features": ()}
    return {name: world.table(name, *left_out) for name, left_out in names.items()}


def steals(world: DrivesWorld, thief: DriveRounds, at_rest: int) -> Callable[[], None]:
    """A rest, in whose `at_rest`-th the thief takes the lease and does a round of its own."""
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1
        if rests == at_rest:
            with world.engine.begin() as connection:
                connection.execute(sa.text("UPDATE leases SET expires_ns = 0"))
            assert thief.tick(NOW)

    return rest


def test_a_lease_lost_at_any_rest_of_a_round_leaves_what_its_thief_wrote(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    two_chunks(world)
    finished: list[bool] = []
    reference = None
    for at_rest in (1, 4, 99):
        with world.engine.begin() as connection:
            for table in ("drive_states", "drive_features", "drive_progress"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
            connection.execute(sa.text("UPDATE drives SET scored_ns = NULL, state = -1, since_ns = 0, memory = NULL"))
            connection.execute(sa.text("DELETE FROM leases"))
        victim, thief = world.rounds("victim"), world.rounds("thief")
        monkeypatch.setattr(victim, "_rest", steals(world, thief, at_rest))
        finished.append(victim.tick(NOW))
        found = said(world)
        reference = reference or found
        assert found == reference, f"lost at rest {at_rest}"
        assert victim._lease.held == (at_rest == 99)
    assert finished == [False, False, True]


def test_days_that_come_late_flag_no_later_day_and_end_as_if_they_had_come_in_time(quick_world: DrivesWorld) -> None:
    world = quick_world
    rounds = world.rounds(interval_s=1e-9)
    for ago in (1, 3, 0, 2):
        world.take([reading(TODAY - ago, realloc_total=30 - ago, host_written_bytes=(9 - ago) << 30)])
        rounds.tick(NOW)
    days = days_of(world, "S1")
    assert [one["realloc_total"] for one in days] == [27, 28, 29, 30]
    assert not any(one[flag] for one in days for flag in FLAGS)
    assert world.drive("S1")["first_day"] == TODAY - 3
    assert world.drive("S1")["last_day"] == TODAY


def test_a_late_day_on_another_host_is_flagged_itself_and_its_later_days_are_not(quick_world: DrivesWorld) -> None:
    world = quick_world
    rounds = world.rounds(interval_s=1e-9)
    world.take([reading(TODAY - ago) for ago in (9, 5, 3, 1, 0)])
    rounds.tick(NOW)
    world.take([reading(TODAY - 2, host="n2", rack="r2", realloc_total=0)])
    rounds.tick(NOW)
    assert [(one["day"].day, one["moved"]) for one in days_of(world, "S1")[-3:]] == [
        (18, True),
        (19, False),
        (20, False),
    ]
    assert world.drive("S1")["node"] == "n1", "a late day does not move a drive back to where it was"
    assert world.drive("S1")["rack"] == "r1"


def test_readings_that_come_twice_or_by_two_partitions_change_nothing(quick_world: DrivesWorld) -> None:
    world = quick_world
    rows = [reading(TODAY - ago, realloc_total=9 - ago) for ago in (1, 0)]
    world.take(rows)
    rounds = world.rounds(interval_s=1e-9)
    rounds.tick(NOW)
    before = said(world)
    world.take(rows)
    world.take(rows, partition=1)
    rounds.tick(NOW)
    assert said(world) == before


def test_a_serial_number_on_two_hosts_at_once_is_one_drive_of_which_nothing_is_concluded(
    quick_world: DrivesWorld,
) -> None:
    world = quick_world
    world.take([reading(TODAY - ago, host=host) for host in ("n1", "n2") for ago in range(3)])
    world.rounds().tick(NOW)
    assert [row[1] for row in world.table("drives")] == ["S1"]
    assert all(one["moved"] for one in days_of(world, "S1"))
    assert world.drive("S1")["state"] == -1
