"""The exact count of values at or below x lies between the two that are given."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantiles.rank_bounds import rank_bounds
from quantiles.sketch_column import SketchColumn

NUMBERS = (
    st.floats(allow_nan=False)
    | st.integers(-20, 20).map(float)
    | st.sampled_from([-0.0, 2**0.5, 2.0 ** (1 / 64), 5e-324, -5e-324, 1.7976931348623157e308])
)


def column_of(*rows, scale=6):
    values = np.array([value for row in rows for value in row], np.float64)
    return SketchColumn.from_values(
        values, np.repeat(np.arange(len(rows)), [len(row) for row in rows]), len(rows), scale
    )


@given(st.lists(st.lists(NUMBERS, max_size=12), min_size=1, max_size=3), st.lists(NUMBERS, min_size=1, max_size=5),
       st.sampled_from([0, 3, 6, 8]))  # fmt: skip
def test_the_exact_count_and_the_answered_one_lie_between_the_bounds(rows, asked, scale):
    column = column_of(*rows, scale=scale)
    lowest, highest = rank_bounds(column, asked)
    ranks = column.ranks(asked)
    for i, row in enumerate(rows):
        for j, x in enumerate(asked):
            exact = sum(value <= x for value in row)
            assert lowest[i, j] <= exact <= highest[i, j]
            assert lowest[i, j] <= ranks[i, j] <= highest[i, j]


def test_only_values_in_the_cell_of_x_are_in_doubt():
    column = column_of([1.0, 99.9, 100.0, 100.1, 100.2, 1_000.0])
    lowest, highest = rank_bounds(column, [0.5, 50.0, 100.0, 999.0, 1_000.0])
    assert lowest.tolist() == [[0, 1, 1, 5, 6]]
    assert highest.tolist() == [[0, 1, 5, 5, 6]]


def test_upper_ends_of_cells_leave_no_doubt():
    column = column_of([1.0, 1.5, 2.0, 2.5, 3.0, 4.0], scale=0)
    lowest, highest = rank_bounds(column, [2.0, 4.0])
    assert (lowest.tolist(), highest.tolist()) == ([[3, 6]], [[3, 6]])
