"""A trained model as the rest sees it."""

import numpy as np
import polars as pl
import pytest

from analytics.errors import DataError, ModelMismatchError, TooFewDataError
from analytics.ssd.fitting import train
from analytics.ssd.matrix import Encoding, encode, vocabulary_of
from analytics.ssd.model_file import dump_model
from tests.analytics.ssd.learning_rows import NAMES, QUICK, learnable, quick_model

pytest.importorskip("xgboost")


def test_the_same_data_and_seed_give_the_same_bytes_and_another_seed_does_not() -> None:
    rows = learnable()
    again, other = (
        train(
            rows.days,
            rows.features,
            rows.failures,
            horizons=(5, 10),
            names=NAMES,
            recipe=QUICK,
            origin="a test",
            seed=seed,
        )
        for seed in (0, 1)
    )
    assert dump_model(again) == dump_model(quick_model())
    assert again.digest == quick_model().digest != other.digest


def test_rows_that_are_about_to_fail_stand_above_the_others() -> None:
    features = learnable().features
    p = quick_model().probabilities(features)[10]
    growing = features["realloc_growth_7d"].to_numpy() > 1
    assert p[growing].mean() > 5 * p[~growing].mean()


def test_a_row_is_scored_the_same_alone_and_among_others() -> None:
    features = learnable().features
    every = quick_model().probabilities(features)[5]
    alone = [quick_model().probabilities(features[place : place + 1])[5][0] for place in (0, 7, 100)]
    assert alone == every[[0, 7, 100]].tolist()
    assert quick_model().probabilities(features.clear())[5].size == 0


def test_contributions_add_up_to_the_margin() -> None:
    model, features = quick_model(), learnable().features.head(50)
    found = model.contributions(features, 10)
    assert found.shape == (50, len(model.features))
    margin = model.margins(encode(features, model.encoding), 10)
    apart = margin - found.sum(axis=1)
    assert apart == pytest.approx(np.full(50, apart[0]), abs=1e-4)  # the bias, the same for all rows
    assert model.contributions(features.clear(), 10).shape == (0, len(model.features))


def test_only_kinds_and_vendors_of_the_training_are_known() -> None:
    days = pl.DataFrame(
        {
            "kind": ["ata", "nvme", "ata", "ata", "ata"],
            "vendor": ["V", "V", "W", None, None],
            "model": ["new", "M1", "M1", "M0", "new"],
        }
    )
    assert quick_model().knows(days).tolist() == [True, False, False, True, False]


def test_another_horizon_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelMismatchError, match="foretells 5, 10 days, not 30"):
        quick_model().contributions(learnable().features.head(1), 30)


def test_thresholds_are_probabilities_in_order() -> None:
    for watch, replace in quick_model().thresholds.values():
        assert 0 < watch <= replace <= 1


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(DataError, match="realloc_growth_7d"):
        quick_model().probabilities(learnable().features.drop("realloc_growth_7d"))


def test_a_text_that_training_never_saw_is_unknown() -> None:
    features = learnable().features.head(3).with_columns(model=pl.Series(["M1", "unseen", None]))
    encoding = Encoding(NAMES, vocabulary_of(learnable().features))
    codes = encode(features, encoding)[:, -1]
    assert codes[0] == encoding.vocabulary["model"].index("M1")
    assert np.isnan(codes[1:]).all()


def test_a_feature_that_holds_texts_is_refused() -> None:
    features = learnable().features.with_columns(age_d=pl.lit("old"))
    with pytest.raises(DataError, match="'age_d' is String; want numbers"):
        encode(features, Encoding(NAMES, vocabulary_of(features)))


def test_too_few_failures_are_refused_with_how_many_there_are() -> None:
    rows = learnable()
    with pytest.raises(TooFewDataError, match=r"[0-9] failed drives in .* rows of training; want 10"):
        train(rows.days, rows.features, rows.failures.head(4), horizons=(5,), names=NAMES, recipe=QUICK)


def test_days_that_are_too_short_for_a_horizon_are_refused() -> None:
    rows = learnable()
    with pytest.raises(TooFewDataError, match="47 days of data for a horizon of 30"):
        train(rows.days, rows.features, rows.failures, horizons=(5, 30), names=NAMES, recipe=QUICK)
