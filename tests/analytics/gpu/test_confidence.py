"""How sure an answer is: features, parameters, and their fit with sources held out."""

import math
import random

import pytest

from analytics.errors import TooFewDataError
from analytics.gpu.confidence import FEATURES, Parameters, checked, confidence, curve, features, shipped
from analytics.gpu.confidence_fit import LEAST_COVERAGE, Example, fit, held_out
from analytics.gpu.roots import choose
from tests.analytics.gpu.plain_scan import exception, found, signature

OOM = signature("oom", "gpu_oom", weight=90)


def examples(count: int = 300) -> list[Example]:
    """Sure where the weight is high, from ten sources."""
    drawn = random.Random(4)
    made = []
    for place in range(count):
        values = dict.fromkeys(FEATURES, 0.0) | {"weight": drawn.random()}
        right = drawn.random() < 1 / (1 + math.exp(-12 * (values["weight"] - 0.4)))
        made.append(Example(values, right, f"source-{place % 10}"))
    return made


def test_nothing_found_is_never_an_answer() -> None:
    said = confidence(choose([]))
    assert (said.probability, said.enough) == (0.0, False)


def test_shipped_parameters_are_whole_and_prefer_clear_logs() -> None:
    clear = confidence(choose([found(OOM)]))
    vague = confidence(choose([exception("any", 3, weight=20), exception("OSError", 9, "storage_io", 30)]))
    assert set(shipped().coefficients) == set(FEATURES)
    assert 0 < vague.probability < clear.probability < 1
    assert clear.enough


def test_features_tell_a_rival_and_who_agrees() -> None:
    alone = features(choose([found(OOM)]))
    rivals = features(choose([found(OOM), found(signature("ill", "illegal_mem_access", weight=80), 9)]))
    agreed = features(choose([found(OOM), found(signature("oom-2", "gpu_oom", "confirm"), 9)]))
    assert alone["close_rival"] == 0.0
    assert rivals["close_rival"] == 1.0
    assert agreed["agreeing"] > alone["agreeing"]


def test_parameters_of_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match="fit them again"):
        checked(Parameters(intercept=0, coefficients={"weight": 1.0}, threshold=0.5, fitted_on="", logs=1))
    with pytest.raises(ValueError, match="threshold is 2"):
        checked(Parameters(intercept=0, coefficients=dict.fromkeys(FEATURES, 0.0), threshold=2, fitted_on="", logs=1))


def test_a_fit_answers_enough_and_those_better_than_all() -> None:
    known = examples()
    parameters = fit(known, "made-up examples")
    chances = held_out(known)
    answered = [one.right for one, chance in zip(known, chances, strict=True) if chance >= parameters.threshold]
    assert parameters.coefficients["weight"] > 0
    assert len(answered) >= LEAST_COVERAGE * len(known)
    assert sum(answered) / len(answered) > sum(one.right for one in known) / len(known)
    assert curve({**dict.fromkeys(FEATURES, 0.0), "weight": 0.9}, parameters) > 0.9


def test_a_source_that_is_held_out_teaches_nothing_about_itself() -> None:
    known = examples()
    turned = [
        Example(one.features, not one.right if one.source == "source-3" else one.right, one.source) for one in known
    ]
    places = [place for place, one in enumerate(known) if one.source == "source-3"]
    before, after = held_out(known), held_out(turned)
    assert [before[place] for place in places] == [after[place] for place in places]
    assert before != after


def test_too_few_logs_are_refused() -> None:
    with pytest.raises(TooFewDataError, match="wanted 20 of two sources"):
        fit(examples(12), "few")
