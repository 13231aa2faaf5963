"""What of drives is deleted, on both databases: in bounded steps, nothing still wanted, no number given out twice."""

import datetime as dt

import pytest
import sqlalchemy as sa

from store.drive_actions import acknowledge, mute, one_action
from store.drive_days import delete_days, put_days
from store.drive_features import put_features, read_features
from store.drive_models import install, models, promote
from store.drive_retention import forget_drives, forget_models
from store.drive_tables import DRIVES_PER_CHUNK
from store.drives import drive_ids, one_drive, states_of, write_verdicts
from store.errors import UnknownActionError
from tests.store.drives_world import DAY, DAY_NUMBER, NOW_NS, days_of, noted, verdict

DAY_NS = 86_400 * 10**9


def count(engine: sa.Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_drive_not_heard_of_goes_with_all_that_was_said_of_it_and_the_others_stay(engine: sa.Engine) -> None:
    numbers = noted(engine, ["old", "older"], DAY_NUMBER - 800) | noted(engine, ["new"], DAY_NUMBER)
    with engine.begin() as connection:
        write_verdicts(connection, [verdict(number, 1) for number in numbers.values()], NOW_NS)
        gone = acknowledge(connection, numbers["old"], "wear", None, "ops", NOW_NS)
        kept = [
            acknowledge(connection, numbers["new"], "wear", None, "ops", NOW_NS),
            mute(connection, "crc_total", "ops", NOW_NS, model="A1"),
            mute(connection, "crc_total", "ops", NOW_NS),
        ]
        assert forget_drives(connection, DAY_NUMBER - 800) == 0
        assert forget_drives(connection, DAY_NUMBER - 799) == 2
        assert forget_drives(connection, DAY_NUMBER - 799) == 0
        assert drive_ids(connection, numbers) == {"new": numbers["new"]}
        assert len(states_of(connection, numbers["new"])) == 1
        with pytest.raises(UnknownActionError):
            one_action(connection, gone.id)
        for one in kept:
            assert one_action(connection, one.id) == one
    assert (count(engine, "drive_states"), count(engine, "drive_actions")) == (1, 3)


def test_numbers_of_the_forgotten_are_never_given_out_again(engine: sa.Engine) -> None:
    numbers = noted(engine, ["S1", "S2"], DAY_NUMBER - 800)
    with engine.begin() as connection:
        said = acknowledge(connection, numbers["S2"], "wear", None, "ops", NOW_NS)
        assert forget_drives(connection, DAY_NUMBER) == 2
    again = noted(engine, ["S2"])
    assert again["S2"] > max(numbers.values())
    with engine.begin() as connection:
        assert acknowledge(connection, again["S2"], "wear", None, "ops", NOW_NS).id > said.id


def test_drives_go_some_at_a_time_those_silent_for_longest_first(engine: sa.Engine) -> None:
    for ago in (820, 840, 830):
        noted(engine, [f"{ago}-{i}" for i in range(3)], DAY_NUMBER - ago)
    with engine.begin() as connection:
        assert forget_drives(connection, DAY_NUMBER - 800, limit=4) == 4
        left = sorted(connection.execute(sa.text("SELECT drive FROM drives")).scalars())
        assert left == ["820-0", "820-1", "820-2", "830-1", "830-2"]
        assert [forget_drives(connection, DAY_NUMBER - 800, limit=4) for _ in range(3)] == [4, 1, 0]


def test_a_drive_whose_days_are_still_there_waits_for_them(engine: sa.Engine) -> None:
    old = DAY - dt.timedelta(days=900)
    numbers = noted(engine, ["S1"], DAY_NUMBER - 900)
    with engine.begin() as connection:
        put_days(connection, days_of(["S1"], old), numbers)
        assert forget_drives(connection, DAY_NUMBER - 800) == 0
        assert delete_days(connection, DAY) == 1
        assert forget_drives(connection, DAY_NUMBER - 800) == 1


def test_features_of_a_chunk_go_with_its_last_drive_and_are_read_without_those_that_went_before(
    engine: sa.Engine,
) -> None:
    names = [f"S{i}" for i in range(DRIVES_PER_CHUNK + 1)]
    numbers = noted(engine, names[:-2], DAY_NUMBER - 900) | noted(engine, names[-2:])
    frame = days_of(names[:-2]).drop("day")
    last = days_of(names[-2:]).drop("day")
    low = [name for name in names[:-2] if numbers[name] < DRIVES_PER_CHUNK]
    with engine.begin() as connection:
        put_features(connection, 0, DAY, "v1", frame.filter(frame["drive"].is_in(low)), numbers)
        put_features(connection, 1, DAY, "v1", last, numbers)
        assert forget_drives(connection, DAY_NUMBER, limit=1000) == 1000
        found = read_features(connection, 0, "v1")
        assert found is not None
        assert found[1].height == len(low) - 1000
        assert forget_drives(connection, DAY_NUMBER, limit=1000) == len(names) - 2 - 1000
        assert read_features(connection, 0, "v1") is None
        assert read_features(connection, 1, "v1") is not None


def test_models_retired_long_ago_go_one_by_one_unless_a_verdict_is_theirs(engine: sa.Engine) -> None:
    numbers = noted(engine, ["S1"])
    with engine.begin() as connection:
        for n in range(5):
            row, _ = install(connection, b"model %d" % n, {}, "shadow", NOW_NS + n)
            promote(connection, row.digest, "", NOW_NS + n)
        active, *retired = models(connection)
        named = retired[1].digest
        write_verdicts(connection, [verdict(numbers["S1"], model_digest=named)], NOW_NS)
        assert forget_models(connection, NOW_NS + 1) == 0
        assert [forget_models(connection, NOW_NS + 4) for _ in range(3)] == [1, 1, 0]
        assert [one.digest for one in models(connection)] == [active.digest, retired[0].digest, named]
        write_verdicts(connection, [verdict(numbers["S1"], model_digest=active.digest)], NOW_NS)
        assert forget_models(connection, NOW_NS + 4) == 1
        assert one_drive(connection, "S1").model_digest == active.digest
