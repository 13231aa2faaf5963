"""The paper's estimator against cases worked out by hand and against plain recomputations."""

import math
from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quantiles import paper_estimator
from benchmarks.quantiles.paper_estimator import PaperEstimator, cut, is_larger, sampled, u_statistic
from quantiles.array_types import FloatArray

small = st.lists(st.integers(0, 12), min_size=1, max_size=25)


def cut_by_decimals(x: float) -> float:
    """The cut, digit by digit; x as the shortest decimal that means it."""
    number = Decimal(repr(x))
    step = Decimal(10) ** (number.adjusted() - 2)
    return float((number / step).to_integral_value(ROUND_FLOOR) * step) if x else 0.0


def pairs_won(sample: list[int], other: list[int]) -> float:
    """Mann-Whitney U by its definition."""
    return sum((a > b) + (a == b) / 2 for a in sample for b in other)


def ranked(values: FloatArray, phi: float) -> float:
    return float(np.sort(values)[max(1, math.ceil(phi * len(values))) - 1])


class TestCut:
    def test_three_leading_digits_stay_at_every_magnitude(self) -> None:
        values = [74_265.0, 1009.9, 1000.0, 999.0, 999.9, 20.377, 5.0, 1.13, 0.29, 0.012_349, 0.0, 1.8e19]
        wanted = [74_200.0, 1000.0, 1000.0, 999.0, 999.0, 20.3, 5.0, 1.13, 0.29, 0.0123, 0.0, 1.8e19]
        assert cut(np.array(values)).tolist() == wanted

    def test_values_below_100_do_not_become_whole_numbers(self) -> None:
        """That was the median's error of 2.5 % on Pareto data in a first trial of ours."""
        assert cut(np.array([20.99])).tolist() == [20.9]

    @given(st.lists(st.one_of(st.floats(1e-9, 1e12), st.integers(0, 10**9).map(float)), min_size=1, max_size=30))
    def test_it_is_the_decimal_cut_and_changes_less_than_one_percent(self, values: list[float]) -> None:
        found = cut(np.array(values))
        assert found.tolist() == [cut_by_decimals(x) for x in values]
        assert np.all((found <= values) & (np.array(values) - found <= 0.01 * np.array(values)))
        assert cut(found).tolist() == found.tolist()

    def test_values_without_leading_digits_are_refused(self) -> None:
        for value in (-1.0, math.nan, math.inf, 1e-300):
            with pytest.raises(ValueError, match="cannot be cut"):
                cut(np.array([1.0, value]))


class TestBurstTest:
    @given(sample=small, other=small)
    def test_u_counts_the_pairs_that_the_sample_wins(self, sample: list[int], other: list[int]) -> None:
        found = u_statistic(np.array(sample, float), np.array(other, float))
        assert found == pairs_won(sample, other)
        assert found + u_statistic(np.array(other, float), np.array(sample, float)) == len(sample) * len(other)

    def test_its_level_is_the_one_worked_out_by_hand(self) -> None:
        """5 values above 5 others: U = 25, mean 12.5, variance 25 * 11 / 12, z = 12 / 4.787 = 2.507, p = 0.0061."""
        low, high = np.arange(5.0), np.arange(10.0, 15.0)
        assert is_larger(high, low, level=0.0062)
        assert not is_larger(high, low, level=0.0060)

    def test_ties_narrow_the_variance(self) -> None:
        """1 1 2 2 against 1 1 1 1: U = 12, mean 8, variance 16/12 * (9 - (6**3 - 6 + 2**3 - 2) / 56) = 6.857.

        So z = 3.5 / 2.6186 = 1.3366 and p = 0.0907.
        """
        sample, other = np.array([1.0, 1, 2, 2]), np.array([1.0, 1, 1, 1])
        assert is_larger(sample, other, level=0.0908)
        assert not is_larger(sample, other, level=0.0906)

    def test_smaller_equal_and_constant_samples_raise_no_alarm(self) -> None:
        values = np.arange(1.0, 40.0)
        assert not is_larger(values, values)
        assert not is_larger(values, values * 10)
        assert is_larger(values * 10, values)
        assert not is_larger(np.ones(30), np.ones(30))


