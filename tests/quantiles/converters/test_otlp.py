"""OTLP data points: exact both ways, the OpenTelemetry SDK's own bucketing beside ours, and damaged points."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from quantiles.bins import bins_of
from quantiles.converters.errors import ConversionError, MissingExtraError
from quantiles.converters.otlp import from_otlp, to_otlp
from quantiles.errors import CorruptSketchError
from tests.quantiles import reference
from tests.quantiles.converters.states import any_sketch, exact_state, finite_sketch, lists, sketch_of, state
from tests.quantiles.samples import finite, positives, scales


def narrow(sketch: object) -> bool:
    """Whether the dense buckets are few enough for a quick test; the span is the format's own cost."""
    cells = np.abs(sketch.column().cells[sketch.column().cells != 0].astype(np.int64))
    return not len(cells) or int(cells.max() - cells.min()) < 1 << 16


def point(scale: int = 6, **fields: object) -> ExponentialHistogramDataPoint:
    """A data point; `positive` and `negative` are (offset, counts)."""
    made = ExponentialHistogramDataPoint(scale=scale)
    for name, value in fields.items():
        if name in ("positive", "negative"):
            getattr(made, name).offset, counts = value
            getattr(made, name).bucket_counts.extend(counts)
        else:
            setattr(made, name, value)
    return made


@given(sketch=finite_sketch.filter(narrow))
def test_finite_sketches_come_back_exactly(sketch: object) -> None:
    written = to_otlp(sketch)
    assert written.left_out == 0
    read = from_otlp(ExponentialHistogramDataPoint.FromString(written.form.SerializeToString()))
    assert exact_state(read.sketch) == exact_state(sketch)
    assert (read.added_error, read.zero_threshold) == (0.0, 0.0)
    assert read.estimated == (frozenset({"sum"}) if math.isnan(sketch.sum) else frozenset())


@given(sketch=any_sketch.filter(narrow))
def test_nan_and_infinities_are_left_out_and_counted(sketch: object) -> None:
    written = to_otlp(sketch)
    values = sketch.column().cells, sketch.column().counts
    infinite = int(values[1][np.abs(values[0]) == bins_of(sketch.scale).infinity_cell].sum())
    assert written.left_out == sketch.nan_count + infinite
    assert written.form.count == sketch.count - infinite
    read = from_otlp(written.form)
    assert read.sketch.count == written.form.count
    if infinite:
        assert not written.form.HasField("sum")


def test_infinities_hide_the_extreme_on_their_side_only() -> None:
    written = to_otlp(sketch_of([math.inf, 1.0, 3.0, math.nan])).form
    assert (written.min, written.HasField("max"), written.HasField("sum"), written.count) == (1.0, False, False, 2)
    empty = to_otlp(sketch_of([math.inf])).form
    assert (empty.count, empty.HasField("min"), empty.HasField("max")) == (0, False, False)
    assert from_otlp(empty).sketch.count == 0


@given(data=lists(positives.filter(lambda x: 1e-9 < x < 1e9)), fine=scales, coarse=scales)
def test_a_coarser_point_is_exact_at_its_scale(data: list, fine: int, coarse: int) -> None:
    fine, coarse = max(fine, coarse), min(fine, coarse)
    assert exact_state(from_otlp(to_otlp(sketch_of(data, fine), scale=coarse).form).sketch) == exact_state(
        from_otlp(to_otlp(sketch_of(data, fine)).form, scale=coarse).sketch
    )


def test_a_golden_point() -> None:
    written = to_otlp(sketch_of([1.0, math.nextafter(1, 2), 2.0, 2.0, -4.0, 0.0, -0.0]), 10, 20).form
    wanted = point(
        positive=(-1, [1, 1, *[0] * 62, 2]), negative=(127, [1]), zero_count=2, count=7, sum=2.0, min=-4.0, max=2.0,
        start_time_unix_nano=10, time_unix_nano=20,
    )  # fmt: skip
    assert written == wanted


