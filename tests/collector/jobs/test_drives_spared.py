"""What one series, one chunk or one wrong clock does to the job: no other drive pays for it."""

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from collector import own_metrics
from collector.jobs.drive_fleet import REFERENCE_SCOPE
from store.drive_overview import drives_overview
from store.drive_tables import drive_days
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading
from tests.collector.jobs.test_drives import days_of

NOW = TODAY * DAY_NS + 13 * HOUR_NS


def names(world: DrivesWorld) -> list[str]:
    with world.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT drive FROM drives ORDER BY drive")).scalars())


def growing() -> list[dict[str, Any]]:
    """A drive that is to be watched, a reading a day."""
    return [reading(TODAY - 9 + place, realloc_total=50 * place) for place in range(10)]


def two_chunks(world: DrivesWorld) -> None:
    """A drive in each of two chunks."""
    for name, number in (("low", 1), ("high", 1024)):
        world.next_number(number)
        world.know([reading(TODAY, serial=name)])


def judged(world: DrivesWorld) -> list[str]:
    with world.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT drive FROM drives WHERE scored_ns > 0 ORDER BY drive"))
        return list(found.scalars())


def test_a_drive_with_a_serial_number_needs_no_place_when_another_one_has_neither(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.take([reading(TODAY, serial=None, device=None), reading(TODAY, serial="S2", device=None)])
    assert world.rounds().tick(NOW)
    assert names(world) == ["S2"]


def test_zero_bytes_that_firmware_pads_with_are_no_part_of_a_name(world: DrivesWorld) -> None:
    world.take([reading(TODAY, serial="S1\x00\x00", model="\x00A1", kind="a\x00ta"), reading(TODAY, serial="S2")])
    assert world.rounds().tick(NOW)
    assert names(world) == ["S1", "S2"]
    assert (world.drive("S1")["model"], world.drive("S1")["kind"]) == ("A1", "ata")


def test_what_is_left_out_is_said_once_and_remembered_in_a_few_words(
    quick_world: DrivesWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_world
    world.take([reading(TODAY - ago, serial=None, device=None) for ago in range(3)])
    world.take([reading(TODAY, serial="S" * 300)])
    rounds = world.rounds(interval_s=1e-9)
    with caplog.at_level(logging.WARNING):
        rounds.tick(NOW)
        for number in range(2):
            world.take([reading(TODAY, hour=14 + number, serial=None, device=None)])
            rounds.tick(NOW + number)
    said = [record.message for record in caplog.records if "left out" in record.message]
    assert [text.split("reason=")[1].split(":")[0] for text in said] == ["nameless", "overlong"]
    assert len(rounds._intake._told) == 2
    for number in range(50):
        rounds._intake._tell("data", f"readings of day {number}")
    assert len(rounds._intake._told) == 3


def test_a_damaged_chunk_costs_no_other_chunk_its_verdicts_and_is_no_whole_round(quick_world: DrivesWorld) -> None:
    world = quick_world
    two_chunks(world)
    with world.engine.begin() as connection:
        connection.execute(sa.update(drive_days).where(drive_days.c.chunk == 0).values(data=b"damaged"))
    before = own_metrics.drives_failures.labels("damaged")._value.get()
    world.take(reading(TODAY, hour=18, serial=name, device=name, realloc_total=7) for name in ("low", "high"))
    rounds = world.rounds(interval_s=1e-9)
    assert not rounds.tick(NOW)
    assert judged(world) == ["high"]
    assert own_metrics.drives_failures.labels("damaged")._value.get() == before + 2
    with world.engine.connect() as connection:
        assert drives_overview(connection).round_ns is None
    with world.engine.begin() as connection:
        connection.execute(sa.delete(drive_days).where(drive_days.c.chunk == 0))
    assert rounds.tick(NOW)
    assert judged(world) == ["high", "low"]
    assert [one["realloc_total"] for one in days_of(world, "low")] == [7]


def test_a_fault_about_some_drives_is_said_and_the_others_are_judged(
    quick_world: DrivesWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = quick_world
    two_chunks(world)
    rounds = world.rounds(interval_s=1e-9)
    verdicts = rounds._scoring._verdicts

    def odd(chunk: Any, fleet: Any) -> Any:
        if chunk.number == 0:
            raise ZeroDivisionError("of our making")
        return verdicts(chunk, fleet)

    monkeypatch.setattr(rounds._scoring, "_verdicts", odd)
    assert not rounds.tick(NOW)
    assert judged(world) == ["high"]
    assert "of our making" in caplog.text
    monkeypatch.undo()
    assert rounds.tick(NOW)
    assert judged(world) == ["high", "low"]


def test_tables_of_ranks_that_another_release_wrote_are_made_anew(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.know([reading(TODAY - 1), reading(TODAY)])
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    wanted = world.table("drive_progress", "updated_ns")
    for body in ('[["2024-01-01", 3]]', "[[", '{"a": 1}', "[[1, 2]]"):
        with world.engine.begin() as connection:
            written = sa.text("UPDATE drive_progress SET body = :body WHERE scope = :scope")
            connection.execute(written, {"body": body, "scope": REFERENCE_SCOPE})
        assert rounds.tick(NOW), body
    assert [row for row in world.table("drive_progress", "updated_ns") if row[0] == REFERENCE_SCOPE] == [
        row for row in wanted if row[0] == REFERENCE_SCOPE
    ]


def test_a_clock_that_was_ahead_once_decides_nothing_after_it_was_put_right(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.know([*growing(), *(reading(TODAY - ago, serial="good", device="/dev/sdb") for ago in range(10))])
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    before = {name: world.drive(name) for name in ("S1", "good")}
    assert (before["S1"]["state"], before["good"]["state"]) == (1, 0)
    for days in (40, 41):
        assert rounds.tick(NOW + days * DAY_NS)
    assert {world.drive(name)["state"] for name in before} == {-1}
    assert rounds.tick(NOW)
    for name, was in before.items():
        now = world.drive(name)
        assert (now["state"], now["scored_day"]) == (was["state"], was["scored_day"])
        assert now["since_ns"] <= NOW
    # And it goes on as ever: calm days are counted from here.
    assert rounds.tick(NOW + DAY_NS)
    assert world.drive("S1")["state"] == 1


def test_clocks_that_differ_around_midnight_change_no_state(quick_world: DrivesWorld) -> None:
    world = quick_world
    world.know(growing())
    rounds = world.rounds(interval_s=1e-9)
    midnight_ns = (TODAY + 1) * DAY_NS
    for now_ns in (NOW, midnight_ns + 10**9):
        assert rounds.tick(now_ns)
    was = world.drive("S1")
    assert rounds.tick(midnight_ns - 10**9)
    assert rounds.tick(midnight_ns + 2 * 10**9)
    now = world.drive("S1")
    assert {name: now[name] for name in now if name != "scored_ns"} == {
        name: was[name] for name in was if name != "scored_ns"
    }
