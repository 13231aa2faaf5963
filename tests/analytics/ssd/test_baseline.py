"""The rule that every model has to beat."""

import polars as pl
from hypothesis import given

from analytics.ssd.baseline import symptoms
from analytics.ssd.columns import SYMPTOMS
from analytics.ssd.days import canonical_days
from tests.analytics.ssd.drive_rows import drive_days_of, fleets


@given(fleet=fleets())
def test_growth_is_what_going_through_each_drive_by_hand_finds(fleet: pl.DataFrame) -> None:
    days = canonical_days(fleet)
    found = symptoms(days)
    grew, present = [], []
    for (_,), own in days.group_by("drive", maintain_order=True):
        level: dict[str, int] = {}
        increased: dict[str, object] = {}
        for row in own.iter_rows(named=True):
            for name in SYMPTOMS:
                value = row[name]
                if value is None:
                    continue
                if name in level and value > level[name]:
                    increased[name] = row["day"]
                level[name] = value
            grew.append(any((row["day"] - when).days < 30 for when in increased.values()))
            present.append(any(value > 0 for value in level.values()))
    assert found.grew.tolist() == grew
    assert found.any.tolist() == present


@given(fleet=fleets())
def test_the_order_of_rows_does_not_matter(fleet: pl.DataFrame) -> None:
    days = canonical_days(fleet)
    order = pl.Series(range(days.height)).shuffle(seed=1)
    assert symptoms(days[order]).grew.tolist() == symptoms(days).grew[order.to_numpy()].tolist()


def test_a_first_value_is_no_growth_and_growth_is_over_after_thirty_days() -> None:
    days = drive_days_of(
        {"day": 0, "realloc_total": 7}, {"day": 1, "realloc_total": 8}, {"day": 30, "realloc_total": 8},
        {"day": 31, "realloc_total": 8},
    )  # fmt: skip
    assert symptoms(days).grew.tolist() == [False, True, True, False]


def test_no_rows_are_no_symptoms() -> None:
    assert symptoms(drive_days_of({"day": 0, "realloc_total": 0}).clear()).grew.size == 0
