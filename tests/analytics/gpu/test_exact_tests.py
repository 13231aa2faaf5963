"""Tails are those of the distributions they are named after, and corrections those of the books."""

import math

import numpy as np
import pytest

from analytics.gpu.exact_tests import benjamini_hochberg, binomial_tail, dispersion_of, overdispersed_tail, rate_tail


def exact_binomial(count: int, total: int, share: float) -> float:
    return sum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(max(count, 0), total + 1))


@pytest.mark.parametrize("share", [0.001, 0.03, 0.5, 0.99])
@pytest.mark.parametrize("count", [0, 1, 3, 17, 40, 41])
def test_the_binomial_tail_is_the_sum_of_its_terms(count: int, share: float) -> None:
    assert binomial_tail(count, 40, share) == pytest.approx(exact_binomial(count, 40, share), rel=1e-9, abs=1e-300)


def test_far_tails_are_small_numbers_and_no_zeros_or_errors() -> None:
    assert 0 < binomial_tail(300, 50_000, 0.002) < 1e-55
    assert binomial_tail(1, 10, 0.0) == 0.0
    assert binomial_tail(10, 10, 1.0) == 1.0
    assert binomial_tail(9, 10**7, 1e-9) < 1e-20


@pytest.mark.parametrize(("mean", "dispersion"), [(3.0, 2.0), (10.0, 5.0), (0.2, 1.1)])
def test_the_overdispersed_tail_has_the_mean_and_variance_that_were_asked_for(mean: float, dispersion: float) -> None:
    tails = np.array([overdispersed_tail(count, mean, dispersion) for count in range(1, 400)])
    assert tails.sum() == pytest.approx(mean, rel=1e-9)  # the sum of P(X >= k) is the mean
    second = 2 * (tails * np.arange(1, 400)).sum() - tails.sum()
    assert second - mean**2 == pytest.approx(mean * dispersion, rel=1e-9)


def test_equal_rates_give_p_values_that_are_hardly_ever_small() -> None:
    rng = np.random.default_rng(5)
    exposure = rng.uniform(50, 500, 200)
    p_values = np.concatenate([rate_tail(rng.poisson(exposure * 0.05), exposure) for _ in range(10)])
    assert (p_values <= 0.05).mean() <= 0.05  # exact tests of counts err on the safe side
    assert (p_values <= 0.5).mean() > 0.4


def test_a_row_with_no_exposure_is_not_suspected() -> None:
    assert rate_tail(np.array([3, 0, 5]), np.array([0.0, 10.0, 10.0])).tolist()[0] == 1.0
    assert rate_tail(np.array([3, 0]), np.array([0.0, 0.0])).tolist() == [1.0, 1.0]


def test_corrected_values_are_those_of_benjamini_and_hochberg() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.005, 0.55])
    # Sorted .005 .01 .03 .04 .55 times 5/1 5/2 5/3 5/4 1, each at most the next.
    assert benjamini_hochberg(p_values).tolist() == pytest.approx([0.025, 0.05, 0.05, 0.025, 0.55])
    assert benjamini_hochberg(np.array([])).size == 0


def test_scatter_is_found_and_a_few_outliers_are_not_taken_for_it() -> None:
    rng = np.random.default_rng(6)
    exposure = np.full(300, 1000.0)
    poisson = rng.poisson(10.0, 300)
    assert dispersion_of(poisson, exposure) == 1.0
    poisson[:9] *= 8
    assert dispersion_of(poisson, exposure) < 1.6
    wide = rng.negative_binomial(10.0 / 3, 0.25, 300)  # mean 10, variance 40
    assert 2.5 < dispersion_of(wide, exposure) < 5.5
    assert dispersion_of(wide[:5], exposure[:5]) == 1.0
