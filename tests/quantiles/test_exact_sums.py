"""Sums must not depend on the split: integers bit for bit, floats within 1e-12 of the sum of magnitudes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.errors import IncompatibleSketchError, SampleError, StateOverflowError
from quantiles.exact_sums import PLAIN_RUN, SumColumn
from tests.quantiles import reference
from tests.quantiles.samples import cut, grouped, integers, laws, moderate


def merged_in_pieces(values: np.ndarray, groups: np.ndarray, n_groups: int, seed: int) -> SumColumn:
    rng = np.random.default_rng(seed)
    parts = [SumColumn.from_values(values[i], groups[i], n_groups) for i in cut(rng, len(values), 4)]
    while len(parts) > 1:  # merge two random ones until one is left
        i, j = sorted(rng.choice(len(parts), 2, replace=False).tolist())
        pair = SumColumn.concat([parts[j], parts[i]])
        parts = [p for k, p in enumerate(parts) if k not in (i, j)]
        parts.append(pair.reduce(np.tile(np.arange(n_groups), 2), n_groups))
    return parts[0]


@laws
@given(data=grouped(integers), seed=st.integers(0, 99))
def test_integer_sums_are_exact_and_bit_identical_for_any_split(data: tuple, seed: int) -> None:
    values, groups, n_groups = data[0].astype(np.int64), data[1], data[2]
    whole = SumColumn.from_values(values, groups, n_groups)
    assert whole.values() == [sum(values[groups == g].tolist()) for g in range(n_groups)]
    split = merged_in_pieces(values, groups, n_groups, seed)
    assert np.array_equal(whole.hi, split.hi)
    assert np.array_equal(whole.lo, split.lo)
    assert np.all((whole.lo >= 0) & (whole.lo < 2**32))


@laws
@given(data=grouped(moderate), seed=st.integers(0, 99))
def test_float_sums_stay_within_their_bound_for_any_split(data: tuple, seed: int) -> None:
    values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
    for column in (SumColumn.from_values(values, groups, n_groups), merged_in_pieces(values, groups, n_groups, seed)):
        for g, total in enumerate(column.values()):
            mine = values[groups == g].tolist()
            assert abs(reference.exact_sum([total]) - reference.exact_sum(mine)) <= 1e-12 * sum(map(abs, mine))


@pytest.mark.parametrize("n_groups", [1, 3])
def test_long_float_sums_with_cancellation_stay_within_their_bound(n_groups: int) -> None:
    rng = np.random.default_rng(5)
    values = rng.lognormal(0, 3, 20 * PLAIN_RUN) * rng.choice([-1.0, 1.0], 20 * PLAIN_RUN)
    groups = np.where(np.arange(len(values)) % 1000 == 0, n_groups - 1, 0)
    column = SumColumn.from_values(values, groups, n_groups)
    for g, total in enumerate(column.values()):
        mine = values[groups == g]
        assert abs(total - math.fsum(mine)) <= 1e-14 * np.abs(mine).sum()


def test_ten_thousand_merges_lose_nothing_that_one_sum_would_keep() -> None:
    part = SumColumn.from_values(np.array([0.1]), [0], 1)
    total = SumColumn.zeros(1, integer=False)
    for _ in range(10_000):
        total = SumColumn.concat([total, part]).reduce([0, 0], 1)
    exact = 10_000 * reference.exact_sum([0.1])
    assert reference.exact_sum([float(total.hi[0]), float(total.lo[0])]) == pytest.approx(exact, rel=1e-28)
    assert total.values()[0] == float(exact)


@laws
@given(values=st.lists(moderate, max_size=30))
def test_the_two_parts_of_a_float_sum_never_overlap(values: list[float]) -> None:
    column = SumColumn.from_values(np.array(values, np.float64), np.zeros(len(values), np.int64), 1)
    again = SumColumn.concat([column, column, column]).reduce([0, 0, 0], 1)
    for sums in (column, again):
        assert sums.hi[0] + sums.lo[0] == sums.hi[0]
        assert not (np.signbit(sums.hi[0]) and sums.hi[0] == 0)


def test_infinities_and_nan_go_into_the_sum_and_leave_no_second_part() -> None:
    inf, nan = math.inf, math.nan
    column = SumColumn.from_values(np.array([inf, 1.0, inf, -inf, nan, 0.1, 1e308, 1e308]), [0, 0, 1, 1, 2, 2, 3, 3], 4)
    assert column.hi[[0, 3]].tolist() == [inf, inf]
    assert np.isnan(column.hi[[1, 2]]).all()
    assert column.lo.tolist() == [0.0] * 4
    merged = column.reduce([0, 0, 1, 2], 3)
    assert np.isnan(merged.hi[[0, 1]]).all()
    assert merged.hi[2] == inf
    assert merged.lo.tolist() == [0.0] * 3


def test_minus_zero_sums_to_plain_zero() -> None:
    column = SumColumn.from_values(np.array([-0.0, -0.0]), [0, 0], 1)
    assert not np.signbit(column.hi).any()
    assert not np.signbit(column.reduce([0], 1).hi).any()


def test_take_concat_and_zeros_keep_rows_in_place() -> None:
    column = SumColumn.from_values(np.array([5, -7, 2**62, 2**62]), [0, 1, 2, 2], 3)
    assert column.take([2, 0]).values() == [2**63, 5]
    assert SumColumn.concat([column, SumColumn.zeros(2, True)]).values() == [5, -7, 2**63, 0, 0]
    assert len(SumColumn.zeros(4, False)) == 4
    assert column.reduce([1, 1, 1], 3).values() == [0, 2**63 - 2, 0]


def test_an_integer_sum_turns_into_the_same_float_sum() -> None:
    column = SumColumn.from_values(np.array([-3, 2**53 + 1, 2**40]), [0, 1, 2], 3)
    as_float = column.as_float()
    assert as_float.hi.tolist() == [-3.0, 2.0**53, 2.0**40]
    assert as_float.lo.tolist() == [0.0, 1.0, 0.0]
    assert as_float.as_float() is as_float


def test_integer_and_float_sums_do_not_mix() -> None:
    with pytest.raises(IncompatibleSketchError, match="integer sums beside float sums"):
        SumColumn.concat([SumColumn.zeros(1, True), SumColumn.zeros(1, False)])
    with pytest.raises(IncompatibleSketchError, match="no columns"):
        SumColumn.concat([])


def test_a_sum_that_cannot_be_held_is_refused_not_wrapped() -> None:
    huge = SumColumn(True, np.array([2**62 - 1, 2**62 - 1]), np.array([0, 0]))
    with pytest.raises(StateOverflowError, match=r"2\*\*94"):
        huge.reduce([0, 0], 1)
    assert huge.reduce([0, 1], 2).values() == huge.values()


@pytest.mark.parametrize(
    "bad",
    [["a"], [None], [1 + 2j], [[1.0, 2.0]], 3.0, [True, False], np.array([2**64 - 1], np.uint64), [object()]],
    ids=["text", "none", "complex", "two-dimensional", "scalar", "bool", "above int64", "object"],
)
def test_samples_of_another_kind_are_refused(bad: object) -> None:
    with pytest.raises(SampleError, match=r"sample"):
        SumColumn.from_values(bad, np.zeros(1, np.int64), 1)


@pytest.mark.parametrize("groups", [[0], [0, 2], [-1, 0], [0.0, 1.0], [[0, 1]]])
def test_group_codes_must_be_dense_and_one_per_row(groups: object) -> None:
    with pytest.raises(SampleError, match="group"):
        SumColumn.from_values([1.0, 2.0], groups, 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64, np.float32])
def test_narrower_types_are_widened_without_loss(dtype: type) -> None:
    column = SumColumn.from_values(np.array([100, 27], dtype), [0, 0], 1)
    assert column.values()[0] == 127
    assert column.integer == (dtype is not np.float32)
