"""What expressions read out of sketches: quantiles, fractions, counts, exact extremes, and the hint about misuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.promql.evaluate import instant, range_query
from api.promql.over_time_sketches import TABLE_SIZE
from quantiles.sketch_column import SketchColumn
from tests.api.promql.asking import cell_counts, histograms, number, numbers, points, same
from tests.api.promql.worlds import END, START, full_world, gauges, one_sketch, sketched
from tests.promql_source import MemorySource, S, series

NAN, INF = math.nan, math.inf
LEVELS = [0.0, 0.001, 0.25, 0.49, 0.5, 0.9, 0.999, 1.0]
VALUES = st.lists(st.floats(-1e9, 1e9) | st.sampled_from([0.0, INF, -INF]), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_quantiles_are_those_of_the_sketch_by_the_rule_of_prometheus(values: list[float]) -> None:
    source = sketched("lat", a=[values])
    expected = one_sketch(values).quantiles(LEVELS, "prometheus")[0]
    found = [number(f"histogram_quantile({level}, lat)", source) for level in LEVELS]
    assert found == pytest.approx(expected.tolist(), rel=1e-12, nan_ok=True)
    rates = [number(f"histogram_quantile({level}, rate(lat[10s]) * 10)", source) for level in LEVELS[1:-1]]
    assert np.all(np.isfinite(rates) | np.isinf(expected[1:-1]) | np.isnan(expected[1:-1]))


def test_a_quantile_inside_a_bucket_lies_evenly_on_a_logarithmic_scale() -> None:
    # bucket (2**(63/64), 2] of schema 6 holds all four values: half way up is 2**(127/128)
    source = sketched("lat", a=[[2, 2, 2, 2]])
    assert number("histogram_quantile(0.5, lat)", source) == pytest.approx(2 ** (127 / 128))
    assert number("histogram_quantile(1, lat)", source) == pytest.approx(2)
    assert number("histogram_quantile(0, lat)", source) == pytest.approx(2 ** (63 / 64))


@pytest.mark.parametrize(("level", "expected"), [("-1", -INF), ("1.5", INF), ("NaN", NAN)])
def test_levels_that_are_none_answer_as_in_prometheus_with_a_warning(level: str, expected: float) -> None:
    source = sketched("lat", a=[[1]])
    answer = instant(f"histogram_quantile({level}, lat)", START, source)
    assert answer.float_values.tolist() == pytest.approx([expected], nan_ok=True)
    assert len(answer.warnings) == 1
    assert number(f"quantile_over_time({level}, lat[10s])", source) == pytest.approx(expected, nan_ok=True)


def test_nan_among_the_values_count_and_are_told_of() -> None:
    source = sketched("lat", a=[[1, 2, NAN, NAN]])
    answer = instant("histogram_quantile(0.9, lat)", START, source)
    assert np.isnan(answer.float_values).all()
    assert answer.infos == [
        "input to histogram_quantile has NaN observations, results may be NaN or lower than expected"
    ]
    assert number("histogram_quantile(0.5, lat)", source) == pytest.approx(2)
    assert number("histogram_count(lat)", source) == 4
    assert np.isnan(number("histogram_sum(lat)", source))


def test_counts_sums_and_averages() -> None:
    source = sketched("lat", a=[[1, 2, 6], [4]])
    now = START + 10 * S
    assert number("histogram_count(sum_over_time(lat[20s]))", source, now) == 4
    assert number("histogram_sum(sum_over_time(lat[20s]))", source, now) == 13
    assert number("histogram_avg(sum_over_time(lat[20s]))", source, now) == 3.25
    assert number("histogram_count(rate(lat[20s]))", source, now) == 0.2
    assert numbers("histogram_count(m)", gauges(a=1)) == {}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("-Inf", "+Inf", 1), ("0", "+Inf", 0.75), ("0", "2", 0.5), ("2", "4", 0.25), ("4", "2", 0), ("2", "2", 0),
        ("-Inf", "0", 0.25), ("NaN", "1", NAN), ("-Inf", "-7.9", 0.25), ("-4", "1000", 0.75),
    ],
)  # fmt: skip
def test_a_fraction_is_the_share_of_values_between_two_bounds(low: str, high: str, expected: float) -> None:
    source = sketched("lat", a=[[-8, 0, 2, 4]])
    assert number(f"histogram_fraction({low}, {high}, lat)", source) == pytest.approx(expected, nan_ok=True)


def test_a_bound_inside_a_bucket_cuts_it_on_a_logarithmic_scale() -> None:
    source = sketched("lat", a=[[2, 2, 2, 2], [-2, -2]])
    middle = 2 ** (127 / 128)
    assert number(f"histogram_fraction(0, {middle!r}, lat)", source) == pytest.approx(0.5)
    assert number(f"histogram_fraction(-{2 ** (511 / 512)!r}, 0, lat)", source, START + 10 * S) == pytest.approx(7 / 8)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_fraction_undoes_a_quantile(values: list[float], q: float) -> None:
    source = sketched("lat", a=[values])
    value = number(f"histogram_quantile({q!r}, lat)", source)
    assert number(f"histogram_fraction(-Inf, {value!r}, lat)", source) == pytest.approx(q, abs=1e-6)


def test_windows_of_sketches_are_merged_not_extrapolated() -> None:
    source = sketched("lat", a=[[1], [2, 3], [4]])
    now = START + 20 * S
    merged = cell_counts([2, 3, 4])
    assert histograms("increase(lat[20s])", source, now) == {"h=a": (6, merged, 3.0, 9.0)}
    assert histograms("sum_over_time(lat[20s])", source, now) == {"h=a": (6, merged, 3.0, 9.0)}
    rates = {cell: count / 20 for cell, count in merged.items()}
    assert histograms("rate(lat[20s])", source, now) == {"h=a": (6, rates, 0.15, 0.45)}
    averages = {cell: count / 2 for cell, count in merged.items()}
    assert histograms("avg_over_time(lat[20s])", source, now) == {"h=a": (6, averages, 1.5, 4.5)}
    assert histograms("last_over_time(lat[20s])", source, now) == {"lat h=a": (6, cell_counts([4]), 1.0, 4.0)}
    assert number("count_over_time(lat[20s])", source, now) == 2


def test_minimum_and_maximum_of_a_range_are_exact() -> None:
    source = sketched("lat", a=[[0.123456, 7], [2.7182818, 3.1415926]])
    assert number("min_over_time(lat[20s])", source, START + 10 * S) == 0.123456
    assert number("max_over_time(lat[10s])", source, START + 10 * S) == 3.1415926


def test_the_quantile_over_a_range_is_that_of_all_its_values() -> None:
    values = [[1.0, 5, 9], [2, 2, 80], [7]]
    source = sketched("lat", a=values)
    every = one_sketch([value for window in values for value in window])
    found = number("quantile_over_time(0.8, lat[30s])", source, START + 20 * S)
    assert found == pytest.approx(float(every.quantiles([0.8], "prometheus")[0, 0]), rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_overlapping_ranges_hold_exactly_what_lies_in_them(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 25))
    windows = data.draw(st.lists(st.lists(st.floats(-100, 100), max_size=5), min_size=n, max_size=n))
    width, step = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 30))
    source = sketched("lat", a=windows)
    found = points(range_query(f"increase(lat[{width}s])", START, START + 300 * S, step * S, source))
    for at in range(0, 301, step):
        inside = [own for number, own in enumerate(windows) if at - width < 10 * number <= at]
        got = found.get(((("h", "a"),), START + at * S))
        assert (got is None) == (not inside)
        if got is not None:
            values = [value for own in inside for value in own]
            assert got[1] == cell_counts(values)
            assert got[2] == len(values)
            assert got[3] == pytest.approx(math.fsum(values), abs=1e-6)


def test_long_overlapping_ranges_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TABLE_SIZE > 1_000_000
    source = full_world()
    whole = points(range_query("rate(latency_us[5m])", START, END, 7 * S, source))
    for size in (100, 20_000):
        monkeypatch.setattr("api.promql.over_time_sketches.TABLE_SIZE", size)
        parts = points(range_query("rate(latency_us[5m])", START, END, 7 * S, source))
        assert parts.keys() == whole.keys()
        assert all(same(parts[key], whole[key], 0) for key in whole)


def test_integer_sums_and_sketches_without_values_are_read() -> None:
    column = SketchColumn.from_values(np.array([3, 4], np.int64), np.array([0, 0]), 2)
    source = MemorySource({}, {series("x"): ([START, START + 10 * S], column)})
    assert number("histogram_sum(x)", source) == 7
    assert number("histogram_count(x)", source, START + 10 * S) == 0
    assert np.isnan(number("histogram_quantile(0.5, x)", source, START + 10 * S))
    assert numbers("min_over_time(x[10s])", source, START + 10 * S) == {}


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (
            "avg by (rack) (histogram_quantile(0.99, rate(latency_us[1m])))",
            (
                "averaging percentiles is not a percentile; "
                "write histogram_quantile(0.99, sum by (rack) (increase(latency_us[1m]))) instead"
            ),
        ),
        (
            'avg(quantile_over_time(0.9, latency_us{rack="r2"}[2m]))',
            (
                "averaging percentiles is not a percentile; "
                'write histogram_quantile(0.9, sum(increase(latency_us{rack="r2"}[2m]))) instead'
            ),
        ),
        (
            "sum without (host) (round(histogram_quantile(0.5, latency_us)) / 1000)",
            (
                "adding percentiles is not a percentile; "
                "write histogram_quantile(0.5, sum without (host) (latency_us)) instead"
            ),
        ),
        (
            "quantile(0.9, max by (host) (histogram_quantile(0.5, sum by (host) (rate(latency_us[1m])))))",
            (
                "taking quantiles of percentiles is not a percentile; "
                "write histogram_quantile(0.5, sum(increase(latency_us[1m]))) instead"
            ),
        ),
    ],
)
def test_percentiles_put_together_are_answered_with_what_to_write_instead(text: str, instead: str) -> None:
    answer = instant(text, END, full_world())
    assert len(answer.float_values) > 0
    assert answer.infos == [instead]
    better = instead.partition("write ")[2].removesuffix(" instead")
    assert len(instant(better, END, full_world()).float_values) > 0


@pytest.mark.parametrize(
    "text",
    [
        "avg(quantile_over_time(0.9, temp[2m]))",
        "max(histogram_quantile(0.9, latency_us))",
        "histogram_quantile(0.9, sum(rate(latency_us[1m])))",
        "avg(histogram_count(latency_us))",
        "count(histogram_quantile(0.9, latency_us) > 1)",
    ],
)
def test_what_is_no_misuse_gets_no_hint(text: str) -> None:
    assert instant(text, END, full_world()).infos == []
