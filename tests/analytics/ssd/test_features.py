"""Features: the laws of time, the slow reference, and what single features say of hand-made drives."""

import hashlib
import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analytics.errors import DataError
from analytics.ssd import features as feature_module
from analytics.ssd.days import canonical_days
from analytics.ssd.feature_names import DESCRIBED, REVISION
from analytics.ssd.features import FEATURES, LOOKBACK_D, features
from analytics.ssd.fleet_reference import fleet_references
from tests.analytics.ssd.drive_rows import day, drive_days_of, failures_of, fleets
from tests.analytics.ssd.plain_features import plain_features


def last(days: pl.DataFrame) -> dict[str, float | None]:
    """The features of the newest row."""
    return features(days).row(-1, named=True)


def counted(value: float | None) -> int | None:
    """A count out of its logarithm."""
    return None if value is None else round(math.expm1(value))


@given(fleet=fleets(), pick=st.integers(0, 10**6))
def test_what_the_last_days_alone_give_is_what_the_whole_past_gives(fleet: pl.DataFrame, pick: int) -> None:
    days = canonical_days(fleet)
    failures = failures_of(days)
    reference = fleet_references(days)
    batch = features(days, failures=failures, reference=reference)
    present = days["day"].unique().sort().to_list()
    for when in {present[pick % len(present)], present[-1]}:
        recent = days.filter((pl.col("day") <= when) & (pl.col("day") >= when - timedelta(days=LOOKBACK_D)))
        alone = features(recent, when, when, failures=failures, reference=reference)
        assert_frame_equal(alone, batch.filter(pl.col("day") == when), check_exact=True)