@pytest.mark.parametrize("scale", range(9))
def test_bounds_fall_where_the_data_model_says(scale: int) -> None:
    for sub_bin in range(0, 1 << scale, max(1, (1 << scale) // 8)):
        below = float(bins_of(scale).bounds(np.array([bins_of(scale).first_cell + sub_bin]))[0][0])
        for value in (math.nextafter(below, 0), below, math.nextafter(below, 4)):
            written = to_otlp(sketch_of([value], scale)).form
            wanted = reference.cell(value, scale) - (1075 << scale) - 1
            assert (written.positive.offset, list(written.positive.bucket_counts)) == (wanted, [1])


@given(value=st.floats(sys.float_info.min, sys.float_info.max), scale=scales)
def test_the_sdk_maps_values_to_our_bins(value: float, scale: int) -> None:
    theirs = (LogarithmMapping(scale) if scale else ExponentMapping(scale)).map_to_index(value)
    ours = to_otlp(sketch_of([value], scale)).form.positive.offset
    low, high = (float(end[0]) for end in bins_of(scale).bounds(np.array([ours + bins_of(scale).first_cell])))
    if min(abs(value - low), abs(value - high)) > 1e-12 * value:  # nearer, their rounded logarithm may miss by one
        assert theirs == ours
    assert abs(theirs - ours) <= 1


def sdk_point(values: list[float], max_size: int, max_scale: int) -> ExponentialHistogramDataPoint:
    """What the SDK itself makes of the values, carried into a message."""
    reader = InMemoryMetricReader()
    aggregation = ExponentialBucketHistogramAggregation(max_size=max_size, max_scale=max_scale)
    provider = MeterProvider([reader], views=[View(instrument_name="*", aggregation=aggregation)])
    histogram = provider.get_meter("test").create_histogram("latency_us")
    for value in values:
        histogram.record(value)
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    provider.shutdown()
    return point(
        data.scale, count=data.count, sum=data.sum, min=data.min, max=data.max, zero_count=data.zero_count,
        positive=(data.positive.offset, data.positive.bucket_counts),
    )  # fmt: skip


@pytest.mark.parametrize(("scale", "max_size"), [(6, 4096), (8, 16384), (0, 160)])
def test_a_full_sdk_histogram_equals_our_sketch(scale: int, max_size: int) -> None:
    values = [*np.random.default_rng(3).lognormal(5, 1, 5000).tolist(), 0.0, 0.0, 1024.0, 0.5]
    theirs = from_otlp(sdk_point(values, max_size, scale))
    ours = sketch_of(values, scale)
    assert state(theirs.sketch) == state(ours)
    assert (theirs.sketch.min, theirs.sketch.max, theirs.estimated) == (ours.min, ours.max, frozenset())
    assert theirs.sketch.sum == pytest.approx(ours.sum, rel=1e-12)
    assert state(from_otlp(to_otlp(ours).form).sketch) == state(theirs.sketch)


def test_an_sdk_histogram_of_default_settings_is_read_at_the_scale_it_chose() -> None:
    values = np.random.default_rng(4).lognormal(5, 1, 2000).tolist()
    made = sdk_point(values, 160, 20)
    read = from_otlp(made)
    assert 0 <= made.scale < 8
    assert state(read.sketch) == state(sketch_of(values, made.scale))
    finer = from_otlp(made, scale=6)
    for q in (0.01, 0.5, 0.9, 0.99):
        truth = reference.quantile(values, q)
        assert abs(finer.sketch.quantile(q) - truth) <= (finer.sketch.error_bound + finer.added_error) * truth
    assert finer.added_error == pytest.approx(read.sketch.error_bound * (1 + finer.sketch.error_bound))


def test_the_sdks_place_for_subnormals_is_read() -> None:
    read = from_otlp(sdk_point([5e-324, 1e-310], 160, 6))
    assert (read.sketch.count, read.sketch.max <= sys.float_info.min) == (2, True)
    assert {"min", "max"} <= read.estimated


def test_a_fine_point_is_halved_exactly() -> None:
    values = np.random.default_rng(5).uniform(100, 101, 500).tolist()
    made = sdk_point(values, 16384, 20)
    assert made.scale > 8
    assert from_otlp(made).sketch.scale == 8
    for scale in (8, 6, 0):
        assert state(from_otlp(made, scale).sketch) == state(sketch_of(values, scale))


@pytest.mark.parametrize("scale", [-1, -10])
def test_coarser_points_are_refused_by_name(scale: int) -> None:
    with pytest.raises(ConversionError, match=rf"scale is {scale}, wanted 0 or more"):
        from_otlp(point(scale, count=1, positive=(0, [1])))


def test_a_gap_in_a_series_is_no_sketch() -> None:
    with pytest.raises(ConversionError, match="no value was recorded"):
        from_otlp(point(flags=1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 2, "positive": (0, [1])}, "count is 2 and the buckets hold 1"),
        ({"count": 0, "positive": (0, [1])}, "count is 0 and the buckets hold 1"),
        ({"count": 2**62, "zero_count": 2**62}, "below 2"),
        ({"count": 2**64 - 1, "positive": (0, [2**64 - 1])}, "below 2"),
        ({"count": 1, "positive": (2**31 - 1, [0, 1])}, "no float64 lies in it"),
        ({"count": 1, "negative": (-(2**31), [1])}, "no float64 lies in it"),
        ({"count": 1, "positive": (0, [1]), "min": math.nan}, "min is nan"),
        ({"count": 1, "positive": (0, [1]), "max": math.inf}, "max is inf"),
        ({"count": 2, "positive": (0, [2]), "max": 7.0}, "max is 7.0"),
        ({"count": 1, "zero_count": 1, "min": 1e-6}, "min is 1e-06"),
        ({"zero_threshold": -1.0}, "zero_threshold is -1.0"),
        ({"zero_threshold": math.inf}, "zero_threshold is inf"),
        ({"zero_threshold": math.nan}, "zero_threshold is nan"),
        ({"sum": 3.0}, "sum is 3.0 without values"),
    ],
)
def test_damaged_points_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(CorruptSketchError, match=message):
        from_otlp(point(**fields))


