"""The law that carries the product: any split, order and batching of the same records gives the same sketches."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.errors import CorruptSketchError, IncompatibleSketchError, LevelError, SampleError, StateOverflowError
from quantiles.exact_sums import SumColumn
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_parts import SketchParts
from tests.quantiles import reference
from tests.quantiles.samples import anything, cut, few_laws, grouped, integers, laws, levels, moderate, scales


def same_but_float_sums(a: SketchColumn, b: SketchColumn) -> bool:
    names = ("offsets", "cells", "counts", "nan_counts", "minima", "maxima")
    bits = [(getattr(a, name), getattr(b, name)) for name in names]
    return a.scale == b.scale and all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in bits)


def check_against_reference(column: SketchColumn, values: np.ndarray, groups: np.ndarray) -> None:
    for g in range(len(column)):
        expected = reference.sketch(values[groups == g].tolist(), column.scale)
        mine = slice(column.offsets[g], column.offsets[g + 1])
        assert column.cells[mine].tolist() == expected["cells"]
        assert column.counts[mine].tolist() == expected["counts"]
        assert column.nan_counts[g] == expected["nan_count"]
        for extreme, name in ((column.minima, "min"), (column.maxima, "max")):
            wanted = math.nan if expected[name] is None else expected[name]
            assert extreme[g].tobytes() == np.float64(wanted).tobytes()


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(data=grouped(anything), scale=scales)
    def test_one_sketch_per_group_as_counted_by_hand(self, data: tuple, scale: int) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        check_against_reference(SketchColumn.from_values(values, groups, n_groups, scale), values, groups)

    @laws
    @given(data=grouped(integers), seed=st.integers(0, 99), pieces=st.integers(1, 5))
    def test_any_split_of_integers_merges_to_the_same_bits(self, data: tuple, seed: int, pieces: int) -> None:
        values, groups, n_groups = data[0].astype(np.int64), data[1], data[2]
        whole = SketchColumn.from_values(values, groups, n_groups)
        rng = np.random.default_rng(seed)
        parts = [SketchColumn.from_values(values[i], groups[i], n_groups) for i in cut(rng, len(values), pieces)]
        column = SketchColumn.concat(parts)
        codes = np.tile(np.arange(n_groups), pieces)
        order = rng.permutation(len(column))
        assert column.reduce(codes, n_groups) == whole
        assert column.take(order).reduce(codes[order], n_groups) == whole
        assert column.reduce(codes, n_groups).to_bodies()[0] == whole.to_bodies()[0]

    @laws
    @given(data=grouped(anything), seed=st.integers(0, 99), pieces=st.integers(1, 5))
    def test_any_split_of_floats_merges_to_the_same_bits_but_for_the_sum(
        self, data: tuple, seed: int, pieces: int
    ) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        whole = SketchColumn.from_values(values, groups, n_groups)
        rng = np.random.default_rng(seed)
        parts = [SketchColumn.from_values(values[i], groups[i], n_groups) for i in cut(rng, len(values), pieces)]
        assert same_but_float_sums(
            SketchColumn.concat(parts).reduce(np.tile(np.arange(n_groups), pieces), n_groups), whole
        )

    def test_many_groups_and_few_groups_count_alike(self) -> None:
        """The dense way, the 32-bit sort, the 64-bit sort and the argsort are four roads to one answer."""
        rng = np.random.default_rng(9)
        values = np.rint(rng.lognormal(6, 1, 30_000)).astype(np.int64)
        wide = values * rng.choice([1, 10**6, 10**12], 30_000)
        for n_groups in (1, 7, 3000, 2**20):
            groups = rng.integers(0, n_groups, 30_000)
            for column in (values, wide):
                found = SketchColumn.from_values(column, groups, n_groups)
                assert found.totals().tolist() == np.bincount(groups, minlength=n_groups).tolist()
                some = np.unique(groups)[:20]
                keep = np.isin(groups, some)
                check_against_reference(found.take(some), column[keep], np.searchsorted(some, groups[keep]))
                halves = [SketchColumn.from_values(column[i::2], groups[i::2], n_groups) for i in (0, 1)]
                codes = np.tile(np.arange(n_groups), 2)
                assert SketchColumn.concat(halves).reduce(codes, n_groups) == found

    def test_merging_huge_counts_keeps_them_exact(self) -> None:
        one = SketchColumn.from_values(np.arange(1, 3000), np.arange(2999) % 2000, 2000)
        many = one.counts * (2**40 + 1)
        big = SketchColumn(one.scale, one.offsets, one.cells, many, one.nan_counts, one.minima, one.maxima, one.sums)
        merged = SketchColumn.concat([big, one, big]).reduce(np.tile(np.arange(2000), 3), 2000)
        assert np.array_equal(merged.counts, one.counts * (2**41 + 3))
        assert np.array_equal(merged.cells, one.cells)


@laws
@given(data=grouped(moderate), seed=st.integers(0, 99))
def test_float_sums_of_any_split_stay_within_their_bound(data: tuple, seed: int) -> None:
    values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
    rng = np.random.default_rng(seed)
    parts = [SketchColumn.from_values(values[i], groups[i], n_groups) for i in cut(rng, len(values), 3)]
    merged = SketchColumn.concat(parts).reduce(np.tile(np.arange(n_groups), 3), n_groups)
    for g, total in enumerate(merged.sums.values()):
        mine = values[groups == g].tolist()
        assert abs(reference.exact_sum([total]) - reference.exact_sum(mine)) <= 1e-12 * sum(map(abs, mine))


@laws
@given(data=grouped(anything, max_groups=3), qs=st.lists(levels, min_size=1, max_size=6), scale=scales)
def test_every_quantile_stays_within_the_error_bound(data: tuple, qs: list[float], scale: int) -> None:
    values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
    column = SketchColumn.from_values(values, groups, n_groups, scale)
    found = column.quantiles(qs)
    assert found.shape == (n_groups, len(qs))
    for g in range(n_groups):
        mine = [x for x in values[groups == g].tolist() if not math.isnan(x)]
        for q, estimate in zip(qs, found[g].tolist(), strict=True):
            if not mine:
                assert math.isnan(estimate)
                continue
            truth = reference.quantile(mine, q)
            bound = column.error_bound * abs(truth) * (1 + 1e-9) + 5e-324
            assert estimate == truth or abs(estimate - truth) <= bound
            assert min(mine) <= estimate <= max(mine)


@laws
@given(data=grouped(anything), qs=st.lists(levels, min_size=2, max_size=12))
def test_quantiles_never_fall_as_the_level_rises(data: tuple, qs: list[float]) -> None:
    column = SketchColumn.from_values(data[0].astype(np.float64), data[1], data[2])
    found = column.quantiles(sorted(qs))
    for row in found[column.totals() > 0].tolist():
        assert all(a <= b for a, b in itertools.pairwise(row))


def test_first_and_last_rank_are_exact() -> None:
    values = np.array([3.7, 1.1, 9.9, -4.2])
    column = SketchColumn.from_values(values, [0, 0, 1, 1], 2)
    assert column.quantiles([0, 0.5, 0.51, 1]).tolist() == [[1.1, 1.1, 3.7, 3.7], [-4.2, -4.2, 9.9, 9.9]]


def test_rank_is_nearest_and_float_noise_does_not_push_it() -> None:
    column = SketchColumn.from_values(np.arange(1, 101) * 1000, np.zeros(100, np.int64), 1)
    for percent in range(1, 101):
        estimate = float(column.quantiles([percent / 100])[0, 0])
        assert round(estimate / 1000) == percent, percent


def test_bound_holds_for_skewed_data_at_scale_6() -> None:
    rng = np.random.default_rng(1)
    values = 10 / (1 - rng.random(50_000))
    column = SketchColumn.from_values(values, np.zeros(50_000, np.int64), 1)
    qs = np.linspace(0, 1, 501)
    truth = np.array([reference.quantile(values.tolist(), q) for q in (0.5, 0.9, 0.99, 0.999)])
    assert np.all(np.abs(column.quantiles([0.5, 0.9, 0.99, 0.999])[0] / truth - 1) <= 0.005416)
    assert np.all(np.diff(column.quantiles(qs)[0]) >= 0)


@few_laws
@given(data=grouped(anything), rows=st.lists(st.integers(0, 4), max_size=8))
def test_take_gives_the_rows_asked_for_in_their_order(data: tuple, rows: list[int]) -> None:
    values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
    column = SketchColumn.from_values(values, groups, n_groups)
    rows = [row for row in rows if row < n_groups]
    taken = column.take(rows)
    assert len(taken) == len(rows)
    singles = [column.take([row]) for row in rows]
    assert taken == (SketchColumn.concat(singles) if singles else SketchColumn.empty(6, False))
    for row, single in zip(rows, singles, strict=True):
        assert column.sketch(row).column() == single


def test_reduce_leaves_groups_without_sketches_empty_and_counts_nan_apart() -> None:
    column = SketchColumn.from_values(np.array([1.0, math.nan, math.nan]), [0, 0, 1], 2)
    merged = column.reduce([2, 2], 4)
    assert merged.totals().tolist() == [0, 0, 1, 0]
    assert merged.nan_counts.tolist() == [0, 0, 2, 0]
    assert np.isnan(merged.minima).tolist() == [True, True, False, True]
    assert np.isnan(merged.quantiles([0.0, 0.5, 1.0])[[0, 1, 3]]).all()
    assert merged.sums.values().tolist() == [0.0, 0.0, 1.0, 0.0]


def test_empty_columns_pass_through_everything() -> None:
    empty = SketchColumn.empty(4, True)
    assert len(empty) == 0
    assert empty.quantiles([0.5]).shape == (0, 1)
    assert empty.reduce([], 0) == empty
    assert SketchColumn.concat([empty, empty]) == empty
    assert empty.to_bodies()[0] == b""
    assert SketchColumn.from_bodies(b"", [], scale=4, integer=True) == empty
    assert SketchColumn.from_values(np.zeros(0, np.int64), np.zeros(0, np.int64), 3, 4) == SketchColumn.empty(
        4, True, 3
    )


def test_the_kind_of_the_values_decides_the_kind_of_the_sums() -> None:
    assert SketchColumn.from_values(np.array([2**62, 2**62, 2**62]), [0, 0, 0], 1).sums.values() == [3 * 2**62]
    assert not SketchColumn.from_values(np.array([1.0]), [0], 1).sums.integer


def test_other_scales_and_kinds_are_refused() -> None:
    six, five = SketchColumn.empty(6, True, 1), SketchColumn.empty(5, True, 1)
    with pytest.raises(IncompatibleSketchError, match=r"scales \[5, 6\]"):
        SketchColumn.concat([six, five])
    with pytest.raises(IncompatibleSketchError, match="integer sums beside float sums"):
        SketchColumn.concat([six, SketchColumn.empty(6, False, 1)])
    with pytest.raises(IncompatibleSketchError, match="no columns"):
        SketchColumn.concat([])
    assert six != five
    assert six != 6


@pytest.mark.parametrize(("level", "hint"), [(99, "did you mean 0.99?"), (99.9, "did you mean 0.999?"), (-0.1, "-0.1")])
def test_a_level_outside_0_to_1_is_refused_with_a_hint(level: float, hint: str) -> None:
    with pytest.raises(LevelError, match=hint.replace("?", r"\?")):
        SketchColumn.empty(6, True, 1).quantiles([0.5, level])


@pytest.mark.parametrize("level", [math.nan, "p99", [[0.5]], None, math.inf])
def test_a_level_that_is_no_number_is_refused(level: object) -> None:
    with pytest.raises(LevelError, match="wanted"):
        SketchColumn.empty(6, True, 1).quantiles(level)  # type: ignore[arg-type]


def test_group_codes_of_reduce_are_checked() -> None:
    with pytest.raises(SampleError, match=r"wanted 0\.\.1"):
        SketchColumn.empty(6, True, 2).reduce([0, 2], 2)


def test_more_than_2_to_62_values_are_refused_not_wrapped() -> None:
    one = SketchColumn.from_values(np.array([1]), [0], 1)
    half = np.array([2**61], np.int64)
    big = SketchColumn(6, one.offsets, one.cells, half, one.nan_counts, one.minima, one.maxima, one.sums)
    with pytest.raises(StateOverflowError, match=r"2\*\*62"):
        SketchColumn.concat([big, big]).reduce([0, 0], 1)


def parts(**changes: object) -> SketchParts:
    """The arrays of two good sketches, {1.0, 2.0} and nothing, with some of them replaced."""
    first = bins_of(6).first_cell
    good: dict[str, object] = {
        "scale": 6,
        "offsets": np.array([0, 2, 2]),
        "cells": np.array([first - 1, first + 63], np.int32),
        "counts": np.array([1, 1]),
        "nan_counts": np.array([0, 3]),
        "minima": np.array([1.0, math.nan]),
        "maxima": np.array([2.0, math.nan]),
        "sums": SumColumn(False, np.array([3.0, 0.0]), np.array([0.0, 0.0])),
    }
    return SketchParts(**{**good, **changes})  # type: ignore[arg-type]


def test_good_parts_become_a_column() -> None:
    column = SketchColumn.from_parts(parts())
    assert column.take([0]) == SketchColumn.from_values(np.array([1.0, 2.0]), [0, 0], 1)


def test_cells_may_come_as_wider_integers() -> None:
    wide = SketchColumn.from_parts(parts(cells=np.array([68800, 68864], np.int64)))
    assert wide.cells.dtype == np.int32
    assert wide == SketchColumn.from_parts(parts())
    with pytest.raises(CorruptSketchError, match="outside scale 6"):
        SketchColumn.from_parts(parts(cells=np.array([68800, 68864 + 2**32], np.int64)))


def floats(hi: list[float], lo: list[float]) -> SumColumn:
    return SumColumn(False, np.array(hi), np.array(lo))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": np.array([0, 2])}, "differ in length"),
        ({"minima": np.array([1.0])}, "differ in length"),
        ({"offsets": np.array([0, 1, 1])}, "offsets"),
        ({"offsets": np.array([1, 2, 2])}, "offsets"),
        ({"offsets": np.array([0, 3, 2])}, "offsets"),
        ({"cells": np.array([68864, 68800], np.int32)}, "out of order"),
        ({"cells": np.array([68800, 68800], np.int32)}, "out of order"),
        ({"cells": np.array([68800, 200_000], np.int32)}, "outside scale 6"),
        ({"cells": np.array([-200_000, 68864], np.int32)}, "outside scale 6"),
        ({"counts": np.array([1, 0])}, "count below 1"),
        ({"counts": np.array([2**62, 1])}, "more than"),
        ({"nan_counts": np.array([-1, 0])}, "negative NaN count"),
        ({"minima": np.array([math.nan, math.nan])}, "minimum"),
        ({"maxima": np.array([2.0, 2.0])}, "maximum"),
        ({"minima": np.array([2.0, math.nan]), "maxima": np.array([1.0, math.nan])}, "minimum above"),
        ({"minima": np.array([0.5, math.nan])}, "minimum outside its first cell"),
        ({"maxima": np.array([4.0, math.nan])}, "maximum outside its last cell"),
        ({"sums": floats([3.0, 0.0], [1.0, 0.0])}, "overlap"),
        ({"sums": floats([math.inf, 0.0], [1.0, 0.0])}, "overlap"),
        ({"sums": floats([3.0, 1.0], [0.0, 0.0])}, "sum without values"),
        ({"sums": floats([-0.0, 0.0], [0.0, 0.0])}, "-0.0"),
        ({"sums": SumColumn(True, np.array([0, 0]), np.array([2**32, 0]))}, "low part"),
        ({"sums": SumColumn(True, np.array([2**62, 0]), np.array([0, 0]))}, "beyond"),
    ],
)
def test_parts_that_break_a_rule_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CorruptSketchError, match=message):
        SketchColumn.from_parts(parts(**changes))


def test_minus_zero_as_an_extreme_is_refused() -> None:
    zero = {"cells": np.array([0, 1], np.int32), "maxima": np.array([5e-324, math.nan])}
    with pytest.raises(CorruptSketchError, match=r"-0\.0 as an extreme"):
        SketchColumn.from_parts(parts(**zero, minima=np.array([-0.0, math.nan])))