class TestLevel2:
    @pytest.mark.parametrize("resum_every", [3, 10**9])
    def test_the_sum_kept_up_is_the_mean_of_the_live_sub_windows(
        self, monkeypatch: pytest.MonkeyPatch, resum_every: int
    ) -> None:
        monkeypatch.setattr(paper_estimator, "RESUM_PERIODS", resum_every)
        values = np.random.default_rng(1).lognormal(5, 1, 50 * 200)
        estimator = PaperEstimator(1000, 200, (0.5, 0.9))
        for number in range(50):
            estimator.add(values[number * 200 : (number + 1) * 200])
            live = [cut(values[i * 200 : (i + 1) * 200]) for i in range(max(0, number - 4), number + 1)]
            afresh = [np.mean([ranked(piece, phi) for piece in live]) for phi in (0.5, 0.9)]
            assert estimator.quantiles() == pytest.approx(afresh, rel=1e-12)

    def test_a_mean_of_quantiles_by_hand(self) -> None:
        estimator = PaperEstimator(8, 4, (0.5, 0.75))
        estimator.add(np.array([1.0, 2, 3, 4, 50, 60, 70, 80, 1009]))
        assert estimator.quantiles().tolist() == [(2 + 60) / 2, (3 + 70) / 2]  # the ninth value's period is open
        estimator.add(np.array([1019.0, 1029, 5000]))
        assert estimator.quantiles().tolist() == [(60 + 1010) / 2, (70 + 1020) / 2]

    def test_how_values_arrive_does_not_matter(self) -> None:
        values = np.random.default_rng(2).pareto(1.0, 5000) + 1
        whole, pieces = PaperEstimator(2000, 500, (0.5, 0.99)), PaperEstimator(2000, 500, (0.5, 0.99))
        whole.add(values)
        for begin in range(0, 5000, 317):
            pieces.add(values[begin : begin + 317])
        assert whole.quantiles().tolist() == pieces.quantiles().tolist()

    def test_no_answer_before_the_first_period_ends(self) -> None:
        estimator = PaperEstimator(8, 4, (0.5,))
        estimator.add(np.ones(3))
        with pytest.raises(ValueError, match="no sub-window has closed"):
            estimator.quantiles()

    def test_odd_windows_and_shares_are_refused(self) -> None:
        for window, period in ((10, 3), (10, 0)):
            with pytest.raises(ValueError, match="multiple"):
                PaperEstimator(window, period, (0.5,))
        for share in (0.0, 1.5):
            with pytest.raises(ValueError, match="shares"):
                PaperEstimator(10, 5, (0.5,), top_share=share)


class TestFewK:
    def test_top_k_by_hand(self) -> None:
        """Window 800, period 200, p99: need = 800 - 792 + 1 = 9; a share of 0.3 keeps 3 per sub-window, 12 in all."""
        pieces = [np.concatenate([np.full(196, 1.0), np.array([100.0, 200, 300, 400]) + i]) for i in range(4)]
        estimator = PaperEstimator(800, 200, (0.99,), top_share=0.3)
        for piece in pieces:
            estimator.add(piece)
        assert estimator.alarms == 0
        assert estimator.quantiles().tolist() == [203.0]  # kept 400-403, 300-303, 200-203: the ninth from the top
        short = PaperEstimator(800, 200, (0.99,), top_share=0.1)
        for piece in pieces:
            short.add(piece)
        assert short.quantiles().tolist() == [400.0]  # one per sub-window: the lists end before the ninth

    def test_sampled_by_hand(self) -> None:
        descending = np.arange(20.0, 0.0, -1)
        assert sampled(descending, 5).tolist() == [18.0, 13.0, 8.0, 3.0]  # the middle of 20-16, 15-11 ...
        assert sampled(descending, 1).tolist() == descending.tolist()
        assert sampled(descending[:2], 5).tolist() == [19.0]  # no middle one: the last

    def test_a_burst_is_answered_by_sample_k_until_it_leaves(self) -> None:
        """The sample has all 9 of the need, top-k one value per sub-window: only the sample tells the burst's ninth."""
        calm = np.linspace(100.0, 299, 200)
        burst = calm.copy()
        burst[-9:] = np.arange(9100.0, 10_000, 100)
        estimator = PaperEstimator(800, 200, (0.99,), top_share=1 / 9, sample_share=1.0)
        answers = []
        for piece in (calm, calm, calm, calm, burst, calm, calm, calm, calm):
            estimator.add(piece)
            answers.append(float(estimator.quantiles()[0]))
        assert estimator.alarms == 1
        assert answers == [299.0] * 4 + [9100.0] * 4 + [299.0]

    def test_a_sample_too_small_for_the_test_misses_the_burst(self) -> None:
        """3 values above 3 others have p = 0.04, which is no alarm at 0.1 %."""
        calm = np.linspace(100.0, 299, 200)
        estimator = PaperEstimator(800, 200, (0.99,), sample_share=1 / 3)
        for piece in (calm, calm, calm * 10):
            estimator.add(piece)
        assert estimator.alarms == 0

    @pytest.mark.parametrize("seed", range(5))
    def test_with_the_whole_need_kept_the_tail_is_exact_but_for_the_cut(self, seed: int) -> None:
        values = np.random.default_rng(seed).pareto(1.0, 20 * 500) + 1
        estimator = PaperEstimator(4000, 500, (0.99, 0.999), top_share=1.0, sample_share=1.0)
        for number in range(20):
            estimator.add(values[number * 500 : (number + 1) * 500])
            if number >= 7:
                live = cut(values[(number - 7) * 500 : (number + 1) * 500])
                assert estimator.quantiles().tolist() == [ranked(live, 0.99), ranked(live, 0.999)]

    def test_what_is_kept_is_counted(self) -> None:
        """Per sub-window: 2 quantiles, 5 of the need of 9 on top, 4 samples; and 2 running sums."""
        estimator = PaperEstimator(800, 200, (0.5, 0.99), top_share=0.5, sample_share=0.5)
        estimator.add(np.arange(1.0, 801.0))
        assert estimator.kept_values == 4 * (2 + 5 + 4) + 2
