"""Values counted in place, by both kernels: every bound of the core, outsiders, long blocks, full bytes."""

import math

import numpy as np
import pytest

from quantiles._kernels.choice import CARRY, CORE_GAP, CORE_TABLES, kernels
from quantiles.array_types import FloatArray, IntArray, SampleArray
from quantiles.bins import CORE_HIGH, CORE_LOW, CORE_OCTAVES, Bins, bins_of
from quantiles.exact_sums import SumColumn
from tests.quantiles import reference

AWKWARD = [
    0.0,
    -0.0,
    -1.0,
    math.nan,
    -math.nan,
    math.inf,
    -math.inf,
    5e-324,
    CORE_LOW,
    math.nextafter(CORE_HIGH, math.inf),
]
INSIDE = [math.nextafter(CORE_LOW, 1), 1.0, math.nextafter(1.0, 2), 2.0, CORE_HIGH]


def counted(values: SampleArray, scale: int) -> tuple[IntArray, SampleArray, FloatArray, int]:
    """Counts per core slot, both parts of the sum, extremes, and how many values were left out."""
    counts = np.zeros((CORE_TABLES, (CORE_OCTAVES << scale) + CORE_GAP), np.int64)
    sums, extremes = np.zeros(2, values.dtype), np.array([np.inf, -np.inf])
    left_out = kernels().add_core(values, bins_of(scale), counts, sums, extremes)
    assert not counts[:, -CORE_GAP:].any()
    return counts.sum(axis=0)[:-CORE_GAP], sums, extremes, left_out


def core_bounds(bins: Bins) -> FloatArray:
    """Every bound of a bin in the core with the floats on both sides of it, as far as they are in the core."""
    ends = bins.bounds(np.arange(CORE_OCTAVES << bins.scale) + bins.core_cell)[1]
    near = np.concatenate([np.nextafter(ends, 0), ends, np.nextafter(ends, np.inf)])
    return near[near <= CORE_HIGH]


