"""sketch(x, w): a value that stands for several counts as often, everywhere a sketch goes."""

import numpy as np
import polars as pl
import pytest

from pipeline.sketch_state import MAX_WEIGHT, SketchState
from quantiles.sketch_column import SketchColumn
from tests.pipeline.probes import TUMBLE, chain_of, records


def sketched(sql: str, rows: pl.DataFrame) -> SketchColumn:
    """The one sketch of the query over rows of one group."""
    (state,) = chain_of(f"SELECT {sql} AS x_us FROM probes {TUMBLE}").finish(rows, 0).states.values()
    assert isinstance(state, SketchState)
    return state.column


def unweighted(values: list[int] | list[float]) -> SketchColumn:
    return SketchColumn.from_values(np.array(values), np.zeros(len(values), np.int64), 1)


def test_a_weighted_value_is_that_many_values():
    rows = records(rtt_us=[5, 700, 9, -3], err=[3, 1, 2, 4])
    assert sketched("sketch(rtt_us, err)", rows) == unweighted([5, 5, 5, 700, 9, 9, -3, -3, -3, -3])
    rows = records(load=[0.5, float("nan"), 0.25], err=[2, 3, 4])
    found = sketched("sketch(load, err)", rows)
    assert found == unweighted([0.5] * 2 + [float("nan")] * 3 + [0.25] * 4)
    assert found.nan_counts.tolist() == [3]


def test_values_without_a_usable_weight_do_not_count():
    rows = records(rtt_us=[1, 2, 3, 4, None, 5, 6], err=[1, None, 0, -7, 9, MAX_WEIGHT + 1, MAX_WEIGHT])
    found = sketched("sketch(rtt_us, err)", rows)
    assert found.totals().tolist() == [1 + MAX_WEIGHT]
    assert (found.minima[0], found.maxima[0]) == (1, 6)
    assert found.sums.values() == [1 + 6 * MAX_WEIGHT]


@pytest.mark.parametrize("weights", [[None, None], [0, -1]])
def test_a_group_whose_weights_are_all_unusable_has_an_empty_sketch(weights):
    assert sketched("sketch(rtt_us, err)", records(rtt_us=[1, 2], err=weights)).totals().tolist() == [0]


def test_integer_sums_are_exact_whatever_the_weights():
    rows = records(size_b=[2**61 + 1, 7, -(2**60)], err=[2**31, 2**32, 2**30 + 1])
    exact = (2**61 + 1) * 2**31 + 7 * 2**32 - 2**60 * (2**30 + 1)
    assert sketched("sketch(size_b, err)", rows).sums.values() == [exact]


def test_a_weight_is_any_expression_and_the_column_of_another_metric_too():
    rows = records(rtt_us=[10, 20], err=[1, 2])
    assert sketched("sketch(rtt_us, err * 2 + 1)", rows) == unweighted([10] * 3 + [20] * 5)
    assert sketched("sketch(rtt_us, 2)", rows.head(1)) == unweighted([10, 10])
    chain = chain_of(f"SELECT sum(err) AS n_total, sketch(rtt_us, err) AS x_us FROM probes {TUMBLE}")
    assert [a.columns for a in chain.plan.aggregates] == [("n_total",), ("x_us", "n_total")]
    assert chain.finish(rows, 0).states["x_us"].answers() == [3]


def test_rows_at_a_cut_carry_the_weight_and_nothing_they_do_not_need():
    sql = f"SELECT sketch(rtt_us, err) AS x_us FROM probes WHERE load > 0 {TUMBLE}"
    chain = chain_of(sql)
    names = [list(chain.schema_at(cut)) for cut in range(chain.row_stages + 1)]
    assert names == [["ts", "err", "load", "rtt_us"], ["ts", "err", "rtt_us"], ["ts", "x_us", "x_us.weight"]]
