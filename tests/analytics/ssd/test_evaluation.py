"""The protocol: honest figures, and alarms where they are not."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from analytics.errors import TooFewDataError
from analytics.ssd.evaluation import Evaluation, evaluate, evaluate_model
from analytics.ssd.examples import examples
from analytics.ssd.leakage import RandomRows, shuffled_labels
from analytics.ssd.splits import folds, time_split
from analytics.ssd.training import Recipe
from analytics.ssd.trial import trial
from tests.analytics.ssd.learning_rows import NAMES, PROTOCOL, QUICK, learnable, quick_model

pytest.importorskip("xgboost")


@cache
def _found() -> Evaluation:
    rows = learnable()
    return evaluate(rows.days, rows.features, rows.failures, 5, NAMES, PROTOCOL)


def test_a_model_of_drives_that_show_symptoms_is_far_above_a_list_in_no_order() -> None:
    found = _found()
    assert found.drive.figures["aucpr"].value > 3 * found.drive.base_rate
    assert found.drive.figures["aucpr"].low <= found.drive.figures["aucpr"].value <= found.drive.figures["aucpr"].high
    assert found.row.count > found.drive.count


def test_days_and_counts_of_each_part_are_those_of_the_split() -> None:
    found = _found()
    rows = learnable()
    assert [part.name for part in found.parts] == ["train", "validate", "test"]
    for part in found.parts:
        inside = rows.features.filter(pl.col("day").is_between(part.first, part.last))
        gone = inside.join(rows.failures.rename({"day": "failed"}), on="drive").filter(
            pl.col("day") >= pl.col("failed")
        )
        assert part.rows == inside.height - gone.height
        assert part.failed_drives <= part.drives
    assert (found.parts[2].first - found.parts[1].last).days >= 5


def test_the_rule_stands_beside_the_model_with_its_own_figures() -> None:
    figures = _found().drive.figures
    assert 0 < figures["rule_recall"].value < 1
    assert figures["recall_over_rule"].value == pytest.approx(
        figures["recall_at_rule_fpr"].value - figures["rule_recall"].value
    )


def test_the_ceiling_of_a_model_bounds_the_recall_of_the_rule() -> None:
    found = _found()
    assert {line.model for line in found.models} <= {"M0", "M1", "M2"}
    assert sum(line.failed for line in found.models) == found.drive.positives
    for line in found.models:
        assert line.rule <= line.ceiling < 1


def test_the_same_seed_gives_the_same_figures() -> None:
    rows = learnable()
    again = evaluate(rows.days, rows.features, rows.failures, 5, NAMES, PROTOCOL)
    assert again.to_dict() == _found().to_dict()


def test_each_test_row_is_scored_by_a_model_that_saw_neither_its_drive_nor_its_node() -> None:
    rows = learnable()
    material = examples(rows.days, rows.features, rows.failures, 5, NAMES)
    split = time_split(material.first_day, material.labels.last_day, 5)
    fold = folds(material.keys, 3, 0)
    before = trial(material, split, fold, QUICK, 0)
    # Whatever stands in the training rows of a fold, its own test rows are scored the same.
    spoilt = material.matrix.copy()
    own = (fold == 0) & (material.day <= split.train.last)
    spoilt[own] = 1e6
    after = trial(replace(material, matrix=spoilt), split, fold, QUICK, 0)
    same = fold[before.rows] == 0
    assert np.array_equal(before.margin[same], after.margin[same])
    assert not np.array_equal(before.margin[~same], after.margin[~same])


def test_nothing_of_the_test_reaches_training_or_thresholds() -> None:
    rows = learnable()
    material = examples(rows.days, rows.features, rows.failures, 5, NAMES)
    split = time_split(material.first_day, material.labels.last_day, 5)
    fold = folds(material.keys, 3, 0)
    before = trial(material, split, fold, QUICK, 0)
    flipped = material.positive.copy()
    flipped[material.day >= split.test.first] ^= True
    after = trial(replace(material, positive=flipped), split, fold, QUICK, 0)
    assert np.array_equal(before.probability, after.probability)
    assert np.array_equal(before.replace, after.replace)


def test_shuffled_labels_give_the_base_rate() -> None:
    checks = _found().leakage
    assert checks is not None
    assert checks.shuffled.passed
    assert checks.shuffled.aucpr < 3 * checks.shuffled.base_rate


def test_shuffled_labels_do_not_pass_where_drives_of_the_training_stand_in_the_test() -> None:
    rows = learnable()
    numbered = rows.features.with_columns(temperature_c=pl.col("drive").str.slice(1).cast(pl.Float32))
    material = examples(rows.days, numbered, rows.failures, 5, NAMES)
    split = time_split(material.first_day, material.labels.last_day, 5)
    # A broken protocol: the test's days are the training's, and the folds go by row.
    broken = replace(split, test=split.train)
    fold = np.random.default_rng(0).integers(0, 3, material.drive.size).astype(np.int8)
    keen = replace(QUICK, trees=60, depth=8, learning_rate=0.3, keep_1_in=1)
    assert not shuffled_labels(material, broken, fold, keen, 0).passed


def test_a_column_made_with_knowledge_of_the_failure_trips_the_alarm() -> None:
    rows = learnable()
    leaky = rows.features.join(rows.failures.rename({"day": "failed"}), on="drive", how="left").with_columns(
        temperature_c=(pl.col("failed") - pl.col("day")).dt.total_days().fill_null(999).cast(pl.Float32)
    )
    checks = evaluate(rows.days, leaky, rows.failures, 5, NAMES, PROTOCOL).leakage
    assert checks is not None
    assert checks.best_column.column == "temperature_c"
    assert checks.best_column.alarm
    assert not checks.passed
    assert _found().leakage.passed  # type: ignore[union-attr]


def test_columns_that_name_the_drive_make_random_rows_look_far_better() -> None:
    rows = learnable()
    rng = np.random.default_rng(0)
    marks = dict(zip(rows.features["drive"].unique(maintain_order=True), rng.permutation(400).tolist(), strict=True))
    mark = pl.col("drive").replace_strict(marks, return_dtype=pl.Int64)
    named = rows.features.with_columns(
        temperature_c=(mark // 20).cast(pl.Float32),
        age_d=(mark % 20).cast(pl.Float32),
        realloc_level=pl.lit(0.0, pl.Float32),
        realloc_growth_7d=pl.lit(0.0, pl.Float32),
    )
    keen = Recipe(60, 1, 9, 0.3, 1.0, 1.0, 1.0, 0.1, 1, monotone=False)
    checks = evaluate(rows.days, named, rows.failures, 10, NAMES, replace(PROTOCOL, recipe=keen)).leakage
    assert checks is not None
    assert checks.random_rows.alarm
    assert checks.random_rows.aucpr > 2 * checks.random_rows.honest


def test_a_random_split_a_little_above_the_honest_one_is_no_alarm() -> None:
    assert not RandomRows(0.20, 0.17).alarm
    assert not RandomRows(0.03, 0.01).alarm
    assert RandomRows(0.44, 0.155).alarm


def test_a_given_model_is_evaluated_without_training() -> None:
    rows = learnable(seed=5)
    found = evaluate_model(quick_model(), rows.days, rows.features, rows.failures, 5, PROTOCOL)
    assert found.leakage is None
    assert found.drive.figures["aucpr"].value > 2 * found.drive.base_rate


def test_synthetic_data_are_called_so() -> None:
    rows = learnable()
    assert not _found().synthetic
    assert evaluate_model(
        quick_model(), rows.days, rows.features, rows.failures, 5, PROTOCOL, synthetic=True
    ).to_dict()["synthetic"]


def test_too_few_failures_in_a_part_are_refused_with_how_many_there_are() -> None:
    rows = learnable()
    with pytest.raises(TooFewDataError, match=r"\d failed drives in [\d,]+ rows of the \w+, 2026-.* want 10"):
        evaluate(rows.days, rows.features, rows.failures.head(12), 5, NAMES, PROTOCOL)


def test_data_without_failures_are_refused() -> None:
    rows = learnable()
    with pytest.raises(TooFewDataError, match="0 failed drives"):
        evaluate(rows.days, rows.features, rows.failures.clear(), 5, NAMES, PROTOCOL)
