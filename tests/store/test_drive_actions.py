"""What operators say of drives: it holds, is replaced, taken back, and stays in the history with who said it."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from store.drive_actions import (
    acknowledge,
    acknowledged_in,
    actions_of,
    failures,
    fleet_mutes,
    mute,
    muted_in,
    record_outcome,
    take_back,
)
from store.errors import DriveActionError, UnknownActionError
from tests.store.drives_world import NOW_NS, noted


def test_an_acknowledgement_holds_until_its_end_its_successor_or_its_taking_back(engine: sa.Engine) -> None:
    noted(engine, ["S1", "S2"])
    with engine.begin() as connection:
        first = acknowledge(connection, 1, "realloc_growth", 61.0, "ann", NOW_NS, note="cable swapped")
        wear = acknowledge(connection, 1, "wear", 97.0, "ann", NOW_NS, until_ns=NOW_NS + 10)
        other = acknowledge(connection, 2, "realloc_growth", 5.0, "bob", NOW_NS)
        assert acknowledged_in(connection, 0, NOW_NS + 9) == {1: [first, wear], 2: [other]}
        assert acknowledged_in(connection, 0, NOW_NS + 10) == {1: [first], 2: [other]}
        assert acknowledged_in(connection, 1, NOW_NS) == {}
        second = acknowledge(connection, 1, "realloc_growth", 80.0, "bob", NOW_NS + 5)
        ended = take_back(connection, other.id, "eve", NOW_NS + 6)
        assert ended == replace(other, ended_ns=NOW_NS + 6, ended_by="eve")
        assert take_back(connection, other.id, "zoe", NOW_NS + 7) == ended, "who came first stays"
        assert acknowledged_in(connection, 0, NOW_NS + 9) == {1: [wear, second]}
        replaced = replace(first, ended_ns=NOW_NS + 5, ended_by="bob")
        assert actions_of(connection, 1) == [second, wear, replaced]
        assert [one.holds(NOW_NS + 10) for one in (second, wear, replaced)] == [True, False, False]
        with pytest.raises(UnknownActionError, match="unknown action '99'"):
            take_back(connection, 99, "eve", NOW_NS)


def test_a_mute_is_of_a_drive_a_model_or_the_whole_fleet(engine: sa.Engine) -> None:
    noted(engine, ["S1", "S2"], model="A1")
    with engine.begin() as connection:
        of_drive = mute(connection, "crc_total", "ann", NOW_NS, drive_id=1)
        of_model = mute(connection, "crc_total", "ann", NOW_NS, model="A1")
        of_fleet = mute(connection, "crc_total", "ann", NOW_NS, until_ns=NOW_NS + 10)
        assert muted_in(connection, 0, NOW_NS) == {1: [of_drive]}
        assert fleet_mutes(connection, NOW_NS) == [of_model, of_fleet]
        assert fleet_mutes(connection, NOW_NS + 10) == [of_model]
        assert actions_of(connection, 2, "A1") == [of_fleet, of_model]
        assert actions_of(connection, 2, "B1") == [of_fleet]
        assert actions_of(connection, 2) == []
        again = mute(connection, "crc_total", "bob", NOW_NS + 1, model="A1")
        assert fleet_mutes(connection, NOW_NS + 1) == [of_fleet, again]


def test_the_newest_outcome_says_whether_a_drive_has_failed(engine: sa.Engine) -> None:
    noted(engine, ["S1", "S2", "S3", "S4"])
    with engine.begin() as connection:
        wrong = record_outcome(connection, 1, "replaced_healthy", 100, "ann", NOW_NS)
        record_outcome(connection, 1, "failed", 100, "bob", NOW_NS + 1, note="dead after all")
        record_outcome(connection, 2, "back", 120, "ann", NOW_NS)
        record_outcome(connection, 2, "failed", 110, "ann", NOW_NS + 1)  # told later, and of an earlier day
        record_outcome(connection, 3, "failed", 100, "ann", NOW_NS)
        record_outcome(connection, 3, "failed", 105, "ann", NOW_NS)
        taken_back = record_outcome(connection, 4, "failed", 100, "ann", NOW_NS)
        take_back(connection, taken_back.id, "ann", NOW_NS)
        assert failures(connection) == [(1, 100), (3, 105)]
        assert failures(connection, [3, 4]) == [(3, 105)]
        assert actions_of(connection, 1)[-1] == replace(wrong, ended_ns=NOW_NS + 1, ended_by="bob")


def test_what_says_nothing_is_refused(engine: sa.Engine) -> None:
    noted(engine, ["S1"])
    with engine.begin() as connection:
        with pytest.raises(DriveActionError, match="want a cause of 1 to 128 characters"):
            acknowledge(connection, 1, "", 1.0, "ann", NOW_NS)
        with pytest.raises(DriveActionError, match="and who says it"):
            mute(connection, "crc_total", "", NOW_NS)
        with pytest.raises(DriveActionError, match="names a drive and a model"):
            mute(connection, "crc_total", "ann", NOW_NS, drive_id=1, model="A1")
        with pytest.raises(DriveActionError, match="have ended already"):
            acknowledge(connection, 1, "wear", 1.0, "ann", NOW_NS, until_ns=NOW_NS)
        with pytest.raises(DriveActionError, match="'lost' is no outcome; want failed, replaced_healthy, back"):
            record_outcome(connection, 1, "lost", 100, "ann", NOW_NS)  # type: ignore[arg-type]
        with pytest.raises(DriveActionError, match="a note of 4001 characters"):
            acknowledge(connection, 1, "wear", 1.0, "ann", NOW_NS, note="x" * 4001)
        assert actions_of(connection, 1, "A1") == []
