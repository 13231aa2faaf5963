"""Functions over ranges of numbers: truths computed by hand, and a naive version of each for everything else."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.promql.evaluate import instant, range_query
from api.promql.number_text import number_text
from tests.api.promql.asking import number, numbers, points, same
from tests.api.promql.worlds import END, START, full_world, one
from tests.promql_source import MemorySource, S, series

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # samples at 10, 20, 30, 40 s; the range (0, 40] holds them all and its ends are near
        ("increase(m[40s])", 30 * 40 / 30),  # 10 -> 40: 30 over 30 s, stretched by 10 s at the start
        ("rate(m[40s])", 1.0),
        ("delta(m[40s])", 40.0),
        ("increase(m[200s])", 30 * (30 + 5) / 30),  # the start is far: half a sample interval
        ("irate(m[40s])", 1.0),
        ("idelta(m[40s])", 10.0),
        ("deriv(m[40s])", 1.0),
        ("sum_over_time(m[40s])", 100.0),
        ("avg_over_time(m[40s])", 25.0),
        ("min_over_time(m[30s])", 20.0),
        ("max_over_time(m[30s])", 40.0),
        ("count_over_time(m[30s])", 3.0),
        ("last_over_time(m[30s])", 40.0),
        ("present_over_time(m[30s])", 1.0),
        ("stdvar_over_time(m[40s])", 125.0),
        ("stddev_over_time(m[40s])", math.sqrt(125.0)),
        ("quantile_over_time(0.5, m[40s])", 25.0),
        ("quantile_over_time(0.9, m[40s])", 37.0),
        ("changes(m[40s])", 3.0),
        ("resets(m[40s])", 0.0),
    ],
)
def test_a_steady_series_gives_what_is_worked_out_by_hand(text: str, expected: float) -> None:
    assert number(text, one("m", [10, 20, 30, 40], [10, 20, 30, 40]), START + 40 * S) == pytest.approx(expected)


def test_a_counter_that_started_over_has_not_lost_what_it_counted() -> None:
    source = one("m", [10, 20, 30, 40], [100, 110, 5, 15])
    assert number("increase(m[40s])", source, START + 40 * S) == pytest.approx((15 - 100 + 110) * 40 / 30)
    assert number("resets(m[40s])", source, START + 40 * S) == 1
    assert number("irate(m[20s])", source, START + 30 * S) == 0.5
    assert number("idelta(m[20s])", source, START + 30 * S) == -105


def test_a_counter_is_never_extrapolated_below_zero() -> None:
    # 2 -> 32 over 30 s would have been 0 two seconds before the first sample, which is 10 s behind the range's start
    source = one("m", [10, 20, 30, 40], [2, 12, 22, 32])
    assert number("increase(m[40s])", source, START + 40 * S) == pytest.approx(30 * (30 + 2) / 30)
    assert number("delta(m[40s])", source, START + 40 * S) == pytest.approx(40)


def test_one_reading_is_no_rate_but_one_delta_is() -> None:
    assert numbers("rate(m[20s])", one("m", [10], [4]), START + 20 * S) == {}
    assert number("rate(m[20s])", one("m", [10], [4], delta=True), START + 20 * S) == pytest.approx(0.2)


def test_deltas_are_added_up_and_never_extrapolated() -> None:
    source = one("m", [10, 20, 30, 40], [5, 1, 7, 3], delta=True)
    assert number("increase(m[1h])", source, START + 40 * S) == 16
    assert number("rate(m[20s])", source, START + 40 * S) == pytest.approx(0.5)
    assert number("irate(m[20s])", source, START + 40 * S) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("sum_over_time(m[1m])", [1, INF, -INF], NAN),
        ("min_over_time(m[1m])", [NAN, 3, 2], 2),
        ("max_over_time(m[1m])", [NAN, NAN, NAN], NAN),
        ("avg_over_time(m[1m])", [1.5e308, 1.5e308, 1.2e308], 1.4e308),
        ("avg_over_time(m[1m])", [1, INF, 2], INF),
        ("changes(m[1m])", [NAN, NAN, 1], 1),
        ("quantile_over_time(0, m[1m])", [3, NAN, 1], NAN),
        ("quantile_over_time(1, m[1m])", [3, NAN, 1], 3),
        ("quantile_over_time(-0.1, m[1m])", [3, 2, 1], -INF),
        ("quantile_over_time(1.1, m[1m])", [3, 2, 1], INF),
        ("quantile_over_time(NaN, m[1m])", [3, 2, 1], NAN),
        ("stdvar_over_time(m[1m])", [1e9 + 1, 1e9 + 2, 1e9 + 3], 2 / 3),
        ("sum_over_time(m[1m])", [1e16, 1, -1e16], 0),
        ("deriv(m[1m])", [5, 5, 5], 0),
    ],
)
def test_odd_values_keep_their_meaning(text: str, values: list[float], expected: float) -> None:
    found = number(text, one("m", [10, 20, 30], values), START + 30 * S)
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_range_without_samples_answers_nothing() -> None:
    source = one("m", [0], [1])
    for text in (
        "sum_over_time(m[5s])",
        "rate(m[5s])",
        "quantile_over_time(0.5, m[5s])",
        "deriv(m[5s])",
        "changes(m[5s])",
    ):
        assert numbers(text, source, START + 60 * S) == {}
        assert numbers(text.replace("m[", "nothing["), source, START + 60 * S) == {}


def test_names_go_except_where_samples_are_shown_as_they_are() -> None:
    source = one("m", [0, 10], [1, 2])
    assert numbers("sum_over_time(m[1m])", source, START + 10 * S) == {"": 3.0}
    assert numbers("last_over_time(m[1m])", source, START + 10 * S) == {"m": 2.0}


def test_absent_over_time_is_named_by_the_matchers_of_equality() -> None:
    source = one("m", [0], [1])
    assert numbers('absent_over_time(x{a="1", b=~"2", c="3", c="4"}[5m])', source) == {"a=1": 1.0}
    assert numbers("absent_over_time(m[5m])", source) == {}


def naive(function: str, times: list[float], values: list[float], start: float, end: float) -> float | None:
    """A range function of one series, sample by sample, in plain Python."""
    inside = [(t, v) for t, v in zip(times, values, strict=True) if start < t <= end]
    if not inside or (function in ("increase", "deriv", "delta") and len(inside) < 2):
        return None
    own = [value for _, value in inside]
    if function == "quantile_over_time":
        ordered = sorted(own)
        rank = 0.3 * (len(own) - 1)
        lower = math.floor(rank)
        upper = min(lower + 1, len(own) - 1)
        return ordered[lower] * (1 - (rank - lower)) + ordered[upper] * (rank - lower)
    if function == "stdvar_over_time":
        mean = math.fsum(own) / len(own)
        return math.fsum((value - mean) ** 2 for value in own) / len(own)
    if function == "deriv":
        at = [t for t, _ in inside]
        return float(np.polyfit(np.array(at) - at[0], own, 1)[0])
    if function in ("increase", "delta"):
        return naive_growth(inside, start, end, function == "increase")
    return {"sum_over_time": math.fsum, "min_over_time": min, "max_over_time": max, "count_over_time": len}[function](
        own
    )  # type: ignore[operator]


def naive_growth(inside: list[tuple[float, float]], start: float, end: float, counter: bool) -> float:
    """Growth over a range as Prometheus describes it."""
    change = inside[-1][1] - inside[0][1]
    if counter:
        change += sum(left[1] for left, right in pairwise(inside) if right[1] < left[1])
    sampled = inside[-1][0] - inside[0][0]
    between = sampled / (len(inside) - 1)
    before, behind = inside[0][0] - start, end - inside[-1][0]
    before = between / 2 if before >= between * 1.1 else before
    behind = between / 2 if behind >= between * 1.1 else behind
    if counter and change > 0 and inside[0][1] >= 0:
        before = min(before, sampled * inside[0][1] / change)
    return change * (sampled + before + behind) / sampled


@settings(max_examples=30, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    data=st.data(),
    width=st.integers(1, 120),
    step=st.integers(1, 60),
)
def test_functions_over_ranges_agree_with_naive_versions(
    gaps: list[int], data: st.DataObject, width: int, step: int
) -> None:
    times = [float(time) for time in np.cumsum(gaps)]
    values = [float(value) for value in data.draw(st.lists(st.integers(0, 50), min_size=len(gaps), max_size=len(gaps)))]
    source = one("m", times, values)
    for function in (
        "sum_over_time", "min_over_time", "max_over_time", "count_over_time", "stdvar_over_time", "quantile_over_time",
        "increase", "delta", "deriv",
    ):  # fmt: skip
        level = "0.3, " if function == "quantile_over_time" else ""
        found = points(range_query(f"{function}({level}m[{width}s])", START, START + 20 * step * S, step * S, source))
        for number_of_step in range(21):
            at = number_of_step * step
            expected = naive(function, times, values, at - width, at)
            got = found.get(((), START + at * S))
            assert (got is None) == (expected is None), (function, at)
            if expected is not None:
                assert got == pytest.approx(expected, rel=1e-7, abs=1e-7), (function, at)


def test_a_sum_of_rates_is_the_rate_of_the_merged_deltas() -> None:
    world = full_world()
    parts = [world.floats[key] for key in world.floats if dict(key)["__name__"] == "errors"]
    merged = MemorySource({series("errors"): (parts[0][0], sum(part[1] for part in parts), True)})  # type: ignore[dict-item]
    left = points(range_query("sum(rate(errors[1m]))", START, END, 15 * S, world))
    right = points(range_query("rate(errors[1m])", START, END, 15 * S, merged))
    assert left.keys() == right.keys()
    assert len(left) > 50
    assert all(same(left[key], right[key]) for key in left)


def test_functions_without_meaning_for_sketches_say_so() -> None:
    answer = instant("deriv(latency_us[5m])", END, full_world())
    assert len(answer.float_values) == 0
    (info,) = answer.infos
    assert info.startswith("deriv has no meaning for histograms and left them out; write deriv over their quantile")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1e5, "100000"), (1e21, "1000000000000000000000"), (INF, "+Inf"), (-INF, "-Inf"), (NAN, "NaN"),
     (1e-7, "0.0000001"), (-3, "-3")],
)  # fmt: skip
def test_numbers_are_written_without_exponents(value: float, text: str) -> None:
    assert number_text(value) == text
