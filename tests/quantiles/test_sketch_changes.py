"""What turns a sketch into another one: subtracting, downscaling, weights, bounded size, adding in batches."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.errors import (
    IncompatibleSketchError,
    SampleError,
    ScaleError,
    StateOverflowError,
    SubtractionError,
)
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from tests.quantiles import reference
from tests.quantiles.samples import anything, cut, few_laws, grouped, integers, laws, numbers, scales
from tests.quantiles.test_sketch_column import same_but_float_sums


def filled(values: object, scale: int = 6, **more: object) -> Sketch:
    sketch = Sketch(scale, **more)  # type: ignore[arg-type]
    sketch.add(values)  # type: ignore[arg-type]
    return sketch


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(data=grouped(anything), scale=scales, seed=st.integers(0, 99), pieces=st.integers(1, 6))
    def test_adding_in_any_batches_gives_what_a_column_counts(
        self, data: tuple, scale: int, seed: int, pieces: int
    ) -> None:
        values = data[0].astype(np.float64)
        sketch = Sketch(scale)
        for rows in cut(np.random.default_rng(seed), len(values), pieces):
            sketch.add(values[rows])
        whole = SketchColumn.from_values(values, np.zeros(len(values), np.int64), 1, scale)
        assert same_but_float_sums(sketch.column(), whole)
        exact = reference.exact_sum([x for x in values.tolist() if math.isfinite(x)])
        if np.isfinite(values).all() and np.isfinite(float(abs(exact)) if abs(exact) < 2**1000 else math.inf):
            assert abs(reference.exact_sum([sketch.sum]) - exact) <= 1e-12 * float(np.abs(values).sum())

    @laws
    @given(values=st.lists(integers, max_size=40), seed=st.integers(0, 99), pieces=st.integers(1, 6))
    def test_integers_in_any_batches_give_the_same_bytes(self, values: list[int], seed: int, pieces: int) -> None:
        array = np.array(values, np.int64)
        sketch = Sketch()
        for rows in cut(np.random.default_rng(seed), len(array), pieces):
            sketch.add(array[rows])
        if values:
            assert sketch.to_bytes() == filled(array).to_bytes()
        assert sketch.sum == sum(values)

    def test_long_mixed_batches_count_like_a_column(self) -> None:
        rng = np.random.default_rng(12)
        plain = rng.lognormal(3, 1, 150_000)
        odd = plain.copy()
        odd[rng.integers(0, 150_000, 5000)] = rng.choice([0.0, -1.5, math.nan, math.inf, 1e300, 5e-324], 5000)
        for values in (plain, odd, -plain, np.rint(plain).astype(np.int64), np.rint(odd[odd > 0]).clip(0, 2**62)):
            sketch = Sketch()
            for start in range(0, len(values), 40_001):
                sketch.add(values[start : start + 40_001])
            whole = SketchColumn.from_values(values, np.zeros(len(values), np.int64), 1)
            assert same_but_float_sums(sketch.column(), whole)
            wanted = whole.sums.values()[0]
            assert sketch.sum == pytest.approx(wanted, rel=1e-12, nan_ok=True)

    @pytest.mark.parametrize(
        "kind", [np.float32, np.int8, np.uint16, np.int32, np.uint64, np.dtype(">f8"), np.dtype(">i4")]
    )
    def test_narrow_and_foreign_types_are_widened_without_loss(self, kind: type) -> None:
        values = np.array([0, 1, 2, 77, 100]).astype(kind)
        sketch = filled(values)
        sketch.add(values[::2])
        assert (sketch.count, float(sketch.sum), sketch.min, sketch.max) == (8, 282.0, 0.0, 100.0)

    @laws
    @given(data=grouped(anything), weights=st.lists(st.integers(1, 2**40), min_size=60, max_size=60), scale=scales)
    def test_a_weight_counts_like_so_many_copies(self, data: tuple, weights: list[int], scale: int) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        times = np.array(weights[: len(values)], np.int64)
        found = SketchColumn.from_values(values, groups, n_groups, scale, times)
        plain = SketchColumn.from_values(values, groups, n_groups, scale)
        assert np.array_equal(found.cells, plain.cells)
        assert np.array_equal(found.minima, plain.minima, equal_nan=True)
        assert np.array_equal(found.maxima, plain.maxima, equal_nan=True)
        assert int(found.totals().sum() + found.nan_counts.sum()) == sum(weights[: len(values)])
        few = times % 5 + 1
        copies = SketchColumn.from_values(np.repeat(values, few), np.repeat(groups, few), n_groups, scale)
        assert same_but_float_sums(SketchColumn.from_values(values, groups, n_groups, scale, few), copies)

    @laws
    @given(a=st.lists(numbers, max_size=30), b=st.lists(numbers, max_size=30), scale=scales)
    def test_subtracting_undoes_merging(self, a: list[float], b: list[float], scale: int) -> None:
        both, part = filled(a + b + [math.nan], scale), filled([*b, math.nan], scale)
        both.subtract(part)
        left, wanted = both.column(), filled(a, scale).column()
        assert np.array_equal(left.cells, wanted.cells)
        assert np.array_equal(left.counts, wanted.counts)
        assert both.nan_count == 0
        if a:
            for mine, exact in ((both.min, min(a)), (both.max, max(a))):
                assert mine == exact or abs(mine - exact) <= both.error_bound * abs(exact) * (1 + 1e-9) + 5e-324
            if not b or min(a) < min(b):
                assert both.min == min(a)
        assert SketchColumn.from_bodies(*left.to_bodies()) == left  # still a valid state

    @laws
    @given(a=st.lists(integers, max_size=30), b=st.lists(integers, max_size=30))
    def test_integer_sums_survive_subtraction_exactly(self, a: list[int], b: list[int]) -> None:
        both = filled(np.array(a + b, np.int64))
        both.subtract(filled(np.array(b, np.int64)))
        assert both.sum == sum(a)
        assert both.count == len(a)

    @laws
    @given(data=grouped(anything), fine=scales, coarse=scales)
    def test_downscaling_gives_what_the_values_give_at_the_coarser_scale(
        self, data: tuple, fine: int, coarse: int
    ) -> None:
        fine, coarse = max(fine, coarse), min(fine, coarse)
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        found = SketchColumn.from_values(values, groups, n_groups, fine).downscale(coarse)
        assert found == SketchColumn.from_values(values, groups, n_groups, coarse)
        assert found.error_bound == bins_of(coarse).error_bound

    @few_laws
    @given(values=st.lists(numbers, min_size=1, max_size=60), seed=st.integers(0, 99), limit=st.integers(2, 40))
    def test_a_bounded_sketch_depends_on_its_values_alone(self, values: list[float], seed: int, limit: int) -> None:
        array, whole = np.array(values, np.float64), filled(values, max_bins=limit)
        merged = Sketch(max_bins=limit)
        for rows in cut(np.random.default_rng(seed), len(array), 4):
            merged.merge(filled(array[rows], max_bins=limit))
        assert same_but_float_sums(merged.column(), whole.column())
        assert len(whole.column().cells) <= limit or whole.scale == 0
        assert whole.scale == 6 or len(filled(values, whole.scale + 1).column().cells) > limit
        truth = reference.quantile(values, 0.5)
        estimate = whole.quantile(0.5)
        assert estimate == truth or abs(estimate - truth) <= whole.error_bound * abs(truth) * (1 + 1e-9) + 5e-324


def test_a_bounded_sketch_reports_its_guarantee_as_it_is_now() -> None:
    sketch = Sketch(max_bins=160)
    sketch.add(np.linspace(100, 200, 1000))
    assert (sketch.scale, sketch.error_bound) == (6, bins_of(6).error_bound)
    sketch.add(np.geomspace(1e-3, 1e9, 10_000))
    assert (sketch.scale, sketch.error_bound) == (2, bins_of(2).error_bound)
    assert len(sketch.column().cells) <= 160
    sketch.add(np.geomspace(1e-3, 1e9, 10_000))
    assert sketch.count == 21_000
    assert sketch.copy().copy() == sketch


def test_a_bounded_sketch_merges_any_scale_and_a_fixed_one_does_not() -> None:
    bounded, fixed = filled([1.0, 5.0], max_bins=160), filled([2.0], 3)
    bounded.merge(fixed)
    assert bounded == filled([1.0, 2.0, 5.0], 3)
    with pytest.raises(IncompatibleSketchError, match="downscale the one of scale 6 to 3"):
        fixed.merge(filled([2.0]))
    six = filled([2.0])
    six.downscale(3)
    fixed.merge(six)
    assert fixed.count == 2


def test_a_fixed_scale_never_changes_by_itself() -> None:
    sketch = filled(np.geomspace(1e-300, 1e300, 200_000))
    assert sketch.scale == 6


def test_merging_a_thousand_sketches_is_adding_all_their_values() -> None:
    rng = np.random.default_rng(3)
    values = np.rint(rng.lognormal(6, 1, (1000, 500))).astype(np.int64)
    total = Sketch()
    for row in values:
        total.merge(filled(row))
    assert total == filled(values.ravel())


def test_reweighting_is_adding_copies() -> None:
    values = np.array([1, 2, 2, 900, -7])
    sketch = filled(values)
    sketch.reweight(3)
    assert sketch == filled(np.repeat(values, 3))
    floats = filled([0.5, math.nan, math.inf])
    floats.reweight(10)
    assert (floats.count, floats.nan_count, floats.sum) == (20, 10, math.inf)


def test_weights_keep_huge_integer_sums_exact() -> None:
    sketch = Sketch()
    sketch.add([2**62, -5, 7], weights=[2**30, 2**29, 3])
    assert sketch.sum == 2**92 - 5 * 2**29 + 21
    sketch.add([1], weights=10)
    assert sketch.count == 2**30 + 2**29 + 13
    with pytest.raises(StateOverflowError, match=r"within \+-2\*\*94"):
        sketch.add([2**63 - 1], weights=2**60)
    with pytest.raises(StateOverflowError):
        sketch.reweight(8)
    with pytest.raises(StateOverflowError, match="2\\*\\*62"):
        sketch.add([1], weights=2**62)
    assert sketch.count == 2**30 + 2**29 + 13


def test_an_overflowing_merge_leaves_the_sketch_as_it_was() -> None:
    sketch = Sketch()
    sketch.add([2**62], weights=2**31)
    other, before = sketch.copy(), sketch.sum
    with pytest.raises(StateOverflowError):
        sketch.merge(other)
    assert (sketch.sum, sketch.count) == (before, 2**31)
    many = Sketch()
    many.add([1], weights=2**61)
    with pytest.raises(StateOverflowError, match="start a new sketch"):
        many.merge(many.copy())
    assert many.count == 2**61


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -2], "weight is -2"),
        ([1, 0], "weight is 0"),
        ([1, 0.5], "float64, wanted positive integers"),
        ([1], r"shape \[1\], wanted \[2\]"),
        ([[1, 2]], "shape"),
        (["a", "b"], "wanted positive integers"),
        ([True, True], "bool"),
        (np.array([1, 2**63], np.uint64), "9223372036854775808"),
    ],
)
def test_bad_weights_are_named(weights: object, message: str) -> None:
    sketch = Sketch()
    with pytest.raises(SampleError, match=message):
        sketch.add([1.0, 2.0], weights=weights)  # type: ignore[arg-type]
    assert sketch.count == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([3.0], "a cell that holds none"),
        ([1.0, 1.0], "more values in a cell"),
        ([math.nan], "NaN"),
        ([2.0, 2.0001], "extremes"),
    ],
)
def test_subtracting_what_was_never_added_is_refused(other: list[float], message: str) -> None:
    sketch = filled([1.0, 2.0, 2.00001])
    before = sketch.to_bytes()
    with pytest.raises(SubtractionError, match=message):
        sketch.subtract(filled(other))
    assert sketch.to_bytes() == before


def test_subtraction_refuses_other_scales_kinds_and_sums() -> None:
    with pytest.raises(IncompatibleSketchError, match="scale 5"):
        filled([1]).subtract(filled([1], 5))
    with pytest.raises(IncompatibleSketchError, match="floats were never added"):
        filled([1]).subtract(filled([1.0]))
    with pytest.raises(SubtractionError, match="a sum"):
        filled([2001, 2003, 2005]).subtract(filled([2001, 2001, 2005]))
    sketch = filled([1, 2])
    sketch.subtract(Sketch())
    assert sketch == filled([1, 2])


def test_a_float_sum_of_nothing_left_is_zero() -> None:
    sketch = filled([0.1, math.inf])
    sketch.subtract(filled([0.1, math.inf]))
    assert (sketch.count, sketch.sum) == (0, 0.0)
    assert sketch.to_bytes() == Sketch().to_bytes()


def test_bad_scales_and_factors_are_named() -> None:
    with pytest.raises(ScaleError, match="finer 7"):
        filled([1.0]).downscale(7)
    with pytest.raises(ScaleError, match="max_bins is 1"):
        Sketch(max_bins=1)
    for factor in (0, -3, 2.5, True, "2"):
        with pytest.raises(SampleError, match="factor"):
            filled([1.0]).reweight(factor)  # type: ignore[arg-type]
