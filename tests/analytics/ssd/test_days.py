"""Drive-days: what readings become, and which oddities become which flag."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.errors import DataError
from analytics.ssd.columns import DAYS, FLAGS, SYMPTOMS
from analytics.ssd.days import canonical_days, drive_days, flagged, merged_days
from tests.analytics.ssd.drive_rows import day, drive_days_of, fleets, rows

HOUR = 3_600_000_000_000
NOON = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC


def reading(hour: int = 0, **cells: Any) -> dict[str, Any]:
    """A reading so many hours after noon of 2026-01-01."""
    return {"ts": NOON + hour * HOUR, "serial": "S1", "host": "n1", "device": "/dev/sda", **cells}


def days_of(*readings: dict[str, Any]) -> list[dict[str, Any]]:
    """Their drive-days as dictionaries."""
    return drive_days(pl.DataFrame(list(readings), infer_schema_length=None)).to_dicts()


def flags(row: dict[str, Any]) -> set[str]:
    """Which flags stand."""
    return {name for name in FLAGS if row[name]}


def test_a_reading_is_a_drive_day_with_all_columns() -> None:
    frame = drive_days(pl.DataFrame([reading(realloc_total=4, kind="ata")]))
    assert dict(frame.schema) == DAYS
    row = frame.row(0, named=True)
    assert (row["drive"], row["day"], row["node"], row["realloc_total"]) == ("S1", date(2026, 1, 1), "n1", 4)
    assert row["crc_total"] is None
    assert row["readings"] == 1
    assert flags(row) == set()


def test_days_are_those_of_utc() -> None:
    assert [row["day"] for row in days_of(reading(-13), reading(11), reading(12))] == [
        date(2025, 12, 31),
        date(2026, 1, 1),
        date(2026, 1, 2),
    ]
    zone = timezone(timedelta(hours=2))
    local = pl.Series([datetime(2026, 1, 2, 1, 30, tzinfo=zone)])
    assert drive_days(pl.DataFrame({"ts": local, "serial": "S"}))["day"].to_list() == [date(2026, 1, 1)]


def test_of_a_day_the_largest_count_and_the_newest_gauge_stand() -> None:
    first, second = reading(0, crc_total=7, temperature_c=50), reading(3, crc_total=9, temperature_c=31)
    for order in ((first, second), (second, first)):
        [row] = days_of(*order)
        assert (row["crc_total"], row["temperature_c"], row["readings"]) == (9, 31, 2)


def test_an_unknown_newest_reading_leaves_what_is_known() -> None:
    [row] = days_of(reading(0, temperature_c=50, wear_used_pct=3, crc_total=None), reading(3, temperature_c=None))
    assert (row["temperature_c"], row["wear_used_pct"], row["crc_total"]) == (50, 3, None)


def test_what_one_drive_does_not_tell_is_not_taken_from_another() -> None:
    known = reading(0, serial="A", temperature_c=44, crc_total=5, model="X")
    rows_ = days_of(known, reading(0, serial="B", temperature_c=None, crc_total=None, model=None))
    assert [rows_[1][name] for name in ("temperature_c", "crc_total", "model")] == [None] * 3


def test_a_drive_without_serial_number_is_its_host_and_device() -> None:
    for serial in (None, "", "  ", "0000000000", "N/A", "unknown", "xxxx"):
        assert days_of(reading(serial=serial))[0]["drive"] == "n1:/dev/sda"
    assert days_of(reading(serial=" S9 "))[0]["drive"] == "S9"


def test_a_reading_that_names_no_drive_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match=r"column serial, row 2 .*: nothing; a serial number, or host and device"):
        days_of(reading(), reading(serial=None, host=None))


def test_a_table_without_times_is_refused() -> None:
    with pytest.raises(DataError, match=r"no column ts.* serial"):
        drive_days(pl.DataFrame({"serial": ["S"]}))
    with pytest.raises(DataError, match="column ts, row 2"):
        days_of(reading(), reading() | {"ts": None})


@pytest.mark.parametrize("column", ["crc_total", "power_on_h", "wear_used_pct"])
def test_a_negative_count_is_unknown_and_flagged(column: str) -> None:
    [row] = days_of(reading(**{column: -4}))
    assert row[column] is None
    assert flags(row) == {"negative"}


def test_a_drive_may_be_below_zero_degrees() -> None:
    [row] = days_of(reading(temperature_c=-12))
    assert row["temperature_c"] == -12
    assert flags(row) == set()


def test_a_counter_that_falls_is_flagged_within_a_day_and_between_days() -> None:
    [within] = days_of(reading(0, crc_total=9), reading(1, crc_total=2))
    assert flags(within) == {"counter_reset"}
    assert within["crc_total"] == 9
    between = days_of(reading(0, crc_total=9), reading(24, crc_total=None), reading(48, crc_total=2))
    assert [flags(row) for row in between] == [set(), set(), {"counter_reset"}]


def test_sectors_that_wait_may_become_fewer() -> None:
    found = days_of(reading(0, pending_count=9), reading(1, pending_count=2), reading(24, pending_count=0))
    assert [(row["pending_count"], flags(row)) for row in found] == [(2, set()), (0, set())]


def test_hours_that_go_back_are_flagged() -> None:
    assert flags(days_of(reading(0, power_on_h=9), reading(1, power_on_h=8))[0]) == {"hours_back"}
    assert flags(days_of(reading(0, power_on_h=9), reading(24, power_on_h=8))[1]) == {"hours_back"}
    # Readings whose clock went back come in the wrong order: the hours tell.
    assert flags(days_of(reading(1, power_on_h=8), reading(0, power_on_h=9))[0]) == {"hours_back"}


def test_another_drive_s_counters_are_no_reset() -> None:
    found = days_of(
        reading(0, serial="A", crc_total=9, power_on_h=9), reading(24, serial="B", crc_total=1, power_on_h=1)
    )
    assert [flags(row) for row in found] == [set(), set()]


def test_a_serial_number_on_two_hosts_is_one_row_that_moved() -> None:
    [both] = days_of(reading(0, host="n1"), reading(1, host="n2"))
    assert flags(both) == {"moved"}
    assert both["node"] == "n2"
    [at_once] = days_of(reading(0, host="n1"), reading(0, host="n2"))
    assert flags(at_once) == {"moved"}
    after = days_of(reading(0, host="n1"), reading(24, host="n2"), reading(48, host="n2"))
    assert [flags(row) for row in after] == [set(), {"moved"}, set()]


def test_a_drive_whose_host_becomes_known_did_not_move() -> None:
    found = days_of(*(reading(24 * n, host=host) for n, host in enumerate((None, "n1", None, "n1", "n0"))))
    assert [flags(row) for row in found] == [set(), set(), set(), set(), {"moved"}]


def test_a_virtual_disk_is_flagged() -> None:
    assert flags(days_of(reading(state="no_smart"))[0]) == {"no_smart"}
    assert flags(days_of(reading(state="ok"))[0]) == set()


def test_days_known_before_are_compared_with_and_not_given_back() -> None:
    before = drive_days(pl.DataFrame([reading(0, crc_total=9, host="n0"), reading(24, crc_total=1)]))
    new = drive_days(pl.DataFrame([reading(24, crc_total=2), reading(48, crc_total=2)]), before)
    assert new["day"].to_list() == [date(2026, 1, 2), date(2026, 1, 3)]
    assert [flags(row) for row in new.to_dicts()] == [{"counter_reset", "moved"}, set()]
    assert_frame_equal(drive_days(pl.DataFrame([reading(24)]), before.clear()), drive_days(pl.DataFrame([reading(24)])))


READINGS = st.lists(
    st.tuples(
        st.integers(-30, 60),
        st.sampled_from(["A", "B", None]),
        st.sampled_from(["n1", "n2"]),
        st.one_of(st.none(), st.integers(-1, 5)),
        st.one_of(st.none(), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=20,
)


def table_of(readings: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Readings as drawn, as a table."""
    cells = [reading(h, serial=s, host=n, crc_total=c, temperature_c=t, power_on_h=c) for h, s, n, c, t in readings]
    return pl.DataFrame(cells, infer_schema_length=None)


