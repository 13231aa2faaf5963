"""The map between a value and its cell, against integer powers that round nowhere."""

import itertools
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from quantiles._kernels.choice import Kernels, kernels, load_kernels, use_kernels
from quantiles.bins import Bins, bins_of
from quantiles.errors import ScaleError
from tests.quantiles import reference
from tests.quantiles.samples import finite, laws, numbers, positives, scales

SCALES = range(9)


def cells(values: list[float], scale: int, run: Kernels | None = None) -> list[int]:
    return (run or kernels()).cells_of(np.array(values, np.float64), bins_of(scale)).tolist()


OCTAVES = [-1075, -1070, -1050, -1024, -1023, -1022, -1, 0, 17, 1022, 1023]


def bound_neighbours(scale: int, octave: int) -> list[float]:
    """Every bin bound of one octave, as the largest float not above it, with the floats beside it."""
    table = bins_of(scale)
    first = table.first_cell + (octave << scale)
    upper = table.bounds(np.arange(first, first + (1 << scale)))[1].tolist()
    return [x for bound in upper for x in (math.nextafter(bound, 0), bound, math.nextafter(bound, 2 * bound))]


@pytest.mark.usefixtures("kernel_name")
class TestBothKernels:
    def test_golden_bin_numbers_of_opentelemetry_at_scale_6(self) -> None:
        first = bins_of(6).first_cell
        values = [1.0, math.nextafter(1.0, 2.0), 2.0, math.nextafter(2.0, 3.0), 4.0, 0.5, 1000.0, 3.14159]
        assert [c - first for c in cells(values, 6)] == [-1, 0, 63, 64, 127, -65, 637, 105]

    def test_golden_cells_of_special_values(self) -> None:
        largest, tiny = sys.float_info.max, sys.float_info.min
        values = [0.0, -0.0, 5e-324, -5e-324, tiny, math.nextafter(tiny, 0), largest, math.inf, -math.inf]
        assert cells(values, 6) == [0, 0, 64, -64, 3392, 3392, 134336, 134337, -134337]
        assert cells(values, 0) == [0, 0, 1, -1, 53, 53, 2099, 2100, -2100]

    @pytest.mark.parametrize("scale", SCALES)
    def test_every_bound_of_an_octave_and_the_floats_beside_it(self, scale: int) -> None:
        octaves = OCTAVES if scale == 6 else [-1024, -1023, 0]  # the first two are of subnormals
        values = [x for octave in octaves for x in bound_neighbours(scale, octave)]
        assert cells(values, scale) == [reference.cell(x, scale) for x in values]

    @pytest.mark.parametrize("scale", SCALES)
    def test_every_power_of_two_and_the_floats_beside_it(self, scale: int) -> None:
        step = 1 if scale < 4 else 37
        powers = [math.ldexp(1.0, e) for e in [*range(-1074, 1024, step), -1074, -1073, -1023, -1022, -1021, 1023]]
        values = [x for p in powers for x in (math.nextafter(p, 0), p, math.nextafter(p, math.inf))]
        assert cells(values, scale) == [reference.cell(x, scale) for x in values]

    @laws
    @given(x=numbers, scale=scales)
    def test_a_cell_is_the_one_that_integer_powers_give(self, x: float, scale: int) -> None:
        expected = reference.cell(x, scale)
        assert cells([x], scale) == [expected]
        assert cells([3.0, x, 7.0], scale)[1] == expected

    def test_special_values_leave_their_neighbours_alone(self) -> None:
        rng = np.random.default_rng(7)
        values = rng.lognormal(3, 2, 100_000)
        plain = np.array(cells(values.tolist(), 6))
        values[[5, 40_000, 99_999]] = [0.0, -math.inf, 5e-324]
        mixed = np.array(cells(values.tolist(), 6))
        assert np.flatnonzero(mixed != plain).tolist() == [5, 40_000, 99_999]
        assert mixed[[5, 40_000, 99_999]].tolist() == [0, -134337, 64]

    def test_integers_fall_where_their_floats_fall(self) -> None:
        values = [0, 1, -1, 2, 1000, -1000, 2**53 + 1, 2**63 - 1, -(2**63)]
        found = kernels().cells_of(np.array(values, np.int64), bins_of(6)).tolist()
        assert found == [reference.cell(float(x), 6) for x in values]


def test_compiled_and_plain_kernels_agree_on_a_million_values() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(-(2**63), 2**63 - 1, 1_000_000)
    values = bits.view(np.float64)
    values = values[~np.isnan(values)].tolist()
    for scale in (0, 3, 6, 8):
        assert cells(values, scale, load_kernels("numpy")) == cells(values, scale, load_kernels("numba"))


