"""Drives as the job says they are: taken in, judged, kept up to date, and left alone by everybody else."""

import json
import logging
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from analytics.ssd.columns import DAYS
from collector.jobs.drive_intake import day_of
from store.drive_actions import acknowledge, mute, take_back
from store.drive_days import read_days
from store.drive_tables import drive_days
from tests.collector.jobs.drives_world import DAY_NS, HOUR_NS, TODAY, DrivesWorld, reading

NOW = TODAY * DAY_NS + 13 * HOUR_NS


def days_of(world: DrivesWorld, name: str) -> list[dict[str, Any]]:
    """The stored days of one drive."""
    with world.engine.connect() as connection:
        number = connection.execute(sa.text("SELECT id FROM drives WHERE drive = :name"), {"name": name}).scalar_one()
        days = read_days(connection, number // 1024, day_of(0), day_of(TODAY + 9), DAYS, [number])
    return days.to_dicts()


def scored(world: DrivesWorld) -> bool:
    """Whether anything was said of any drive."""
    with world.engine.connect() as connection:
        return bool(connection.execute(sa.text("SELECT count(*) FROM drives WHERE scored_ns > 0")).scalar_one())


def growing(serial: str, *realloc: int, **columns: Any) -> list[dict[str, Any]]:
    """A reading a day, the last one today."""
    first = TODAY - len(realloc) + 1
    return [
        reading(first + place, serial=serial, realloc_total=count, **columns) for place, count in enumerate(realloc)
    ]


def test_readings_become_days_and_days_a_state_with_its_reason(world: DrivesWorld) -> None:
    world.take([*growing("bad", *range(0, 500, 50)), *growing("good", *[0] * 10, device="/dev/sdb")])
    assert world.rounds().tick(NOW)
    days = days_of(world, "bad")
    assert [one["realloc_total"] for one in days] == list(range(0, 500, 50))
    assert {(one["node"], one["rack"], one["vendor"], one["temperature_c"]) for one in days} == {
        ("n1", "r1", "Intel", 30)
    }
    bad, good = world.drive("bad"), world.drive("good")
    assert (bad["state"], good["state"]) == (1, 0)
    assert (bad["node"], bad["rack"], bad["model"], bad["last_day"]) == ("n1", "r1", "SSD A1", TODAY)
    verdict = json.loads(bad["verdict"])
    assert "realloc" in verdict["rules"][0]["rule"]
    assert verdict["why_no_probability"] == "no model: none is installed"
    assert bad["p30"] is None
    assert good["wear_used_pct"] == 10.0
    assert [row[2:] for row in world.table("drive_states", "at_ns", "since_ns", "id")] != []


def test_what_no_drive_told_stays_unknown(world: DrivesWorld) -> None:
    world.take([reading(TODAY, crc_total=None, passed=None, realloc_total=0)])
    world.rounds().tick(NOW)
    (day,) = days_of(world, "S1")
    assert (day["crc_total"], day["passed"], day["nand_written_bytes"], day["realloc_total"]) == (None, None, None, 0)


def test_hours_of_power_survive_their_way_through_seconds(world: DrivesWorld) -> None:
    world.take([reading(TODAY, power_on_h=123_456)])
    world.rounds().tick(NOW)
    assert days_of(world, "S1")[0]["power_on_h"] == 123_456


def test_an_ssd_that_tells_nothing_of_flash_is_known_by_not_rotating(world: DrivesWorld) -> None:
    for serial, rpm in (("ssd", 0), ("disk", 7200), ("silent", None)):
        world.take(growing(serial, *[0] * 9, 400, device=serial, wear_used_pct=None, rotation_rpm=rpm))
    world.rounds().tick(NOW)
    assert [days_of(world, name)[-1]["rotation_rpm"] for name in ("ssd", "disk", "silent")] == [0, 7200, None]
    fired = {
        name: {rule["rule"] for rule in json.loads(world.drive(name)["verdict"])["rules"]}
        for name in ("ssd", "disk", "silent")
    }
    assert "realloc_grew_1d" in fired["ssd"]
    assert "realloc_grew_1d" not in fired["disk"] | fired["silent"]


def test_a_virtual_disk_is_unknown_with_its_reason(world: DrivesWorld) -> None:
    world.take([reading(TODAY, state="no_smart", passed=None, wear_used_pct=None, serial=None)])
    world.rounds().tick(NOW)
    found = world.drive("n1:/dev/sda")
    assert found["state"] == -1
    assert "virtual" in json.loads(found["verdict"])["why_unknown"]


def test_late_readings_change_the_day_they_belong_to_and_what_is_said(world: DrivesWorld) -> None:
    world.take(growing("S1", *[0] * 9, 500)[:-1])
    rounds = world.rounds(interval_s=1e-9)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 0
    world.take([reading(TODAY - 1, hour=20, realloc_total=900)])
    rounds.tick(NOW)
    assert [one["realloc_total"] for one in days_of(world, "S1")][-2:] == [0, 900]
    assert [one["readings"] for one in days_of(world, "S1")][-1] == 2
    assert world.drive("S1")["state"] > 0


def test_nothing_is_read_or_judged_again_when_nothing_has_changed(world: DrivesWorld) -> None:
    world.take(growing("S1", 0, 0, 0))
    rounds = world.rounds(interval_s=1e-9)
    rounds.tick(NOW)
    before = world.drive("S1")
    rounds.tick(NOW + HOUR_NS)
    assert world.drive("S1") == before
    # Another day is another judgement, without any reading: calm days are counted.
    rounds.tick(NOW + DAY_NS)
    assert world.drive("S1")["scored_ns"] == NOW + DAY_NS


def test_a_drive_that_moves_is_one_drive_and_says_so(world: DrivesWorld) -> None:
    world.take(growing("S1", *[0] * 9))
    world.take([reading(TODAY, hour=18, host="n2", rack="r2", realloc_total=0)])
    world.rounds().tick(NOW)
    assert world.drive("S1")["node"] == "n2"
    assert [one["moved"] for one in days_of(world, "S1")][-1] is True
    assert world.drive("S1")["state"] == -1


def test_a_drive_without_a_serial_number_is_named_by_its_place(world: DrivesWorld) -> None:
    world.take([reading(TODAY, serial=None), reading(TODAY, serial="0000", device="/dev/sdb")])
    world.rounds().tick(NOW)
    assert [row[0] for row in world.table("drives", "id")] == ["n1:/dev/sda", "n1:/dev/sdb"]


def test_a_row_that_names_no_drive_costs_none_of_the_others(
    world: DrivesWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.take(
        [
            reading(TODAY, serial=None, device=None),
            reading(TODAY, serial="S2", model="m" * 300),
            reading(TODAY, serial="S" * 257),
        ]
    )
    with caplog.at_level(logging.WARNING):
        assert world.rounds().tick(NOW)
    assert [row[0] for row in world.table("drives", "id")] == ["S2"]
    assert "left out" in caplog.text


def test_a_day_to_come_waits_until_it_is_there(world: DrivesWorld) -> None:
    world.take([reading(TODAY), reading(TODAY + 1, hour=3, realloc_total=7)])
    rounds = world.rounds(interval_s=1e-9)
    rounds.tick(NOW)
    assert len(days_of(world, "S1")) == 1
    rounds.tick(NOW + DAY_NS)
    assert [one["realloc_total"] for one in days_of(world, "S1")] == [0, 7]


def test_days_older_than_they_are_kept_go_and_do_not_come_back(world: DrivesWorld) -> None:
    world.take([reading(TODAY - 120), reading(TODAY - 10), reading(TODAY)])
    rounds = world.rounds(keep_days=400)
    rounds.tick(NOW)
    rounds.leave()
    assert len(days_of(world, "S1")) == 3
    rounds = world.rounds(keep_days=90, interval_s=1e-9)
    for _ in range(2):
        rounds.tick(NOW)
        assert [one["day"] for one in days_of(world, "S1")] == [day_of(TODAY - 10), day_of(TODAY)]


def test_a_drive_that_falls_silent_becomes_unknown_and_stays_in_the_list(world: DrivesWorld) -> None:
    world.know(growing("S1", *[0] * 10))
    rounds = world.rounds(interval_s=1e-9)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 0
    rounds.tick(NOW + 5 * DAY_NS)
    assert world.drive("S1")["state"] == -1
    assert "not seen for 5 days" in json.loads(world.drive("S1")["verdict"])["why_unknown"]


def test_an_acknowledged_cause_is_quiet_from_the_next_tick_on_and_loud_when_it_is_taken_back(
    world: DrivesWorld,
) -> None:
    world.know(growing("S1", *range(0, 500, 50)))
    rounds = world.rounds(interval_s=3600)
    rounds.tick(NOW)
    bad = world.drive("S1")
    assert bad["state"] == 1
    with world.engine.begin() as connection:
        said = [
            acknowledge(connection, bad["id"], cause, None, "ops", NOW)
            for cause in json.loads(bad["verdict"])["causes"]
        ]
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 0
    assert world.table("drive_states")[-1][-1].startswith("acknowledged: "), "what is wrong is not why it is good"
    with world.engine.begin() as connection:
        for one in said:
            take_back(connection, one.id, "ops", NOW)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 1


@pytest.mark.parametrize("whom", [{}, {"model": "SSD A1"}, {"drive_id": 1}])
def test_a_muted_column_says_nothing_for_a_drive_a_model_or_the_fleet(world: DrivesWorld, whom: dict[str, Any]) -> None:
    world.know(growing("S1", *range(0, 500, 50)))
    rounds = world.rounds(interval_s=3600)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 1
    with world.engine.begin() as connection:
        mute(connection, "realloc_total", "ops", NOW, **whom)
    rounds.tick(NOW)
    assert world.drive("S1")["state"] == 0


def test_one_collector_at_a_time_scores_and_the_next_goes_on_when_it_leaves(world: DrivesWorld) -> None:
    world.take(growing("S1", 0, 0))
    first, second = world.rounds("a"), world.rounds("b")
    assert first.tick(NOW)
    assert not second.tick(NOW)
    first.leave()
    assert second.tick(NOW)
    assert not first.tick(NOW)


def test_a_round_whose_lease_was_taken_away_writes_nothing_more(world: DrivesWorld) -> None:
    world.take(growing("S1", 0, 0))
    rounds = world.rounds()
    assert rounds.take(NOW)
    with world.engine.begin() as connection:
        connection.execute(sa.text("UPDATE leases SET epoch = epoch + 1 WHERE name = 'drives'"))
    assert not rounds.round(NOW)
    assert world.table("drives") == []


def test_a_damaged_day_is_said_and_is_not_written_over(world: DrivesWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.take(growing("S1", 0, 0))
    rounds = world.rounds(interval_s=1e-9)
    assert rounds.tick(NOW)
    with world.engine.begin() as connection:
        connection.execute(sa.update(drive_days).values(data=b"damaged"))
    world.take([reading(TODAY, hour=18, realloc_total=3)])
    assert not rounds.tick(NOW)
    assert "reason=damaged" in caplog.text
    assert {row[-1] for row in world.table("drive_days")} == {b"damaged"}


def test_without_the_built_in_queries_there_are_no_drives_and_no_errors(database_url: str) -> None:
    from store.connect import open_engine, upgrade

    upgrade(database_url)
    engine = open_engine(database_url)
    try:
        world = DrivesWorld(engine, names=[])
        assert world.rounds().tick(NOW)
        assert world.table("drives") == []
        assert [row[0] for row in world.table("leases")] == ["drives"]
        assert world.table("offsets") == []
    finally:
        engine.dispose()


def test_the_thread_ends_with_its_collector_and_gives_the_lease_back(world: DrivesWorld) -> None:
    world.know([reading(time.time_ns() // DAY_NS)])
    rounds, stop = world.rounds(interval_s=0.01), threading.Event()
    thread = threading.Thread(target=rounds.run, args=(stop,), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not scored(world):
        assert time.monotonic() < deadline, "nothing was scored"
        thread.join(0.02)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert world.rounds("next").take(NOW)
