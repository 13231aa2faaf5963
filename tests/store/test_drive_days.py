"""Days of drives: merged into their blobs, read back as they were, deleted by age; races, deaths and damage."""

import datetime as dt
from collections.abc import Mapping

import polars as pl
import pytest
import sqlalchemy as sa

from store.drive_blobs import encode
from store.drive_days import by_chunk, delete_days, put_days, read_days, stored_days
from store.drive_progress import Progress, read_progress, write_progress
from store.drive_tables import DRIVES_PER_CHUNK, drive_days
from store.errors import CorruptPageError, LeaseLostError
from store.leases import hold_lease, take_lease
from tests.store.drives_world import DAY, NOW_NS, SCHEMA, days_of, noted

ONE_DAY = dt.timedelta(days=1)
HOUR_NS = 3600 * 10**9


def put(engine: sa.Engine, days: pl.DataFrame, numbers: Mapping[str, int]) -> int:
    with engine.begin() as connection:
        return put_days(connection, days, numbers)


def read(engine: sa.Engine, first: dt.date = DAY, last: dt.date = DAY, **how: object) -> pl.DataFrame:
    with engine.connect() as connection:
        parts = [read_days(connection, chunk, first, last, SCHEMA, **how) for chunk in (0, 1)]  # type: ignore[arg-type]
    return pl.concat(parts).sort("drive", "day")


def test_days_come_back_as_they_were_put_whatever_their_order(engine: sa.Engine) -> None:
    names = [f"S{i * 37 % 1100:04d}" for i in range(1100)]
    numbers = noted(engine, names[900:]) | noted(engine, names)  # numbers are not in the order of names
    days = pl.concat([days_of(names, DAY - n * ONE_DAY, seed=n) for n in range(3)])
    assert put(engine, days.sample(fraction=1, shuffle=True, seed=1), numbers) == 6
    assert read(engine, DAY - 2 * ONE_DAY).equals(days.sort("drive", "day"))
    assert put(engine, days, numbers) == 0, "the same again writes nothing"
    with engine.connect() as connection:
        mine = read_days(connection, 0, DAY - ONE_DAY, DAY, SCHEMA)
        assert mine.equals(mine.sort("drive", "day"))
        one = read_days(connection, 0, DAY - ONE_DAY, DAY, SCHEMA, only=[numbers["S0037"]])
        assert one.equals(days.filter(pl.col("drive") == "S0037", pl.col("day") >= DAY - ONE_DAY).sort("day"))
        assert read_days(connection, 0, DAY, DAY, {"day": pl.Date(), "drive": pl.String()}).columns == ["day", "drive"]
        assert read_days(connection, 7, DAY, DAY, SCHEMA).schema == SCHEMA
        assert stored_days(connection, 0) == [DAY - 2 * ONE_DAY, DAY - ONE_DAY, DAY]


def test_a_day_put_again_replaces_that_drives_day_and_no_other(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(20)]
    numbers = noted(engine, names)
    first, again = days_of(names), days_of(names, seed=2)
    put(engine, first, numbers)
    assert put(engine, again[5:7], numbers) == 1
    expected = pl.concat([first[:5], again[5:7], first[7:]])
    assert read(engine).equals(expected.sort("drive"))


def test_columns_may_come_and_go_and_a_changed_type_is_refused(engine: sa.Engine) -> None:
    numbers = noted(engine, ["a", "b"])
    put(engine, days_of(["a"]).drop("moved").with_columns(pl.lit(7).cast(pl.Int16).alias("later")), numbers)
    put(engine, days_of(["b"]).drop("node"), numbers)
    with engine.connect() as connection:
        found = read_days(connection, 0, DAY, DAY, SCHEMA | {"later": pl.Int64()})
    assert found.select("drive", "node", "moved", "later").rows()[0] == ("a", "node-0", None, 7)
    assert found.select("drive", "node", "later").rows()[1] == ("b", None, None)
    with pytest.raises(TypeError, match="column 'node' is Int64, and what is kept of this day is String"):
        put(engine, days_of(["b"]).with_columns(node=pl.lit(1, pl.Int64)), numbers)


