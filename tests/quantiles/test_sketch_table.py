"""A table that grows in place holds what a column of all its values would hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles import sketch_table
from quantiles.errors import SampleError, ScaleError
from quantiles.sketch_column import SketchColumn
from quantiles.sketch_table import SketchTable
from tests.quantiles import reference
from tests.quantiles.samples import anything, cut, grouped, integers, laws, moderate, scales
from tests.quantiles.test_sketch_column import same_but_float_sums


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @laws
    @given(data=grouped(anything), scale=scales, seed=st.integers(0, 99), pieces=st.integers(1, 5))
    def test_floats_in_any_batches_give_the_same_sketches(
        self, data: tuple, scale: int, seed: int, pieces: int
    ) -> None:
        values, groups, n_groups = data[0].astype(np.float64), data[1], data[2]
        table = SketchTable(n_groups, scale=scale)
        for rows in cut(np.random.default_rng(seed), len(values), pieces):
            table.add(values[rows], groups[rows])
        assert same_but_float_sums(table.column(), SketchColumn.from_values(values, groups, n_groups, scale))
        assert table.column() is table.column()

    @laws
    @given(data=grouped(integers), seed=st.integers(0, 99), pieces=st.integers(1, 5))
    def test_integers_in_any_batches_give_the_same_bits(self, data: tuple, seed: int, pieces: int) -> None:
        values, groups, n_groups = data[0].astype(np.int64), data[1], data[2]
        table = SketchTable(n_groups, integer=True)
        for rows in cut(np.random.default_rng(seed), len(values), pieces):
            table.add(values[rows], groups[rows])
        assert table.column() == SketchColumn.from_values(values, groups, n_groups)

    @laws
    @given(data=grouped(moderate), repeat=st.sampled_from([1, 3000]))
    def test_float_sums_stay_within_their_bound(self, data: tuple, repeat: int) -> None:
        values, groups = np.repeat(data[0].astype(np.float64), repeat), np.repeat(data[1], repeat)
        table = SketchTable(data[2])
        table.add(values, groups)
        for g, total in enumerate(table.column().sums.values()):
            mine = data[0][data[1] == g].astype(np.float64).tolist()
            slack = 1e-12 * repeat * math.fsum(map(abs, mine))
            assert abs(reference.exact_sum([total]) - repeat * reference.exact_sum(mine)) <= slack

    @pytest.mark.parametrize("n_series", [1, 3, 40_000])
    def test_long_batches_of_both_kinds(self, n_series: int) -> None:
        rng = np.random.default_rng(6)
        values = rng.lognormal(3, 2, 120_000)
        values[rng.integers(0, 120_000, 3000)] = rng.choice([0.0, -2.5, math.nan, 1e200], 3000)
        for column in (values, np.rint(np.nan_to_num(values).clip(-10, 2.0**50)).astype(np.int64)):
            groups = rng.integers(0, n_series, 120_000)
            table = SketchTable(n_series, integer=column.dtype == np.int64)
            for start in range(0, 120_000, 50_000):
                table.add(column[start : start + 50_000], groups[start : start + 50_000])
            assert same_but_float_sums(table.column(), SketchColumn.from_values(column, groups, n_series))

    def test_a_full_table_and_full_slots_change_nothing_but_the_speed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(8)
        values, groups = np.rint(rng.lognormal(5, 3, 3000)).astype(np.int64), rng.integers(0, 9, 3000)
        wanted = SketchColumn.from_values(values, groups, 9)
        for name, limit in (("TABLE_BYTES", 0), ("CARRIED", 1), ("COUNT_MAX", 150), ("WAITING", 10)):
            monkeypatch.setattr(sketch_table, name, limit)
            table = SketchTable(9, integer=True)
            for start in range(0, 3000, 100):
                table.add(values[start : start + 100], groups[start : start + 100])
            assert table.column() == wanted

    @pytest.mark.parametrize("room", [0, 1 << 30])
    @pytest.mark.parametrize("outsider", [5, -5])
    def test_a_buffer_that_the_caller_fills_again_changes_nothing(
        self, room: int, outsider: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sketch_table, "TABLE_BYTES", room)
        table = SketchTable(2, integer=True)
        values, series = np.array([1, outsider, 3]), np.array([0, 1, 1])
        wanted = SketchColumn.from_values(values.copy(), series.copy(), 2)
        table.add(values, series)
        values[:], series[:] = 900, 0
        assert table.column() == wanted

    @pytest.mark.parametrize("value", [7, -7])
    def test_full_counts_never_wait_beyond_their_bound(self, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sketch_table, "CARRIED", 3)
        table = SketchTable(1, integer=True)
        for _ in range(40):
            table.add(np.append(np.full(300, 7), value), np.zeros(301, np.int64))
            assert sum(map(len, table._carried)) < 3
        assert table.column().totals().tolist() == [40 * 301]

    def test_weights_and_reading_in_between(self) -> None:
        table = SketchTable(3, integer=True)
        table.add([1, 2, 3], [0, 1, 1], weights=[5, 1, 2])
        first = table.column()
        table.add([1, 70], [0, 2])
        assert first.totals().tolist() == [5, 3, 0]
        assert table.column().totals().tolist() == [6, 3, 1]
        assert table.column().sums.values() == [6, 8, 70]
        assert len(table) == 3


def test_bad_input_is_named() -> None:
    table = SketchTable(2, integer=True)
    for values, series, message in (
        ([0.5], [0], "integer=False"),
        ([1], [2], "from 2 to 2, wanted 0..1"),
        ([1], [0, 1], "wanted integers"),
        (["a"], [0], "wanted integers or floats"),
        ([[1]], [0], "2 dimensions"),
    ):
        with pytest.raises(SampleError, match=message):
            table.add(values, series)
    with pytest.raises(SampleError, match="weight is -1"):
        table.add([1], [0], weights=-1)
    with pytest.raises(SampleError, match="n_series is -1"):
        SketchTable(-1)
    with pytest.raises(ScaleError):
        SketchTable(1, scale=9)
    table.add([], [])
    assert table.column() == SketchColumn.empty(6, True, 2)
