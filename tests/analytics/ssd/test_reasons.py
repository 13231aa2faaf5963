"""Reasons in words: every feature has some, and no figure is made up."""

import re
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.ssd.columns import COUNTERS, GAUGES, SYMPTOMS
from analytics.ssd.feature_names import DESCRIBED
from analytics.ssd.features import FEATURES, features
from analytics.ssd.reasons import MOST_REASONS, History, reason_text, reasons
from tests.analytics.ssd.drive_tables import TODAY, history, seen, table


def told(days: pl.DataFrame, *names: str) -> list[str]:
    """The reasons where these features contribute, the first most."""
    row = features(days, TODAY, TODAY).row(0, named=True)
    contributions = np.array(
        [1.0 / (1 + names.index(name)) if name in names else -1.0 for name in FEATURES], np.float32
    )
    return [one.text for one in reasons(FEATURES, contributions, row, History(days))]


def text_of(days: pl.DataFrame, name: str) -> str:
    (text,) = told(days, name)
    return text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("realloc_growth_7d", "reallocated sectors 4 -> 61 in 7 days"),
        ("realloc_growth_1d", "reallocated sectors 53 -> 61 in 1 day"),
        ("realloc_acceleration", "reallocated sectors 4 -> 61 in 7 days"),
        ("realloc_level", "reallocated sectors 61"),
        ("realloc_per_power_on_day", "reallocated sectors 61 in 1000 hours powered on"),
        ("realloc_since_growth_d", "reallocated sectors grew today"),
        ("crc_since_growth_d", "interface CRC errors have not grown within 30 days"),
        ("crc_growth_7d", "interface CRC errors still 24 after 7 days"),
        ("symptoms", "kinds of errors on record: 2"),
        ("symptoms_grew_7d", "kinds of errors that grew in 7 days: 1"),
        ("wear_used_pct", "rated life used 12 %"),
        ("host_written_level", "bytes written by the host 1.2 TB"),
        ("infant", "less than 90 days powered on"),
        ("missing_temperature", "temperature: not told"),
        ("temperature_c", "temperature: not known"),
        ("history_d", "days of history: 30"),
        ("write_amplification", "bytes written to flash per byte written by the host 2"),
        ("spare_margin_pct", "spare blocks left 95 %, threshold 10 %"),
    ],
)
def test_features_are_told_in_words_with_their_figures(name: str, text: str) -> None:
    realloc = [0] * 23 + [4, 11, 20, 33, 41, 50, 53, 61]
    columns = {"wear_used_pct": 12, "spare_pct": 95, "spare_threshold_pct": 10, "crc_total": 24, "power_on_h": 1000}
    columns |= {"host_written_bytes": 1_200_000_000_000, "nand_written_bytes": 2_400_000_000_000}
    constant = {column: [value] * len(realloc) for column, value in columns.items()}
    assert text_of(history(realloc_total=realloc, **constant), name) == text


def test_a_rank_stands_beside_the_figure_it_ranks() -> None:
    days = history(realloc_total=[4] * 7 + [61])
    values = {"realloc_growth_7d": 4.0, "realloc_rank_in_model": 0.997}
    names = ("realloc_growth_7d", "realloc_rank_in_model")
    both = reasons(names, np.array([2, 1], np.float32), values, History(days))
    assert [one.text for one in both] == ["reallocated sectors 4 -> 61 in 7 days (p99 of its model)"]
    alone = reasons(names, np.array([-1, 1], np.float32), values | {"realloc_rank_in_model": 1.0}, History(days))
    assert [one.text for one in alone] == ["reallocated sectors 61 (p99 of its model)"]


def test_one_column_tells_one_story_and_the_strongest_speaks() -> None:
    days = history(realloc_total=[4] * 7 + [61], crc_total=[9] * 8)
    assert told(days, "crc_level", "realloc_growth_7d", "realloc_level", "realloc_growth_1d") == [
        "interface CRC errors 9",
        "reallocated sectors 4 -> 61 in 7 days",
    ]


def test_what_speaks_for_health_is_no_reason() -> None:
    contributions = np.full(len(FEATURES), -0.5, np.float32)
    days = history(realloc_total=[0])
    assert reasons(FEATURES, contributions, features(days).row(0, named=True), History(days)) == ()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lunar_phase_7d", 0.25, "lunar phase 7d 0.25"),
        ("lunar_phase_7d", None, "lunar phase 7d: not known"),
        ("lunar_phase_7d", float("nan"), "lunar phase 7d: not known"),
        ("model", "MZ7WD240", "its model: MZ7WD240"),
        ("vendor", None, "its vendor: not known"),
        ("", 3, "a feature without a name 3"),
    ],
)
def test_features_that_nobody_described_still_have_words(name: str, value: Any, text: str) -> None:
    assert reason_text(name, value, History(history(realloc_total=[0]))) == text


def test_every_feature_has_words_whether_known_or_not() -> None:
    days = History(seen({0: {}}))
    for name in FEATURES:
        for value in (None, 0.0, 0.5, 1.0, 40.0):
            text = reason_text(name, value, days)
            assert text
            assert name not in text or "_" not in name
            assert "None" not in text


COUNTS = (*SYMPTOMS, *COUNTERS, *GAUGES)
ROW = st.fixed_dictionaries(
    {name: st.none() | st.integers(0, 99_999) for name in COUNTS if not name.endswith("_bytes")}
)


@settings(max_examples=30)
@given(rows=st.lists(ROW, min_size=1, max_size=4), order=st.permutations(range(len(FEATURES))))
def test_no_figure_is_said_that_is_not_in_the_data(rows: list[dict[str, Any]], order: list[int]) -> None:
    ages = [0, 1, 7, 30]
    days = table(
        [
            {"drive": "S1", "kind": "ssd", "day": TODAY - timedelta(days=age), **row}
            for age, row in zip(ages, rows, strict=False)
        ]
    )
    row = features(days, TODAY, TODAY).row(0, named=True)
    found = reasons(FEATURES, np.array(order, np.float32), row, History(days))
    assert 0 < len(found) <= MOST_REASONS
    assert [one.contribution for one in found] == sorted((one.contribution for one in found), reverse=True)
    figures = {str(value) for each in rows for value in each.values()} | {str(age) for age in ages}
    for one in found:
        feature = DESCRIBED[one.feature]
        own = row[one.feature]
        known = figures | {str(feature.window_d), "30", "90", "0"}
        known |= set() if own is None else set(re.findall(r"\d+(?:\.\d+)?", f"{own:.3g} {own:.0f} {max(own, 0):.6f}"))
        assert set(re.findall(r"\d+(?:\.\d+)?", one.text)) <= known, (one.text, own)