def test_what_is_older_than_it_is_kept_goes_in_small_steps_and_nothing_else(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(1100)]
    numbers = noted(engine, names)
    days = [days_of(names[99::100], DAY - n * ONE_DAY, seed=n) for n in range(6)]
    put(engine, pl.concat(days), numbers)
    steps = []
    while not steps or steps[-1]:
        with engine.begin() as connection:
            steps.append(delete_days(connection, DAY - 2 * ONE_DAY, limit=4))
    assert steps == [4, 2, 0]
    assert read(engine, DAY - 9 * ONE_DAY).equals(pl.concat(days[:3]).sort("drive", "day"))


def test_a_damaged_blob_is_said_and_not_written_over(engine: sa.Engine) -> None:
    names = [f"S{i}" for i in range(9)]
    numbers = noted(engine, names)
    put(engine, days_of(names), numbers)
    stray = encode(pl.Series([700]).to_numpy(), pl.DataFrame({"realloc_total": [1]}))
    for damaged, words in ((b"", "starts with ''"), (stray, "a row of drive 700, which there is not")):
        with engine.begin() as connection:
            connection.execute(sa.update(drive_days).values(data=damaged))
        with pytest.raises(CorruptPageError, match=words):
            read(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(drive_days).values(data=b"\1damaged"))
    with pytest.raises(CorruptPageError, match=r"does not hold|claims"):
        put(engine, days_of(names), numbers)


def test_a_job_killed_in_the_middle_goes_on_and_the_one_it_lost_its_lease_to_writes_the_same(
    engine: sa.Engine,
) -> None:
    names = [f"S{i:04d}" for i in range(2500)]
    numbers = noted(engine, names)
    days = days_of(names)
    expected = days.sort("drive")

    def run(owner: str, now_ns: int, dies_in: int | None) -> None:
        """One round: chunk by chunk, each with its progress in one transaction."""
        with engine.begin() as connection:
            lease = take_lease(connection, "drives", owner, now_ns, HOUR_NS)
            assert lease is not None
            done = read_progress(connection, "chunk")
        for chunk, part in by_chunk(days, numbers):
            if chunk in done:
                continue
            with engine.begin() as connection:
                hold_lease(connection, lease, now_ns)
                put_days(connection, part, numbers)
                if chunk == dies_in:
                    raise KeyboardInterrupt
                write_progress(connection, "chunk", {chunk: Progress(1)}, now_ns)

    with pytest.raises(KeyboardInterrupt):
        run("a", NOW_NS, dies_in=1)
    assert stored(engine) == {0}
    with engine.begin() as connection:
        slow = take_lease(connection, "drives", "a", NOW_NS, HOUR_NS)
    assert slow is not None
    run("b", NOW_NS + 2 * HOUR_NS, dies_in=None)
    assert stored(engine) == {0, 1, 2}
    with engine.begin() as connection, pytest.raises(LeaseLostError):
        hold_lease(connection, slow, NOW_NS + 2 * HOUR_NS)
    with engine.connect() as connection:
        found = pl.concat([read_days(connection, chunk, DAY, DAY, SCHEMA) for chunk in range(3)])
    assert found.sort("drive").equals(expected)


def stored(engine: sa.Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(sa.select(drive_days.c.chunk)).scalars())


def test_a_frame_is_cut_into_chunks_and_a_drive_without_a_number_is_refused() -> None:
    numbers = {"a": 5, "b": DRIVES_PER_CHUNK - 1, "c": DRIVES_PER_CHUNK}
    days = days_of(["c", "a", "b"])
    assert [(chunk, part["drive"].to_list()) for chunk, part in by_chunk(days, numbers)] == [
        (0, ["a", "b"]),
        (1, ["c"]),
    ]
    assert list(by_chunk(days[:0], {})) == []
    with pytest.raises(KeyError):
        list(by_chunk(days, {"a": 5}))