@given(readings=READINGS, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_the_order_of_readings_does_not_matter(readings: list[tuple[Any, ...]], seed: int) -> None:
    frame = table_of(readings)
    found = drive_days(frame)
    assert_frame_equal(drive_days(frame.sample(fraction=1.0, shuffle=True, seed=seed)), found)
    assert found["readings"].sum() == len(readings)
    assert_frame_equal(found.unique(["drive", "day"]).sort("drive", "day"), found)


@given(readings=READINGS, cut=st.integers(-1, 2))
@settings(max_examples=40)
def test_days_taken_in_one_after_the_other_are_those_of_all_readings_at_once(
    readings: list[tuple[Any, ...]], cut: int
) -> None:
    frame = table_of(readings)
    until = NOON + 12 * HOUR + cut * 24 * HOUR
    early, late = frame.filter(pl.col("ts") < until), frame.filter(pl.col("ts") >= until)
    whole = drive_days(frame)
    before = drive_days(early)
    assert_frame_equal(pl.concat([before, drive_days(late, before)]).sort("drive", "day"), whole)


def test_no_readings_are_no_days() -> None:
    empty = drive_days(pl.DataFrame({"ts": [], "serial": []}, schema={"ts": pl.Int64, "serial": pl.String}))
    assert empty.height == 0
    assert dict(empty.schema) == DAYS


def test_numbers_that_come_as_floats_are_taken_when_whole() -> None:
    assert days_of(reading(crc_total=3.0))[0]["crc_total"] == 3
    assert days_of(reading(crc_total=float("nan")))[0]["crc_total"] is None
    with pytest.raises(DataError, match=r"column crc_total, row 2 .*: 3.5; a whole number is wanted"):
        days_of(reading(crc_total=1.0), reading(crc_total=3.5))
    with pytest.raises(DataError, match=r"column crc_total, row 1.*1e\+19"):
        days_of(reading(crc_total=1e19))
    with pytest.raises(DataError, match=r"column crc_total, row 1.*inf"):
        days_of(reading(crc_total=float("inf")))


def test_columns_of_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="column crc_total has type List"):
        days_of(reading(crc_total=[1]))
    with pytest.raises(DataError, match="column model has type Float64; text is wanted"):
        days_of(reading(model=1.5))


