"""Prometheus native histograms: spans, deltas, the index that is one higher, infinities, NaN, and damaged ones."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.bins import bins_of
from quantiles.converters.errors import ConversionError
from quantiles.converters.otlp import to_otlp
from quantiles.converters.prometheus import NativeHistogram, Span, from_prometheus, to_prometheus
from quantiles.errors import CorruptSketchError
from tests.quantiles.converters.states import any_sketch, exact_state, sketch_of, state
from tests.quantiles.samples import scales


@given(sketch=any_sketch, as_float=st.booleans())
def test_sketches_come_back_with_all_their_values(sketch: object, as_float: bool) -> None:
    read = from_prometheus(to_prometheus(sketch, as_float=as_float))
    assert state(read.sketch) == state(sketch)
    assert (read.added_error, read.rank_error, read.zero_threshold) == (0.0, 0.0, 0.0)
    if sketch.count:
        assert {"min", "max"} <= read.estimated
        assert abs(read.sketch.max - sketch.max) <= sketch.error_bound * abs(sketch.max) * (1 + 1e-12) + 5e-324 or (
            read.sketch.max == sketch.max  # infinite
        )
    if not math.isnan(sketch.sum) and not sketch.nan_count:
        assert read.sketch.sum == sketch.sum


@given(sketch=any_sketch, coarse=scales)
def test_a_coarser_schema_is_exact_whichever_side_halves(sketch: object, coarse: int) -> None:
    coarse = min(coarse, sketch.scale)
    written, read = to_prometheus(sketch, scale=coarse), from_prometheus(to_prometheus(sketch), scale=coarse)
    assert written.schema == read.sketch.scale == coarse
    assert state(from_prometheus(written).sketch) == state(read.sketch)
    assert read.added_error == 0.0


def test_the_example_of_the_specification() -> None:
    """Buckets -2: 3, -1: 5, 2: 1, 4: 3, 5: 2 in its three spellings."""
    spellings = [
        ((3, 2, -4, 2, -1), (Span(-2, 2), Span(2, 1), Span(1, 2))),
        ((3, 2, -4, -1, 3, -1), (Span(-2, 2), Span(2, 4))),
        ((3, 2, -5, 0, 1, -1, 3, -1), (Span(-2, 8),)),
        ((3, 2, -4, 2, -1), (Span(-4, 0), Span(2, 2), Span(1, 0), Span(1, 1), Span(1, 1), Span(0, 1))),
    ]
    first = (1075 << 6) + 1  # the cell of bin 0, which is bucket 1
    for deltas, spans in spellings:
        read = from_prometheus(NativeHistogram(6, 14, 20.0, positive_spans=spans, positive_deltas=deltas))
        assert state(read.sketch) == ([first + index - 1 for index in (-2, -1, 2, 4, 5)], [3, 5, 1, 3, 2], 0)
    assert to_prometheus(read.sketch) == NativeHistogram(
        6, 14, 20.0, positive_spans=spellings[0][1], positive_deltas=spellings[0][0]
    )


@pytest.mark.parametrize("schema", range(9))
def test_bucket_i_ends_at_gamma_to_the_i(schema: int) -> None:
    for value, index in (
        (1.0, 0),
        (math.nextafter(1, 2), 1),
        (2.0, 1 << schema),
        (math.nextafter(2, 3), 1 + (1 << schema)),
    ):
        for sign in (1, -1):
            written = to_prometheus(sketch_of([sign * value], schema))
            spans = (written.negative_spans, written.positive_spans)
            assert spans == (((), (Span(index, 1),)) if sign > 0 else ((Span(index, 1),), ()))
            assert to_otlp(sketch_of([abs(value)], schema)).form.positive.offset == index - 1


def test_the_last_buckets_have_the_numbers_of_the_specification() -> None:
    written = to_prometheus(sketch_of([sys.float_info.max, math.inf, math.inf, -math.inf], 8))
    assert written.positive_spans == (Span(262144, 2),)
    assert written.positive_deltas == (1, 1)
    assert (written.negative_spans, written.negative_deltas) == ((Span(262145, 1),), (1,))
    assert math.isnan(written.sum)
    read = from_prometheus(written)
    assert (read.sketch.min, read.sketch.max, read.sketch.count) == (-math.inf, math.inf, 4)
    beyond = replace(written, positive_spans=(Span(262145, 2),))
    with pytest.raises(CorruptSketchError, match="no float64 lies in it"):
        from_prometheus(beyond)


def test_the_smallest_subnormal_keeps_its_bucket() -> None:
    written = to_prometheus(sketch_of([5e-324, -5e-324]))
    assert written.positive_spans == written.negative_spans == (Span(-1074 << 6, 1),)
    assert from_prometheus(written).sketch.max == 5e-324


def test_nan_are_counted_in_no_bucket_and_make_the_sum_nan() -> None:
    written = to_prometheus(sketch_of([math.nan, math.nan, 3.0]))
    assert (written.count, math.isnan(written.sum)) == (3, True)
    read = from_prometheus(written)
    assert (read.sketch.count, read.sketch.nan_count, read.estimated) == (1, 2, {"min", "max", "sum"})
    only = from_prometheus(to_prometheus(sketch_of([math.nan])))
    assert (only.sketch.count, only.sketch.nan_count, only.sketch.sum) == (0, 1, 0)


def test_an_empty_sketch_is_an_empty_histogram() -> None:
    written = to_prometheus(sketch_of([]))
    assert written == NativeHistogram(6, 0, 0.0)
    assert exact_state(from_prometheus(written).sketch) == exact_state(sketch_of([]))
    assert from_prometheus(NativeHistogram(6, 0.0, 0.0, zero_count=0.0)).sketch.count == 0


def test_a_zero_bucket_of_some_width_is_stated() -> None:
    read = from_prometheus(NativeHistogram(3, 5, 1.0, zero_threshold=2.0**-128, zero_count=5))
    assert (read.sketch.max, read.sketch.count, read.zero_threshold) == (0.0, 5, 2.0**-128)


def test_schemas_up_to_52_are_halved_to_8() -> None:
    read = from_prometheus(
        NativeHistogram(12, 3, 5.0, positive_spans=(Span(1, 1), Span(15, 1)), positive_deltas=(1, 1))
    )
    first = (1075 << 8) + 1
    assert state(read.sketch) == ([first, first + 1], [1, 2], 0)
    assert from_prometheus(NativeHistogram(52, 0, 0.0), scale=6).sketch.scale == 6


@pytest.mark.parametrize("schema", [-1, -4, -9])
def test_coarser_schemas_are_refused_by_name(schema: int) -> None:
    with pytest.raises(ConversionError, match=f"schema is {schema}, wanted 0 or more"):
        from_prometheus(NativeHistogram(schema, 0, 0.0))


def test_custom_buckets_are_refused_by_name() -> None:
    with pytest.raises(ConversionError, match="custom buckets"):
        from_prometheus(NativeHistogram(-53, 0, 0.0))


def test_rates_are_multiplied_back_and_rounded() -> None:
    counts = sketch_of([1.5] * 30 + [7.0] * 9 + [0.0] * 6)
    whole = to_prometheus(counts, as_float=True)
    rate = replace(
        whole, count=whole.count / 300, sum=whole.sum / 300, zero_count=whole.zero_count / 300,
        positive_counts=tuple(count / 300 for count in whole.positive_counts),
    )  # fmt: skip
    with pytest.raises(ConversionError, match="pass count_factor"):
        from_prometheus(rate)
    read = from_prometheus(rate, count_factor=300)
    assert state(read.sketch) == state(counts)
    assert read.rank_error < 1e-12
    assert read.sketch.sum == pytest.approx(counts.sum)


def test_the_rounding_of_fractional_counts_is_stated() -> None:
    histogram = NativeHistogram(0, 10.0, 1.0, zero_count=2.4, positive_spans=(Span(3, 1),), positive_counts=(7.6,))
    read = from_prometheus(histogram, count_factor=1)
    assert (read.sketch.count, read.rank_error) == (10, pytest.approx(0.08))


def test_float_and_integer_histograms_say_the_same() -> None:
    sketch = sketch_of(np.random.default_rng(1).lognormal(0, 3, 3000).tolist())
    whole, floats = to_prometheus(sketch), to_prometheus(sketch, as_float=True)
    assert np.cumsum(whole.positive_deltas).tolist() == list(floats.positive_counts)
    assert state(from_prometheus(whole).sketch) == state(from_prometheus(floats).sketch) == state(sketch)
    assert from_prometheus(whole, count_factor=1).sketch.count == 3000


def test_estimated_ends_stay_within_the_error_bound() -> None:
    values = np.random.default_rng(2).lognormal(5, 1, 1000)
    read = from_prometheus(to_prometheus(sketch_of(values.tolist()))).sketch
    assert read.min == pytest.approx(values.min(), rel=read.error_bound)
    assert read.max == pytest.approx(values.max(), rel=read.error_bound)
    bounds = bins_of(6)
    assert bounds.error_bound == read.error_bound


@pytest.mark.parametrize(
    ("histogram", "message"),
    [
        (NativeHistogram(53, 0, 0.0), "schema is 53"),
        (NativeHistogram(-10, 0, 0.0), "schema is -10"),
        (NativeHistogram(6, 0, 0.0, zero_threshold=-1.0), "zero_threshold is -1.0"),
        (NativeHistogram(6, 0, 0.0, zero_threshold=math.inf), "zero_threshold is inf"),
        (NativeHistogram(6, 1, 0.0), "count is 1 and buckets hold 0"),
        (NativeHistogram(6, 1, 0.0, zero_count=2), "count is 1 and buckets hold 2"),
        (NativeHistogram(6, 1, math.nan, zero_count=2), "count is 1 and buckets hold 2"),
        (NativeHistogram(6, -1, math.nan, zero_count=-1), "zero count is -1"),
        (NativeHistogram(6, 2**62, 0.0, zero_count=2**62), r"wanted both in 0..2\*\*62"),
        (NativeHistogram(6, 1.0, 0.0), "count is 1.0 and buckets hold 0.0"),
        (NativeHistogram(6, math.nan, 0.0), "count is nan"),
        (NativeHistogram(6, math.inf, math.nan), "a count is inf"),
        (NativeHistogram(6, 1.0, math.nan, zero_count=2.0), "a count is -1.0"),
        (NativeHistogram(6, 1, 1.0, positive_spans=(Span(0, 2),), positive_deltas=(1,)), "spans hold 2 buckets"),
        (NativeHistogram(6, 1, 1.0, positive_deltas=(1,)), "spans hold 0 buckets and 1 are given"),
        (NativeHistogram(6, 0, 0.0, positive_spans=(Span(0, 2**60),)), "spans hold 1152921504606846976 buckets"),
        (NativeHistogram(6, 0, 0.0, positive_spans=(Span(0, -1),)), "span 0 is"),
        (NativeHistogram(6, 0, 0.0, positive_spans=(Span(2**31, 0),)), "span 0 is"),
        (NativeHistogram(6, 0, 0.0, negative_spans=(Span(0, 0), Span(-1, 0))), "negative span 1 is"),
        (NativeHistogram(6, 1, 1.0, positive_spans=(Span(0, 2),), positive_deltas=(1, -2)), "deltas add up to -1..1"),
        (NativeHistogram(6, 1, 1.0, positive_spans=(Span(0, 1),), positive_deltas=(2**62,)), "deltas add up to"),
        (NativeHistogram(6, 1, 1.0, positive_spans=(Span(0, 1),), positive_counts=(1.0,)), "both deltas and counts"),
        (NativeHistogram(6, 1.0, 1.0, positive_spans=(Span(0, 1),), positive_deltas=(1,)), "both deltas and counts"),
        (NativeHistogram(6, 1, 1.0, positive_spans=(Span(2**30, 1),), positive_deltas=(1,)), "no float64 lies in it"),
        (NativeHistogram(6, 1.0, 1.0, positive_spans=(Span(0, 1),), positive_counts=(math.nan,)), "count is 1.0 and"),
    ],
)
def test_damaged_histograms_are_refused(histogram: NativeHistogram, message: str) -> None:
    with pytest.raises(CorruptSketchError, match=message):
        from_prometheus(histogram)


spans = st.lists(st.builds(Span, st.integers(-4, 4) | st.integers(-(2**33), 2**33), st.integers(-1, 3)), max_size=3)


@given(
    histogram=st.builds(
        NativeHistogram,
        schema=st.integers(-12, 60) | scales,
        count=st.integers(0, 9) | st.floats(),
        sum=st.floats(),
        zero_threshold=st.just(0.0) | st.floats(),
        zero_count=st.integers(0, 9) | st.just(0),
        positive_spans=spans.map(tuple),
        positive_deltas=st.lists(st.integers(-2, 3), max_size=4).map(tuple),
        negative_spans=spans.map(tuple),
        negative_counts=st.lists(st.floats(), max_size=2).map(tuple),
    )
)
def test_any_histogram_is_read_or_refused(histogram: NativeHistogram) -> None:
    for factor in (None, 2.5):
        try:
            read = from_prometheus(histogram, count_factor=factor)
        except (ConversionError, CorruptSketchError):
            continue
        assert state(from_prometheus(to_prometheus(read.sketch)).sketch) == state(read.sketch)
