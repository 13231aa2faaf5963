"""A model of retries that begins with the priors and learns from outcomes."""

import numpy as np
import pytest

from analytics.gpu.retry_features import Situation, situation
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.retry_priors import shipped_priors
from tests.analytics.gpu.attempt_rows import attempt, failing


def seen(reason: str = "nccl_timeout", repeats: int = 0, **more: object) -> Situation:
    return situation(failing(repeats + 1, reason, **more))


def taught(count: int, share: float, seed: int = 0, reason: str = "nccl_timeout") -> RetryModel:
    rng = np.random.default_rng(seed)
    model = RetryModel()
    for number in range(count):
        model.learn(situation([attempt(reason=reason, job=f"j{number}")]), bool(rng.random() < share))
    return model


def test_without_outcomes_the_answer_is_the_prior() -> None:
    model = RetryModel()
    for reason in ("gpu_ecc", "cpu_oom", "syntax_error", ""):
        said = model.estimate(seen(reason))
        assert said.probability == pytest.approx(said.prior) == pytest.approx(shipped_priors().of(reason).success)
        assert said.outcomes == 0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_outcomes_replace_the_prior(share: float) -> None:
    said = taught(400, share).estimate(seen())
    assert said.probability == pytest.approx(share, abs=0.12)


def test_other_reasons_keep_most_of_their_prior() -> None:
    model = taught(300, 0.05)
    assert model.estimate(seen("gpu_ecc")).probability == pytest.approx(0.73, abs=0.3)
    assert model.estimate(seen("gpu_ecc")).record == pytest.approx(0.73)


def test_what_was_mended_counts_no_longer() -> None:
    model = taught(600, 0.05)
    for number in range(600):
        model.learn(situation([attempt(job=f"k{number}")]), passed=True)
    assert model.estimate(seen()).probability > 0.8


def test_repetitions_are_learned_apart() -> None:
    model = RetryModel()
    for _ in range(150):
        model.learn(seen(), passed=True)
        model.learn(seen(repeats=1), passed=False)
    assert model.estimate(seen()).probability > 0.85
    assert model.estimate(seen(repeats=1)).probability < 0.15


@pytest.mark.parametrize("what", ["template", "user", "gpus", "hours"])
def test_a_telling_feature_is_found_within_one_reason(what: str) -> None:
    values = {
        "template": ("no such file", "stale handle"),
        "user": ("a", "b"),
        "gpus": (1.0, 64.0),
        "hours": (0.1, 30.0),
    }
    model = RetryModel()
    rng = np.random.default_rng(1)
    for _ in range(400):
        which = int(rng.integers(2))
        passed = bool(rng.random() < (0.9 if which else 0.1))
        model.learn(seen(**{what: values[what][which]}), passed)
    low, high = (model.estimate(seen(**{what: value})).probability for value in values[what])
    assert low < 0.3
    assert high > 0.65
    assert model.quality.model.brier() < 0.75 * model.quality.prior.brier()


def test_where_nothing_tells_probabilities_stay_honest() -> None:
    model = taught(1_500, 0.6, seed=3)
    assert model.quality.model.brier() < 0.6 * 0.4 + 0.02  # no better than chance allows, hardly worse


def test_probabilities_stay_away_from_certainty_and_sums_stay_finite() -> None:
    model = taught(2_000, 0.0)
    assert 0.005 <= model.estimate(seen()).probability < 0.05
    assert np.isfinite(model.weights).all()


def test_the_same_outcomes_make_the_same_model_bit_for_bit() -> None:
    one, two = taught(200, 0.4), taught(200, 0.4)
    assert one.weights.tobytes() == two.weights.tobytes()
    assert one.estimate(seen()) == two.estimate(seen())


def test_an_outcome_of_a_name_is_learned_once() -> None:
    model = RetryModel()
    assert model.learn(seen(), passed=True, name="job-1\n1")
    before = model.weights.copy()
    assert not model.learn(seen(), passed=True, name="job-1\n1")
    assert model.weights.tobytes() == before.tobytes()
    assert model.quality.outcomes == 1


def test_endless_reasons_share_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics.gpu.retry_model.MOST_REASONS", 3)
    model = RetryModel()
    for number in range(10):
        model.learn(seen(f"reason-{number}"), passed=False)
    assert set(model.records) == {"reason-0", "reason-1", "reason-2", ""}