# Drive-days of others.


@given(fleet=fleets())
@settings(max_examples=30)
def test_drive_days_made_canonical_again_are_the_same(fleet: pl.DataFrame) -> None:
    days = canonical_days(fleet)
    assert_frame_equal(canonical_days(days), days)
    assert dict(days.schema) == DAYS
    for name in SYMPTOMS:
        assert int((days[name] < 0).sum()) == 0


def test_flags_look_back_no_further_than_features_do() -> None:
    near = drive_days_of({"day": 0, "crc_total": 9}, {"day": 44, "crc_total": 1})
    far = drive_days_of({"day": 0, "crc_total": 9}, {"day": 45, "crc_total": 1})
    assert (near["counter_reset"][1], far["counter_reset"][1]) == (True, False)


def test_rows_of_one_drive_and_day_become_one() -> None:
    two = rows(
        {"day": 0, "crc_total": 3, "node": "a"}, {"day": 0, "crc_total": 5, "node": "b"}, {"day": 0, "node": None}
    )
    [row] = canonical_days(two).to_dicts()
    assert (row["crc_total"], row["readings"], row["moved"]) == (5, 3, True)
    same = rows({"day": 0, "node": "a"}, {"day": 0, "node": None})
    assert flags(canonical_days(same).row(0, named=True)) == set()


def test_flags_that_stand_are_kept() -> None:
    days = drive_days_of({"day": 0, "moved": True, "no_smart": True}, {"day": 1, "negative": True})
    assert [flags(row) for row in flagged(merged_days(days)).to_dicts()] == [{"moved", "no_smart"}, {"negative"}]


def test_a_row_without_drive_or_day_is_refused() -> None:
    table = pl.DataFrame({"drive": ["S1", " "], "day": [day(0), day(1)]})
    with pytest.raises(DataError, match="column drive, row 2"):
        canonical_days(table)
    with pytest.raises(DataError, match=r"column day, row 1 .*: nothing; a date such as 2026-11-23"):
        canonical_days(pl.DataFrame({"drive": ["S1"], "day": [None]}, schema={"drive": pl.String, "day": pl.Date}))
    with pytest.raises(DataError, match="no column day"):
        canonical_days(pl.DataFrame({"drive": ["S1"]}))


@pytest.mark.parametrize(
    ("family", "model", "vendor"),
    [
        ("Intel S4510/S4610/S4500/S4600 Series SSDs", "INTEL SSDSC2KB240G7", "Intel"),
        ("Dell Certified Intel S3520 Series SSDs", "SSDSCKJB240G7R", "Intel"),
        (None, "MZ7WD240HAFV-00003", "Samsung"),
        ("Micron 5100 Pro / 52x0 / 5300 SSDs", "Micron_5300_MTFDDAK1T9TDS", "Micron"),
        (None, "CT500MX500SSD1", "Micron"),
        ("Phison Driven SSDs", "KINGSTON SA400M8120G", "Phison"),
        (None, "KINGSTON SA400M8120G", "Kingston"),
        (None, "WDC WD10EADS", "Western Digital"),
        (None, "Hitachi HDS722020ALA330", "Hitachi"),
        (None, "ST3000DM001", "Seagate"),
        (None, "Virtual disk", None),
        (None, None, None),
    ],
)
def test_vendors_are_told_by_family_and_model(family: str | None, model: str | None, vendor: str | None) -> None:
    assert drive_days_of({"day": 0, "family": family, "model": model})["vendor"].to_list() == [vendor]


def test_a_vendor_that_is_told_stands() -> None:
    assert drive_days_of({"day": 0, "model": "ST3000DM001", "vendor": "B"})["vendor"].to_list() == ["B"]


def test_times_may_be_times_of_polars() -> None:
    at = pl.Series([datetime(2026, 3, 1, 23, 59, tzinfo=UTC)])
    assert drive_days(pl.DataFrame({"ts": at, "serial": "S"}))["day"].to_list() == [date(2026, 3, 1)]