@given(
    made=st.builds(
        point,
        scale=st.integers(-2, 30),
        count=st.integers(0, 9),
        zero_count=st.integers(0, 3),
        positive=st.tuples(st.integers(-(2**31), 2**31 - 1) | st.integers(-9, 9), st.lists(st.integers(0, 3))),
        negative=st.tuples(st.integers(-9, 9), st.lists(st.integers(0, 2**64 - 1), max_size=3)),
        min=st.floats(),
        max=st.floats(),
        sum=st.floats(),
        zero_threshold=st.floats(0, 1),
    )
)
def test_any_point_is_read_or_refused(made: ExponentialHistogramDataPoint) -> None:
    try:
        read = from_otlp(made)
    except (ConversionError, CorruptSketchError):
        return
    assert read.sketch.count == made.count
    assert state(from_otlp(to_otlp(read.sketch).form).sketch) == state(read.sketch)


def test_zeros_within_a_threshold_are_stated() -> None:
    read = from_otlp(point(count=3, zero_count=2, positive=(0, [1]), zero_threshold=0.5, min=-0.25, max=1.005, sum=1.0))
    assert (read.zero_threshold, read.sketch.min, read.estimated) == (0.5, 0.0, {"min"})


@pytest.mark.parametrize("fields", [{}, {"sum": math.nan}])
def test_an_absent_sum_is_estimated(fields: dict) -> None:
    read = from_otlp(point(0, count=3, positive=(0, [3]), min=1.25, max=1.5, **fields))
    assert (read.sketch.sum, read.estimated) == (pytest.approx(4.0), {"sum"})


def test_nothing_needs_protobuf_before_a_point_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys, quantiles.converters, quantiles.converters.otlp, quantiles.converters.ddsketch\n"
        "import quantiles.converters.prometheus_json\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('google', 'opentelemetry', 'ddsketch', 'numba')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.metrics.v1", None)
    with pytest.raises(MissingExtraError, match=r"tailwatch\[otlp\]"):
        to_otlp(sketch_of([1.0]))


@given(data=lists(finite))
def test_empty_points_and_points_of_zeros_round_trip(data: list) -> None:
    zeros = [0.0] * len(data)
    assert exact_state(from_otlp(to_otlp(sketch_of(zeros)).form).sketch) == exact_state(sketch_of(zeros))
