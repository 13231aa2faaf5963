"""Sketches added to rows again and again: the very column that one merge of everything gives, in little memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles import growing_column
from quantiles.errors import IncompatibleSketchError, StateOverflowError
from quantiles.exact_sums import SumColumn
from quantiles.growing_column import GrowingColumn
from quantiles.sketch_column import SketchColumn
from tests.quantiles.samples import laws

integers = st.one_of(st.integers(1, 2_000), st.integers(-50, 50), st.integers(-(2**53), 2**53))
floats = st.one_of(st.floats(0.5, 900.0), st.floats(allow_nan=True, allow_infinity=True))


def batches(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[list[tuple[int, float]]]]:
    """Several batches of (row, value)."""
    return st.lists(st.lists(st.tuples(st.integers(0, 5), values), max_size=30), max_size=8)


def column_of(batch: list[tuple[int, float]], integer: bool, times: int = 1) -> tuple[np.ndarray, SketchColumn]:
    """The rows of a batch, each once and in no order, and their sketches."""
    rows = np.array(sorted({row for row, _ in batch}, key=lambda row: row * 7 % 5), np.int64)
    codes = [rows.tolist().index(row) for row, _ in batch]
    values = np.array([value for _, value in batch], np.int64 if integer else np.float64)
    return rows, SketchColumn.from_values(values, np.array(codes, np.int64), len(rows), 6, weights=times)


def assert_equal(found: SketchColumn, wanted: SketchColumn, magnitude: float = 0.0) -> None:
    """Bit for bit but for float sums."""
    for name in ("scale", "offsets", "cells", "counts", "nan_counts", "minima", "maxima"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name), equal_nan=name in ("minima", "maxima")), name
    if found.sums.integer:
        assert found.sums.values() == wanted.sums.values()
        assert (found.sums.hi.dtype, found.sums.lo.dtype) == (np.int64, np.int64)
    else:
        assert np.allclose(found.sums.hi, wanted.sums.hi, rtol=0, atol=1e-12 * magnitude, equal_nan=True)


@pytest.mark.parametrize("integer", [True, False])
def test_any_batches_give_what_one_merge_of_all_gives(kernel_name: str, integer: bool) -> None:
    @laws
    @given(given=batches(integers if integer else floats), times=st.sampled_from([1, 200, 70_000, 2**33]))
    def law(given: list[list[tuple[int, float]]], times: int) -> None:
        growing = GrowingColumn(6, integer)
        parts = [column_of(batch, integer, times) for batch in given]
        for rows, column in parts:
            growing.add(rows, column)
        if not len(growing):
            assert len(growing.column()) == 0
            return
        together = SketchColumn.concat([column for _, column in parts])
        wanted = together.reduce(np.concatenate([rows for rows, _ in parts]), len(growing))
        finite = [abs(value) for batch in given for _, value in batch if np.isfinite(value)]
        assert_equal(growing.column(), wanted, min(sum(finite) * times, 1e300))

    law()


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_rows_that_grow_and_move_keep_what_they_hold(
    kernel_name: str, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_column, "FIRST_BYTES", 64)
    monkeypatch.setattr(growing_column, "WAITING_PAIRS", 100)
    rng = np.random.default_rng(3)
    growing, parts = GrowingColumn(6, True), []
    for turn in range(40):
        n = 5 + 5 * turn
        values = np.rint(rng.lognormal(6 + turn / 10, spread, 600)).astype(np.int64)
        values[: 3 * (turn % 2)] *= -1  # rows of both signs are kept as pairs
        column = SketchColumn.from_values(values, rng.integers(0, n, 600), n, 6)
        parts.append((rng.permutation(n), column))
        growing.add(*parts[-1])
    wanted = SketchColumn.concat([column for _, column in parts])
    assert_equal(growing.column(), wanted.reduce(np.concatenate([rows for rows, _ in parts]), len(growing)))
    assert 0 < len(growing._apart) < len(growing)
    assert growing._used <= len(growing._memory)


def test_memory_follows_the_rows_and_not_what_was_added(kernel_name: str) -> None:
    rng = np.random.default_rng(4)
    growing = GrowingColumn(6, True)
    for _ in range(60):
        values = np.rint(rng.lognormal(6, 0.5, 20_000)).astype(np.int64)
        growing.add(np.arange(200), SketchColumn.from_values(values, rng.integers(0, 200, 20_000), 200, 6))
    encoded, _ = growing.column().to_bodies()
    assert growing.held_bytes < 2.5 * len(encoded)


def test_what_does_not_fit_is_refused_and_changes_nothing(kernel_name: str) -> None:
    growing = GrowingColumn(6, True)
    growing.add(*column_of([(0, 5), (1, 7)], True, 2**60))
    before = growing.column()
    with pytest.raises(StateOverflowError, match="more than 2"):
        growing.add(*column_of([(1, 7)], True, 2**61))
    with pytest.raises(IncompatibleSketchError, match="scale 5"):
        growing.add(np.arange(1), SketchColumn.empty(5, True, 1))
    with pytest.raises(IncompatibleSketchError, match="integer=False"):
        growing.add(np.arange(1), SketchColumn.empty(6, False, 1))
    huge = SketchColumn.from_values(np.array([3]), np.zeros(1, np.int64), 1, 6)
    high = SumColumn(True, np.array([2**62 - 1]), np.array([0]))
    huge = SketchColumn(6, huge.offsets, huge.cells, huge.counts, huge.nan_counts, huge.minima, huge.maxima, high)
    with pytest.raises(StateOverflowError, match="2\\*\\*94"):
        growing.add(np.arange(1), huge)
    assert growing.column() == before