def slots_of(values: FloatArray, bins: Bins) -> IntArray:
    return np.array([reference.cell(x, bins.scale) - bins.core_cell for x in values.tolist()], np.int64)


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    @pytest.mark.parametrize("scale", range(9))
    def test_every_bound_of_the_core_and_the_floats_beside_it(self, scale: int) -> None:
        bins = bins_of(scale)
        values = core_bounds(bins)
        if scale <= 3:
            wanted = slots_of(values, bins)
        else:  # an end and the float before it are in its own bin, the float behind it in the next one
            size = CORE_OCTAVES << scale
            wanted = np.concatenate([np.arange(size), np.arange(size), np.arange(1, size)])
        for row in (np.random.default_rng(scale).permutation(values), values):
            assert np.array_equal(counted(row, scale)[0], np.bincount(wanted, minlength=CORE_OCTAVES << scale))
        some = slice(None, None, max(1, len(values) // 300))
        for value, slot in zip(values[some], wanted[some], strict=True):  # one by one: no two errors can cancel
            assert np.flatnonzero(counted(np.array([value]), scale)[0]).tolist() == [slot]

    @pytest.mark.parametrize("size", [1, 7, 8, 9, 2047, 2048, 2049, 40_000])
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 1.0])
    def test_outsiders_are_left_out_of_counts_sums_and_extremes(self, size: int, share: float) -> None:
        rng = np.random.default_rng(size)
        values = rng.choice([*INSIDE, *rng.lognormal(3, 2, 50)], size)
        outside = rng.random(size) < share
        values[outside] = rng.choice(AWKWARD, outside.sum())
        counts, sums, extremes, left_out = counted(values, 6)
        inside = values[~outside]
        assert left_out == outside.sum()
        assert np.array_equal(counts, np.bincount(slots_of(inside, bins_of(6)), minlength=CORE_OCTAVES << 6))
        assert math.isclose(sums.sum(), math.fsum(inside), rel_tol=1e-12)
        ends = [inside.min(), inside.max()] if len(inside) else [np.inf, -np.inf]
        assert extremes.tolist() == ends

    @pytest.mark.parametrize("size", [1, 2048, 40_000])
    def test_integers_of_the_whole_range_and_exact_sums(self, size: int) -> None:
        rng = np.random.default_rng(size)
        values = rng.integers(1, 2**44, size, endpoint=True)
        values[rng.random(size) < 0.3] = rng.choice([0, -1, -(2**63), 2**63 - 1, 2**44 + 1])
        values[0] = 2**44
        inside = values[(values > 0) & (values <= 2**44)]
        counts, sums, extremes, left_out = counted(values, 6)
        assert left_out == size - len(inside)
        assert np.array_equal(
            counts, np.bincount(slots_of(inside.astype(np.float64), bins_of(6)), minlength=CORE_OCTAVES << 6)
        )
        assert SumColumn(True, sums[:1], sums[1:]).values() == [sum(inside.tolist())]
        assert extremes.tolist() == [inside.min(), inside.max()]

    @pytest.mark.parametrize("kind", [np.float64, np.int64])
    def test_equal_values_of_a_block_are_all_counted(self, kind: type) -> None:
        counts, sums, extremes, left_out = counted(np.full(5000, 1024, kind), 6)
        assert np.flatnonzero(counts).tolist() == slots_of(np.array([1024.0]), bins_of(6)).tolist()
        assert (counts.sum(), left_out, extremes.tolist()) == (5000, 0, [1024.0, 1024.0])
        assert SumColumn(kind is np.int64, sums[:1], sums[1:]).values() == [5000 * 1024]

    @pytest.mark.parametrize("kind", [np.float64, np.int64])
    @pytest.mark.parametrize("times", [1, CARRY, CARRY + 1, 2 * CARRY + 1, 70_000])
    def test_a_count_of_a_row_grows_beyond_its_byte(self, kind: type, times: int) -> None:
        bins = bins_of(6)
        counts, carried = np.zeros((CORE_OCTAVES, 3, 64), kernels().ROW_COUNTS), np.zeros(4 * times, np.int64)
        extreme = [np.inf, -np.inf] if kind is np.float64 else [2**63 - 1, -(2**63)]
        stats = np.tile(np.array([*extreme, 0, 0], kind), (3, 1))
        full = np.zeros(counts.size, np.int64)
        values, rows = np.array([3, -3, 4, 0], kind), np.array([0, 0, 2, 1])  # -3 and 0 are not of the core
        for _ in range(2):
            left_out, n_carried = kernels().add_rows(
                np.repeat(values, times), np.repeat(rows, times), bins, counts, stats, carried
            )
            assert left_out == 2 * times
            np.add.at(full, carried[:n_carried], CARRY)
        total = counts.astype(np.int64) + full.reshape(counts.shape)
        assert np.argwhere(counts).tolist() == np.argwhere(total).tolist()
        (octave_of_3, octave_of_4), (in_3, in_4) = np.divmod(slots_of(np.array([3.0, 4.0]), bins), 64)
        assert total[octave_of_3, 0, in_3] == total[octave_of_4, 2, in_4] == total.sum() // 2 == 2 * times
        assert stats[:, :2].tolist() == [[3, 3], extreme, [4, 4]]
        sums = list(SumColumn(kind is np.int64, stats[:, 2].copy(), stats[:, 3].copy()).values())
        assert sums == [6 * times, 0, 8 * times]

    def test_rows_take_the_ends_of_the_core_and_leave_out_what_lies_beyond(self) -> None:
        bins, n = bins_of(6), 4
        for value in [*INSIDE, *AWKWARD]:
            counts = np.zeros((CORE_OCTAVES, n, 64), kernels().ROW_COUNTS)
            stats = np.tile(np.array([np.inf, -np.inf, 0.0, 0.0]), (n, 1))
            found = kernels().add_rows(
                np.array([value, 5.0]), np.array([2, 1]), bins, counts, stats, np.zeros(2, np.int64)
            )
            slots = slots_of(np.array([5.0, *([value] if value in INSIDE else [])]), bins)
            assert found == (0 if value in INSIDE else 1, 0)
            wanted = [[slot // 64, row, slot % 64] for slot, row in zip(slots.tolist(), (1, 2), strict=False)]
            assert sorted(np.argwhere(counts).tolist()) == sorted(wanted)
            assert stats[2].tolist() == ([value, value, value, 0.0] if value in INSIDE else [np.inf, -np.inf, 0, 0])


def test_no_bound_but_a_power_of_two_lies_at_the_start_of_a_slice() -> None:
    """What the compiled look-up by the bits themselves rests on."""
    for scale in range(9):
        bins = bins_of(scale)
        assert not np.any(bins.mantissas[1:-1] & ((1 << bins.slice_shift) - 1) == 0)
