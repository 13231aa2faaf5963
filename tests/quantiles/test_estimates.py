"""Ranks, shares and the two quantile rules, against exact counts and a plain loop over Prometheus's algorithm."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.errors import EmptySketchError, LevelError, SampleError
from quantiles.sketch import Sketch
from quantiles.sketch_column import SketchColumn
from tests.quantiles.samples import anything, few_laws, grouped, laws, levels, numbers, scales


def filled(values: object, scale: int = 6) -> Sketch:
    sketch = Sketch(scale)
    sketch.add(values)  # type: ignore[arg-type]
    return sketch


def prometheus(column: SketchColumn, q: float) -> float:
    """histogram_quantile of Prometheus 3 for a native histogram, one bucket after the other."""
    lows, highs = bins_of(column.scale).bounds(column.cells)
    buckets = list(zip(lows.tolist(), highs.tolist(), column.counts.tolist(), strict=True))
    n = sum(count for _, _, count in buckets) + int(column.nan_counts[0])
    upward = q < 0.5 or column.nan_counts[0] > 0 or math.isnan(column.sums.hi[0])
    rank = q * n if upward else (1 - q) * n
    passed = 0
    low, high, count = math.nan, math.nan, 0
    for low, high, count in buckets if upward else buckets[::-1]:  # noqa: B007  # the last one is what is wanted
        passed += count
        if passed >= rank:
            break
    if passed < rank or not buckets:
        return math.nan
    fraction = (rank - (passed - count)) / count if upward else (passed - rank) / count
    if low <= 0 <= high:
        return low + (high - low) * fraction
    if math.isinf(high) or math.isinf(low):
        return high if math.isinf(high) else low
    near, far = sorted((abs(low), abs(high)))
    climbed = fraction if low > 0 else 1 - fraction
    return math.copysign(2 ** (math.log2(near) + (math.log2(far) - math.log2(near)) * climbed), low)


normal = st.one_of(st.floats(1e-300, 1e300), st.floats(-1e300, -1e-300), st.integers(-50, 50).map(float))


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(
        values=st.lists(st.one_of(normal, st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=40),
        q=levels,
        scale=scales,
    )
    def test_the_second_rule_is_that_of_prometheus(self, values: list[float], q: float, scale: int) -> None:
        column = filled(values, scale).column()
        found, wanted = column.quantiles([q], interpolation="prometheus")[0, 0], prometheus(column, q)
        if len(column.cells):
            assert found == pytest.approx(wanted, rel=1e-12, nan_ok=True)

    @laws
    @given(data=grouped(anything, max_groups=4), xs=st.lists(numbers, min_size=1, max_size=6), strict=st.booleans())
    def test_a_rank_is_the_exact_one_of_a_neighbour(self, data: tuple, xs: list[float], strict: bool) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        column = SketchColumn.from_values(values, groups, n_groups)
        found = column.ranks(xs, strict)
        assert found.dtype == np.int64
        for g in range(n_groups):
            mine = values[(groups == g) & ~np.isnan(values)]
            for x, rank in zip(xs, found[g].tolist(), strict=True):
                with np.errstate(over="ignore", invalid="ignore"):
                    slack = 0.0 if math.isinf(x) else column.error_bound * abs(x) * 1.02 + 5e-324
                assert np.sum(mine < x - slack) <= rank <= np.sum(mine <= x + slack)
                if len(mine) and (x >= mine.max() or x <= mine.min()):
                    assert rank == (np.sum(mine < x) if strict else np.sum(mine <= x)) or (
                        x == mine.min() and not strict
                    )

    @few_laws
    @given(data=grouped(anything, max_groups=3), qs=st.lists(levels, min_size=2, max_size=6))
    def test_ranks_and_quantiles_agree(self, data: tuple, qs: list[float]) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        column = SketchColumn.from_values(values, groups, n_groups)
        for g, row in enumerate(column.quantiles(sorted(qs)).tolist()):
            n = int(column.totals()[g])
            for q, x in zip(sorted(qs), row, strict=True):
                if n:
                    assert int(column.take([g]).ranks([x])[0, 0]) >= q * n - 1e-9 * n


def test_distribution_of_a_thousand_numbers() -> None:
    sketch = filled(np.arange(1, 1001))
    assert (sketch.rank(0), sketch.rank(1), sketch.rank(1000), sketch.rank(2e9)) == (0, 1, 1000, 1000)
    assert sketch.rank(500) == pytest.approx(500, abs=6)
    assert (sketch.cdf(1000), sketch.fraction_below(1), sketch.cdf(0.5)) == (1.0, 0.0, 0.0)
    assert sketch.fraction_below(1000) < 1
    assert sketch.fraction_below(math.inf) == 1.0


def test_infinities_zero_and_negatives_have_their_ranks() -> None:
    sketch = filled([-math.inf, -2.0, 0.0, -0.0, 3.0, math.inf, math.inf])
    assert [sketch.rank(x) for x in (-math.inf, -2.5, -1.98, 0.0, 1.0, 3.1, math.inf)] == [1, 1, 2, 4, 4, 5, 7]
    assert sketch.fraction_below(math.inf) == 5 / 7
    assert sketch.fraction_below(0.0) == 2 / 7


def test_the_two_rules_agree_within_a_bin_where_there_are_many_values() -> None:
    values = np.random.default_rng(5).lognormal(6, 1, 50_000)
    sketch = filled(values)
    qs = [0.01, 0.25, 0.5, 0.9, 0.99, 0.999]
    ours, theirs = sketch.quantiles(qs), sketch.quantiles(qs, interpolation="prometheus")
    assert np.all(np.abs(theirs / ours - 1) < 2 ** (1 / 64) - 1)
    assert not np.array_equal(ours, theirs)


def test_bins_come_out_in_order() -> None:
    low, high, counts = filled([-2.0, 0.0, 1.0, 1.0, math.inf]).bins()
    assert counts.tolist() == [1, 1, 2, 1]
    assert high[2] == 1.0
    assert (low[1], high[1], high[3]) == (0.0, 0.0, math.inf)
    assert np.all(high[:-1] <= low[1:])


def test_bad_questions_are_named() -> None:
    sketch = filled([1.0])
    with pytest.raises(LevelError, match="'linear', wanted one of nearest, prometheus"):
        sketch.quantiles([0.5], interpolation="linear")
    for x in (math.nan, "3", None, 1j):
        with pytest.raises(SampleError):
            sketch.rank(x)  # type: ignore[arg-type]
    for question in (Sketch().cdf, Sketch().fraction_below):
        with pytest.raises(EmptySketchError, match="distribution"):
            question(1.0)
    assert Sketch().rank(1.0) == 0
    assert math.isnan(SketchColumn.empty(n=1).quantiles([0.5], "prometheus")[0, 0])
    assert SketchColumn.empty(n=2).ranks([1.0, 2.0]).tolist() == [[0, 0], [0, 0]]


def test_nan_only_answers_nan_by_the_rule_that_counts_them() -> None:
    column = filled([math.nan, math.nan]).column()
    assert math.isnan(column.quantiles([0.5], "prometheus")[0, 0])
    both = filled([1.0, math.nan]).column()
    assert both.quantiles([0.25, 0.9], "prometheus")[0].tolist() == [
        pytest.approx(1.0, rel=0.011),
        pytest.approx(math.nan, nan_ok=True),
    ]