@given(fleet=fleets(), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_the_order_of_rows_does_not_matter(fleet: pl.DataFrame, seed: int) -> None:
    shuffled = fleet.sample(fraction=1.0, shuffle=True, seed=seed)
    failures = failures_of(fleet)
    mixed = failures.sample(fraction=1.0, shuffle=True, seed=seed)
    wanted = features(fleet, failures=failures)
    assert_frame_equal(features(shuffled, failures=mixed), wanted, check_exact=True)
    days = canonical_days(fleet).sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(features(days, failures=mixed), wanted, check_exact=True)


@given(fleet=fleets())
def test_each_feature_is_what_its_definition_gives_row_by_row(fleet: pl.DataFrame) -> None:
    days = canonical_days(fleet)
    found = features(days).to_dicts()
    number = 0
    for _, drive in days.group_by("drive", maintain_order=True):
        history = drive.to_dicts()
        for at in range(len(history)):
            for name, wanted in plain_features(history, at).items():
                seen = found[number][name]
                assert (seen is None) == (wanted is None), (name, seen, wanted)
                assert seen is None or seen == pytest.approx(wanted, rel=1e-6, abs=1e-6), name
            number += 1


def test_the_slow_reference_knows_all_features_of_one_drive() -> None:
    history = drive_days_of({"day": 0, "model": "M", "node": "n", "rack": "r"}).to_dicts()
    elsewhere = {
        name for name, feature in DESCRIBED.items() if feature.sort == "rank" or name.startswith("failures_on")
    }
    assert set(plain_features(history, 0)) == set(FEATURES) - elsewhere


def test_features_of_many_blocks_are_those_of_each_drive_alone() -> None:
    drives = 700
    number = pl.Series(np.repeat(np.arange(drives), 30))
    at = pl.Series(np.tile(np.arange(30), drives))
    fleet = pl.DataFrame(
        {
            "drive": number.cast(pl.String).str.zfill(4),
            "day": at.cast(pl.Int32).cast(pl.Date),
            "realloc_total": number * at,
            "power_on_h": at * 24,
        }
    )
    whole = features(fleet)
    for drive in ("0000", "0545", "0546", "0547", "0699"):  # a block ends within drive 0546
        alone = features(fleet.filter(pl.col("drive") == drive))
        assert_frame_equal(alone, whole.filter(pl.col("drive") == drive), check_exact=True)


def test_features_of_many_parts_are_those_of_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    days = drive_days_of(*({"day": n, "realloc_total": n, "power_on_h": 24 * n, "temperature_c": n} for n in range(90)))
    reference, failures = fleet_references(days), failures_of(days)
    whole = features(days, failures=failures, reference=reference)
    monkeypatch.setattr(feature_module, "_PART", 25)
    monkeypatch.setattr(feature_module, "_BLOCK", 10)
    in_parts = features(days, failures=failures, reference=reference)
    assert_frame_equal(in_parts, whole, check_exact=True)


def test_an_empty_table_has_no_rows_but_all_columns() -> None:
    empty = features(drive_days_of({"day": 0}).clear())
    assert empty.height == 0
    assert empty.columns == ["drive", "day", "model", "vendor", "kind", *FEATURES]


def test_days_that_are_not_there_give_no_rows() -> None:
    assert features(drive_days_of({"day": 0}), day(1), day(5)).columns[5:] == list(FEATURES)
    assert features(drive_days_of({"day": 0}), day(1), day(5)).height == 0


def test_features_are_float32() -> None:
    assert set(features(drive_days_of({"day": 0})).select(FEATURES).dtypes) == {pl.Float32}


def test_of_a_drive_that_tells_nothing_only_what_is_known_of_its_rows_is_known() -> None:
    known = {name for name, value in last(drive_days_of({"day": 0})).items() if value is not None}
    quality = {"gap_d", "samples_30d", "history_d", "resets_30d"} | {n for n in FEATURES if n.startswith("missing_")}
    assert known == {"drive", "day"} | quality


def test_no_feature_is_a_name_of_a_drive_or_host() -> None:
    assert not {column for feature in DESCRIBED.values() for column in feature.columns} & {"drive", "firmware"}


def test_growth_is_that_since_the_day_asked_about() -> None:
    found = last(drive_days_of(*({"day": n, "realloc_total": n * n} for n in range(40))))
    grown = [counted(found[f"realloc_growth_{span}d"]) for span in (1, 7, 30)]
    assert grown == [39**2 - 38**2, 39**2 - 32**2, 39**2 - 9**2]


def test_weekly_snapshots_are_compared_by_date_and_not_by_row() -> None:
    found = last(drive_days_of(*({"day": 7 * n, "crc_total": 10 * n} for n in range(8))))
    assert [counted(found[f"crc_growth_{span}d"]) for span in (1, 7, 30)] == [10, 10, 50]
    assert found["samples_30d"] == 5


def test_a_value_too_long_ago_is_not_compared_with() -> None:
    found = last(drive_days_of({"day": 0, "crc_total": 1}, {"day": 16, "crc_total": 9}))
    assert found["crc_growth_1d"] is None
    assert counted(found["crc_growth_7d"]) == 8
    assert found["crc_growth_30d"] is None
    assert counted(found["crc_growth_known"]) == 8


def test_a_reset_counts_as_no_growth_and_is_counted_as_a_reset() -> None:
    found = last(drive_days_of({"day": 0, "realloc_total": 500}, {"day": 1, "realloc_total": 3}))
    assert found["realloc_growth_1d"] == 0
    assert found["symptoms_grew_1d"] == 0
    assert found["resets_30d"] == 1


def test_unknown_is_never_zero() -> None:
    found = last(drive_days_of({"day": 0, "realloc_total": 0}, {"day": 1, "realloc_total": None}))
    assert [found[name] for name in FEATURES if name.startswith("realloc")] == [None] * 9
    assert found["symptoms"] is None


def test_a_value_that_is_missing_for_days_is_compared_with_the_newest_known() -> None:
    known = drive_days_of({"day": 0, "crc_total": 4}, {"day": 6, "crc_total": None}, {"day": 8, "crc_total": 9})
    assert counted(last(known)["crc_growth_1d"]) == 5


def test_errors_that_an_nvme_drive_tells_twice_count_once() -> None:
    found = last(drive_days_of({"day": 0, "uncorrectable_total": 5, "media_errors_total": 5}))
    assert found["symptoms"] == 1
    alone = last(drive_days_of({"day": 0, "media_errors_total": 5}))
    assert alone["symptoms"] == 1


def test_warnings_count_that_speak_of_the_medium() -> None:
    days = drive_days_of(*({"day": n, "critical_warning": 1 << n} for n in range(5)), {"day": 5, "critical_warning": 0})
    assert features(days)["warns"].to_list() == [1, 0, 1, 1, 0, 0]


def test_write_rates_count_days_and_not_rows() -> None:
    found = last(drive_days_of(*({"day": 15 * n, "nand_written_bytes": 10**12 * 15 * n} for n in range(4))))
    assert counted(found["nand_written_rate_30d"]) == 1000


def test_two_rows_of_a_day_count_as_one() -> None:
    once = drive_days_of({"day": 0, "crc_total": 1}, {"day": 1, "crc_total": 3})
    twice = drive_days_of({"day": 1, "crc_total": 2}, {"day": 0, "crc_total": 1}, {"day": 1, "crc_total": 3})
    assert_frame_equal(features(twice), features(once), check_exact=True)


def test_failures_without_their_columns_are_refused() -> None:
    with pytest.raises(DataError, match="no column day"):
        features(drive_days_of({"day": 0}), failures=pl.DataFrame({"drive": ["S1"]}))


def test_formulas_are_those_of_their_revision() -> None:
    """Where this fails on purpose, raise REVISION in feature_names.py and put the new digest here."""
    day_of = ({"day": n * n % 50, **{c: (n * 7 + len(c)) ** 3 for c in _COUNTED}, **_STEADY} for n in range(30))
    found = features(drive_days_of(*day_of)).select(FEATURES)
    # Three digits, so that the last bit of another machine's logarithm does not matter.
    rounded = found.with_columns(pl.all().fill_null(-7).cast(pl.Float64).round_sig_figs(3))
    digest = hashlib.sha256(rounded.write_csv(float_precision=3).encode()).hexdigest()[:16]
    assert (REVISION, digest) == (2, "cc39d483740bffe4")


_COUNTED = (
    "realloc_total",
    "uncorrectable_total",
    "power_on_h",
    "nand_written_bytes",
    "host_written_bytes",
    "crc_total",
)
_STEADY = {"wear_used_pct": 40, "temperature_c": 31, "spare_pct": 90, "spare_threshold_pct": 10, "critical_warning": 1}