@laws
@given(a=numbers, b=numbers, scale=scales)
def test_a_larger_value_never_has_a_smaller_cell(a: float, b: float, scale: int) -> None:
    low, high = cells([min(a, b), max(a, b)], scale)
    assert low <= high


@laws
@given(x=finite, scale=scales)
def test_a_value_lies_within_the_bounds_of_its_cell(x: float, scale: int) -> None:
    low, high = bounds_of(x, bins_of(scale))
    assert low < x <= high if x > 0 else low <= x < high or x == low == high == 0


def bounds_of(x: float, table: Bins) -> tuple[float, float]:
    low, high = table.bounds(np.array(cells([x], table.scale)))
    return float(low[0]), float(high[0])


@pytest.mark.parametrize("scale", SCALES)
def test_cells_join_without_gap_or_overlap_over_the_whole_range(scale: int) -> None:
    table = bins_of(scale)
    ends = np.arange(1 << scale, table.infinity_cell + 1)
    ends = np.concatenate([ends[:200], ends[:: max(1, len(ends) // 997)], ends[-200:]])
    upper, lower = (
        table.bounds(ends[ends < table.infinity_cell])[1],
        table.bounds(ends[ends < table.infinity_cell] + 1)[0],
    )
    assert np.array_equal(upper, lower)


def test_the_infinite_cell_lies_behind_the_largest_float() -> None:
    table = bins_of(6)
    low, high = table.bounds(np.array([table.infinity_cell, -table.infinity_cell, 0]))
    assert low.tolist() == [sys.float_info.max, -math.inf, 0.0]
    assert high.tolist() == [math.inf, -sys.float_info.max, 0.0]
    assert table.representatives(np.array([table.infinity_cell, -table.infinity_cell, 0])).tolist() == [
        math.inf,
        -math.inf,
        0.0,
    ]


@laws
@given(x=positives, scale=scales)
def test_a_representative_is_within_the_error_bound_of_every_value_of_its_cell(x: float, scale: int) -> None:
    table = bins_of(scale)
    stand_in = Fraction(float(table.representatives(np.array(cells([x], scale)))[0]))
    slack = Fraction(1, 2**1075)  # subnormals cannot be closer
    assert abs(stand_in - Fraction(x)) <= Fraction(table.error_bound) * Fraction(x) * (1 + Fraction(1, 10**9)) + slack


def test_the_error_bound_is_reached_at_the_ends_of_a_cell_and_named_rightly() -> None:
    assert bins_of(6).error_bound == pytest.approx(0.005415159415902569, rel=1e-15)
    for scale in SCALES:
        gamma = 2 ** (2**-scale)
        table = bins_of(scale)
        assert table.error_bound == pytest.approx((gamma - 1) / (gamma + 1), rel=1e-12)
        stand_in = float(table.representatives(np.array([table.first_cell]))[0])
        assert stand_in - 1 == pytest.approx(table.error_bound, rel=1e-9)
        assert 1 - stand_in / gamma == pytest.approx(table.error_bound, rel=1e-9)


def test_representatives_of_mirrored_cells_mirror() -> None:
    table = bins_of(6)
    some = np.arange(1, table.infinity_cell + 1, 101)
    assert np.array_equal(table.representatives(-some), -table.representatives(some))
    assert np.all(np.diff(table.representatives(some)) >= 0)


def test_a_coarser_scale_is_the_finer_one_with_bins_joined_in_pairs() -> None:
    rng = np.random.default_rng(11)
    values = rng.lognormal(0, 50, 3000).tolist()
    for fine in range(1, 9):
        joined = (np.array(cells(values, fine)) - bins_of(fine).first_cell) >> 1
        assert np.array_equal(joined, np.array(cells(values, fine - 1)) - bins_of(fine - 1).first_cell)


@pytest.mark.parametrize("scale", [-1, 9, 64, "6", None, 2.5])
def test_a_scale_outside_0_to_8_is_refused(scale: object) -> None:
    with pytest.raises(ScaleError, match="wanted an integer from 0 to 8"):
        bins_of(scale)  # type: ignore[arg-type]


def test_bins_are_narrow_enough_for_one_compare() -> None:
    for scale in SCALES:
        table = bins_of(scale)
        widths = np.diff(table.mantissas)
        assert widths.min() > 1 << table.slice_shift
        assert all(a < b for a, b in itertools.pairwise(table.mantissas.tolist()))


def test_the_default_kernels_are_numpy() -> None:
    use_kernels("numpy")
    assert kernels().__name__.endswith("numpy_kernels")  # type: ignore[attr-defined]
