"""The allowance: what an epoch may take, and the law on any ten of them."""

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from agents.allowance import AT_ONCE, EPOCHS, LIMIT, EpochAllowance


class Meter:
    """CPU as a test says."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.allowance = EpochAllowance(lambda: self.now_s)

    def work(self, cpu_s: float) -> None:
        self.now_s += cpu_s


def test_an_epoch_brings_its_budget_and_work_takes_from_it() -> None:
    meter = Meter()
    assert meter.allowance.left_s() == 0
    meter.allowance.begin(0.5)
    assert meter.allowance.left_s() == pytest.approx(LIMIT * 0.5)
    meter.work(0.2)
    assert meter.allowance.left_s() == pytest.approx(LIMIT * 0.5 - 0.2)
    assert meter.allowance.at_ease_s() == pytest.approx(0.3)
    assert meter.allowance.end() == pytest.approx(0.2)
    assert meter.allowance.end() == 0


def test_quiet_epochs_leave_a_little_for_the_next_and_no_more() -> None:
    meter = Meter()
    for _ in range(5):
        meter.allowance.begin(1.0)
    assert meter.allowance.left_s() == pytest.approx(1 + AT_ONCE)


def test_what_an_epoch_took_too_much_is_taken_off_the_next_ones_until_the_mean_forgets_it() -> None:
    meter = Meter()
    meter.allowance.begin(1.0)
    meter.work(LIMIT + 2.0)
    left: list[float] = []
    for _ in range(EPOCHS):
        meter.allowance.begin(1.0)
        left.append(meter.allowance.left_s())
        meter.work(0.9)
    spare = LIMIT - 0.9
    assert left[:-1] == pytest.approx([LIMIT - 2.0 + i * spare for i in range(EPOCHS - 1)])
    assert left[-1] == pytest.approx(1 + AT_ONCE)


def test_another_budget_holds_at_once_and_what_was_saved_before_shrinks_with_it() -> None:
    meter = Meter()
    meter.allowance.begin(1.0)
    meter.work(LIMIT - 0.2)
    meter.allowance.begin(1.0)
    meter.allowance.change(0.1)
    assert meter.allowance.left_s() == pytest.approx(LIMIT * 0.1 + 0.02)
    meter.work(0.12)
    meter.allowance.change(2.0)
    assert meter.allowance.left_s() == pytest.approx(LIMIT * 2.0 + 0.2 - 0.12)


def test_a_late_epoch_earned_its_time() -> None:
    meter = Meter()
    meter.allowance.begin(1.0)
    meter.work(2.5)
    meter.allowance.begin(1.0, late_s=1.5)
    assert meter.allowance.left_s() == pytest.approx(LIMIT * 3.5 - 2.5)


def test_shipping_is_charged_when_rows_are_gathered_and_not_when_they_go() -> None:
    meter = Meter()
    meter.allowance.begin(1.0)
    meter.work(0.1)
    meter.allowance.owe(0.3)
    assert meter.allowance.left_s() == pytest.approx(LIMIT - 0.4)
    assert meter.allowance.end() == pytest.approx(0.4)
    meter.work(0.3)
    meter.allowance.ship(0.3)
    assert meter.allowance.left_s() == pytest.approx(LIMIT - 0.4)
    assert meter.allowance.settle() == pytest.approx(0.3)
    assert meter.allowance.left_s() == pytest.approx(LIMIT - 0.4)
    assert meter.allowance.end() == pytest.approx(0.0)


@pytest.mark.parametrize("really_s", [0.1, 0.5])
def test_a_wrong_prediction_is_made_up_for_at_the_checkpoint(really_s: float) -> None:
    meter = Meter()
    meter.allowance.begin(1.0)
    meter.allowance.owe(0.3)
    meter.work(really_s)
    meter.allowance.ship(really_s)
    assert meter.allowance.settle() == pytest.approx(really_s)
    assert meter.allowance.left_s() == pytest.approx(LIMIT - really_s)
    assert meter.allowance.end() == pytest.approx(0.3)
    assert meter.allowance.settle() == 0


@given(
    budgets=floats(0.01, 4.0),
    wishes=lists(lists(tuples(floats(0, 2.0), integers(0, 9)), max_size=6), min_size=12, max_size=40),
)
def test_any_ten_epochs_take_at_most_1_05_budgets_but_for_one_batch_each(
    budgets: float, wishes: list[list[tuple[float, int]]]
) -> None:
    """Work is done while something is left; the last batch of an epoch may exceed it, which the next ones pay."""
    meter = Meter()
    taken: list[float] = []
    largest = 0.0
    for batches in wishes:
        meter.allowance.begin(budgets)
        for share, shipped in batches:
            if meter.allowance.left_s() <= 0:
                break
            cpu_s = share * budgets / 4
            meter.work(cpu_s * (1 - shipped / 10))
            meter.allowance.owe(cpu_s * shipped / 10)
            largest = max(largest, cpu_s)
        taken.append(meter.allowance.end())
    for first in range(len(taken) - 9):
        assert sum(taken[first : first + 10]) <= 1.05 * 10 * budgets + largest + 1e-9
