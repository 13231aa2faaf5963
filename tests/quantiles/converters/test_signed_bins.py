"""Bins free of any format: what a sketch holds, coarser scales, and counts that are not whole."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.converters.errors import ConversionError
from quantiles.converters.reading import sketch_of_bins
from quantiles.converters.signed_bins import BinCounts, SignedBins, signed_bins, whole_counts
from quantiles.errors import CorruptSketchError, ScaleError
from tests.quantiles import reference
from tests.quantiles.converters.states import any_sketch, exact_state, lists, sketch_of, state
from tests.quantiles.samples import anything, levels, positives, scales


def bins(pairs: dict[int, int]) -> BinCounts:
    return BinCounts(np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.int64))


@given(sketch=any_sketch)
def test_bins_of_a_sketch_make_the_same_sketch_again(sketch: object) -> None:
    read = sketch_of_bins(signed_bins(sketch, None), None)
    assert exact_state(read.sketch) == exact_state(sketch)
    assert (read.added_error, read.rank_error, read.estimated) == (0.0, 0.0, frozenset())


@given(values=lists(anything), fine=scales, coarse=scales)
def test_a_coarser_scale_is_what_the_values_give_at_that_scale(values: list, fine: int, coarse: int) -> None:
    if coarse > fine:
        with pytest.raises(ConversionError, match="finer than the sketch's"):
            signed_bins(sketch_of(values, fine), coarse)
        return
    at_once, wanted = sketch_of_bins(signed_bins(sketch_of(values, fine), coarse), None), sketch_of(values, coarse)
    at_reading = sketch_of_bins(signed_bins(sketch_of(values, fine), None), coarse)
    assert exact_state(at_once.sketch) == exact_state(at_reading.sketch) == exact_state(wanted)
    assert at_reading.added_error == 0.0


@given(values=lists(positives).filter(len), coarse=scales, fine=scales, q=levels, mirrored=st.booleans())
def test_a_finer_scale_stays_within_the_error_it_states(
    values: list, coarse: int, fine: int, q: float, mirrored: bool
) -> None:
    if fine < coarse:
        coarse, fine = fine, coarse
    values = [-x if mirrored else abs(x) for x in values]
    source = sketch_of(values, coarse)
    read = sketch_of_bins(signed_bins(source, None), fine)
    assert read.sketch.scale == fine
    assert (read.sketch.count, read.sketch.min, read.sketch.max) == (source.count, source.min, source.max)
    assert read.sketch.sum == source.sum or math.isinf(source.sum)
    assert (read.added_error > 0) == (fine > coarse)
    truth, bound = reference.quantile(values, q), read.sketch.error_bound + read.added_error
    assert abs(read.sketch.quantile(q) - truth) <= bound * abs(truth) * (1 + 1e-12) + 2 * math.ulp(0.0)


def test_bins_finer_than_scale_8_are_halved_down_to_it() -> None:
    fine = SignedBins(20, positive=bins({0: 1, (1 << 12) - 1: 2, 1 << 12: 4}), negative=bins({-1: 8}))
    read = sketch_of_bins(fine, None)
    first = (1075 << 8) + 1
    assert read.sketch.scale == 8
    assert state(read.sketch) == ([-(first - 1), first, first + 1], [8, 3, 4], 0)
    assert read.added_error == 0.0


def test_absurdly_fine_scales_leave_the_sign_of_the_logarithm() -> None:
    read = sketch_of_bins(SignedBins(2**31 - 1, positive=bins({-5: 1, 7: 2})), None)
    first = (1075 << 8) + 1
    assert state(read.sketch) == ([first - 1, first], [1, 2], 0)


@pytest.mark.parametrize("scale", [0, 6, 8])
def test_the_outermost_bins_are_accepted_and_the_next_ones_are_not(scale: int) -> None:
    lowest, highest = (-1074 << scale) - 1, (1024 << scale) - 1
    read = sketch_of_bins(SignedBins(scale, positive=bins({lowest: 1, highest: 1})), None)
    assert read.sketch.min == 5e-324
    assert read.sketch.max > 2.0**1023
    for wrong in (lowest - 1, highest + 1):
        with pytest.raises(CorruptSketchError, match=rf"negative bin {wrong} of scale {scale}"):
            sketch_of_bins(SignedBins(scale, negative=bins({wrong: 1})), None)


def test_a_subnormal_bin_without_a_float_is_refused() -> None:
    with pytest.raises(CorruptSketchError, match="wanted bins with one"):
        sketch_of_bins(SignedBins(6, positive=bins({(-1074 << 6) + 5: 1})), None)


def test_estimated_extremes_lie_in_their_bins() -> None:
    read = sketch_of_bins(SignedBins(0, positive=bins({0: 2, 3: 1}), negative=bins({1: 1})), None)
    assert read.estimated == {"min", "max", "sum"}
    assert -4 <= read.sketch.min < -2
    assert 8 < read.sketch.max <= 16
    assert read.sketch.sum == pytest.approx(-8 / 3 + 2 * 4 / 3 + 32 / 3)


@pytest.mark.parametrize(
    ("given_min", "kept", "threshold"),
    [
        (1.5, 1.5, 0),
        (math.nextafter(1, 2), math.nextafter(1, 2), 0),
        (1.0, math.nextafter(1, 2), 0),  # on the bound: the next bin by our rule, this one by a rounded logarithm
        (0.7, math.nextafter(1, 2), 0),
        (2.5, 2.0, 0),
    ],
)
def test_a_minimum_one_bin_off_moves_to_the_edge_of_its_bin(given_min: float, kept: float, threshold: float) -> None:
    read = sketch_of_bins(SignedBins(0, positive=bins({0: 1, 4: 1}), minimum=given_min, maximum=20.0), None, threshold)
    assert read.sketch.min == kept
    assert ("min" in read.estimated) == (given_min != kept)


@pytest.mark.parametrize("wrong", [0.2, 8.0, -1.5, 0.0, math.nan, math.inf, -math.inf, 5e-324])
def test_a_minimum_further_off_is_refused(wrong: float) -> None:
    with pytest.raises(CorruptSketchError, match=r"min is .* wanted a number from"):
        sketch_of_bins(SignedBins(0, positive=bins({0: 1, 4: 1}), minimum=wrong), None)


def test_one_value_has_one_extreme() -> None:
    with pytest.raises(CorruptSketchError, match="one value with minimum"):
        sketch_of_bins(SignedBins(0, positive=bins({0: 1}), minimum=1.25, maximum=1.5), None)


@pytest.mark.parametrize("count", [1, 3])
def test_an_estimated_extreme_gives_way_to_a_known_one(count: int) -> None:
    """The representative of (1, 2] is 4/3: below the minimum 2.0, above the maximum 1.25."""
    for known, ends in (({"minimum": 2.0}, (2.0, 2.0)), ({"maximum": 1.25}, (1.25, 1.25)), ({"minimum": 1.25}, None)):
        read = sketch_of_bins(SignedBins(0, positive=bins({0: count}), **known), None).sketch
        wanted = ends or ((1.25, 1.25) if count == 1 else (1.25, 4 / 3))
        assert (read.min, read.max) == pytest.approx(wanted)


def test_subnormals_kept_in_the_smallest_normal_bin_are_read() -> None:
    smallest = SignedBins(6, positive=bins({(-1022 << 6) - 1: 1}), minimum=5e-324, maximum=5e-324)
    read = sketch_of_bins(smallest, None)
    assert 5e-324 < read.sketch.min <= 2.0**-1022
    assert read.estimated == {"min", "max", "sum"}


def test_values_within_the_zero_threshold_are_zeros() -> None:
    read = sketch_of_bins(SignedBins(6, zero_count=2, minimum=-1e-6, maximum=1e-5, total=9e-6), None, 1e-5)
    assert (read.sketch.min, read.sketch.max, read.zero_threshold) == (0.0, 0.0, 1e-5)
    assert read.estimated == {"min", "max"}


@pytest.mark.parametrize("scale", [9, -1, 6.5])
def test_only_the_scales_of_sketches_can_be_asked_for(scale: float) -> None:
    for convert in (lambda: signed_bins(sketch_of([1.0]), scale), lambda: sketch_of_bins(SignedBins(6), scale)):
        with pytest.raises(ScaleError):
            convert()


@pytest.mark.parametrize("counts", [{0: 2**62}, {0: 2**62 - 1, 1: 2**62 - 1, 2: 2**62 - 1, 3: 2**62 - 1}])
def test_more_values_than_a_sketch_counts_are_refused_before_they_wrap(counts: dict[int, int]) -> None:
    with pytest.raises(CorruptSketchError, match=r"less than 2\*\*62"):
        sketch_of_bins(SignedBins(20, positive=bins(counts)), 0)


@pytest.mark.parametrize("name", ["zero_count", "minus_infinite", "plus_infinite", "nan_count"])
def test_values_in_no_bin_count_towards_that_limit(name: str) -> None:
    assert sketch_of_bins(SignedBins(6, **{name: 2**61}), None).sketch.scale == 6
    with pytest.raises(CorruptSketchError, match=r"less than 2\*\*62"):
        sketch_of_bins(SignedBins(6, positive=bins({0: 2**61}), **{name: 2**61}), None)


def test_whole_counts_pass_and_fractions_need_a_factor() -> None:
    whole, rank_error = whole_counts(np.array([0.0, 3.0, 2.0**60]), None)
    assert (whole.tolist(), rank_error) == ([0, 3, 2**60], 0.0)
    with pytest.raises(ConversionError, match=r"a count is 0.5, wanted whole ones: pass count_factor"):
        whole_counts(np.array([1.0, 0.5]), None)
    whole, rank_error = whole_counts(np.array([0.1, 0.32, 0.58]), 10.0)
    assert whole.tolist() == [1, 3, 6]
    assert rank_error == pytest.approx(0.04)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf, 2.0**62])
def test_damaged_counts_are_refused(wrong: float) -> None:
    for factor in (None, 1.0):
        with pytest.raises(CorruptSketchError):
            whole_counts(np.array([1.0, wrong]), factor)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_factor_must_be_a_positive_number(factor: float) -> None:
    with pytest.raises(ConversionError, match="count_factor"):
        whole_counts(np.array([1.0]), factor)


def test_counts_that_all_vanish_are_refused() -> None:
    with pytest.raises(ConversionError, match="round to nothing"):
        whole_counts(np.array([0.001, 0.2]), 1.0)


@given(counts=st.lists(st.floats(0.01, 50), min_size=1), factor=st.floats(0.5, 300), q=st.floats(0, 1))
def test_the_rank_error_covers_what_rounding_moved(counts: list[float], factor: float, q: float) -> None:
    given_counts = np.array(counts)
    try:
        whole, rank_error = whole_counts(given_counts, factor)
    except ConversionError:
        return
    shares = np.cumsum(given_counts) / given_counts.sum(), np.cumsum(whole) / whole.sum()
    assert np.all(np.abs(shares[0] - shares[1]) <= rank_error + 1e-9)
