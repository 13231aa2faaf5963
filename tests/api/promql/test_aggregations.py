"""Aggregations over numbers and histograms, by and without, and what they leave out."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.promql.errors import EvaluationError, TooMuchError
from api.promql.evaluate import instant, range_query
from api.promql.limits import Limits
from tests.api.promql.asking import cell_counts, histograms, number, numbers, points, same
from tests.api.promql.worlds import END, START, full_world, gauges, one_sketch, sketched
from tests.promql_source import MemorySource, S, series

NAN, INF = math.nan, math.inf


def racks() -> MemorySource:
    """Four hosts in two racks."""
    values = {("a", "r1"): 1, ("b", "r1"): 4, ("c", "r2"): 2, ("d", "r2"): 9}
    return MemorySource({series("m", h=h, r=r): ([START], [value], False) for (h, r), value in values.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(m)", {"": 16}),
        ("sum by (r) (m)", {"r=r1": 5, "r=r2": 11}),
        ("sum without (h) (m)", {"r=r1": 5, "r=r2": 11}),
        ("sum by (nothing) (m)", {"": 16}),
        ("sum by (__name__) (m)", {"m": 16}),
        ("avg by (r) (m)", {"r=r1": 2.5, "r=r2": 5.5}),
        ("min by (r) (m)", {"r=r1": 1, "r=r2": 2}),
        ("max by (r) (m)", {"r=r1": 4, "r=r2": 9}),
        ("count by (r) (m)", {"r=r1": 2, "r=r2": 2}),
        ("group by (r) (m)", {"r=r1": 1, "r=r2": 1}),
        ("stdvar by (r) (m)", {"r=r1": 2.25, "r=r2": 12.25}),
        ("stddev by (r) (m)", {"r=r1": 1.5, "r=r2": 3.5}),
        ("quantile(0.5, m)", {"": 3}),
        ("quantile by (r) (0.25, m)", {"r=r1": 1.75, "r=r2": 3.75}),
        ("topk(2, m)", {"m h=d,r=r2": 9, "m h=b,r=r1": 4}),
        ("bottomk(2, m)", {"m h=a,r=r1": 1, "m h=c,r=r2": 2}),
        ("topk by (r) (1, m)", {"m h=b,r=r1": 4, "m h=d,r=r2": 9}),
        ("topk(0, m)", {}),
        ("topk(100, m) > 3", {"m h=d,r=r2": 9, "m h=b,r=r1": 4}),
        ('count_values("v", m > bool 3)', {"v=0": 2, "v=1": 2}),
        ('count_values by (r) ("r", m > bool 3)', {"r=0": 2, "r=1": 2}),
        ("sum(nothing)", {}),
        ("sum(sum by (r) (m) > 5)", {"": 11}),
    ],
)
def test_aggregations_give_what_is_worked_out_by_hand(text: str, expected: dict[str, float]) -> None:
    found = numbers(text, racks())
    assert found == pytest.approx(expected)
    if text.startswith(("topk", "bottomk")):
        assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("min(m)", 1), ("max(m)", 3), ("sum(m)", NAN), ("quantile(0, m)", NAN), ("quantile(1, m)", 3),
        ("stdvar(m)", NAN),
        ("quantile(-1, m)", -INF), ("quantile(2, m)", INF), ("quantile(NaN, m)", NAN), ("count(m)", 3),
    ],
)  # fmt: skip
def test_nan_among_the_values_is_treated_as_prometheus_does(text: str, expected: float) -> None:
    assert number(text, gauges(a=NAN, b=3, c=1)) == pytest.approx(expected, nan_ok=True)


def test_topk_takes_nan_only_when_nothing_else_is_left() -> None:
    assert list(numbers("topk(2, m)", gauges(a=NAN, b=3, c=1))) == ["m h=b", "m h=c"]
    assert list(numbers("bottomk(2, m)", gauges(a=NAN, b=3, c=1))) == ["m h=c", "m h=b"]
    assert list(numbers("topk(3, m)", gauges(a=NAN, b=3, c=1))) == ["m h=b", "m h=c", "m h=a"]


def test_an_average_stays_finite_where_the_sum_does_not() -> None:
    assert number("avg(m)", gauges(a=1.5e308, b=1.7e308)) == pytest.approx(1.6e308)


@pytest.mark.parametrize(
    ("text", "message"),
    [("topk(NaN, m)", "the parameter of topk is NaN or infinite"), ('count_values("", m)', "invalid label name")],
)
def test_parameters_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        instant(text, START, racks())


def test_levels_outside_zero_to_one_are_warned_of() -> None:
    assert instant("quantile(1.5, m)", START, racks()).warnings == ["quantile value should be between 0 and 1, got 1.5"]


def test_a_sum_of_histograms_is_their_merge_and_an_average_its_share() -> None:
    source = sketched("lat", a=[[1, 2, 2]], b=[[2, 100]])
    assert histograms("sum(lat)", source) == {"": (6, cell_counts([1, 2, 2, 2, 100]), 5.0, 107.0)}
    halves = {cell: count / 2 for cell, count in cell_counts([1, 2, 2, 2, 100]).items()}
    assert histograms("avg(lat)", source) == {"": (6, halves, 2.5, 53.5)}
    assert numbers("count(lat)", source) == {"": 2}
    assert numbers("group by (h) (lat)", source) == {"h=a": 1, "h=b": 1}


@pytest.mark.parametrize("name", ["min", "max", "stddev", "stdvar", "quantile(0.5, ", "topk(1, ", "bottomk(1, "])
def test_other_aggregations_leave_histograms_out_and_say_so(name: str) -> None:
    text = f"{name}lat)" if "(" in name else f"{name}(lat)"
    answer = instant(text, START, sketched("lat", a=[[1]]))
    assert len(answer.labels) == 0
    assert answer.infos == [f"ignored histogram in {name.split('(', maxsplit=1)[0]} aggregation"]


def test_numbers_and_histograms_in_one_group_have_no_sum() -> None:
    both = MemorySource(
        {series("x", h="a"): ([START], [1], False), series("x", h="b"): ([START], [2], False)},
        sketched("x", c=[[1]]).sketches,  # type: ignore[arg-type]
    )
    for name in ("sum", "avg"):
        answer = instant(f"{name}(x)", START, both)
        assert len(answer.labels) == 0
        assert answer.warnings == ["encountered a mix of histograms and floats for aggregation"]
    answer = instant("sum by (h) (x)", START, both)
    assert (answer.float_values.tolist(), len(answer.histograms), answer.warnings) == ([1, 2], 1, [])
    assert numbers("count(x)", both) == {"": 3}


@pytest.mark.parametrize(
    "text",
    [
        "sum(rate(latency_us[1m]))",
        "sum by (rack) (increase(size_bytes[45s]))",
        "sum without (host) (sum_over_time(latency_us[3m]))",
        "histogram_quantile(0.9, sum by (host, __name__) (rate(latency_us[1m])))",
        'sum(increase({__name__=~"latency_us|errors", host="a"}[1m]))',
        "sum by (rack) (increase(errors[1m]))",
    ],
)
@pytest.mark.parametrize("step_s", [10, 60, 130])
def test_a_source_that_merges_early_changes_no_answer(text: str, step_s: int) -> None:
    source = full_world()
    merging = source.merging()
    plain = points(range_query(text, START, END, step_s * S, source))
    early = points(range_query(text, START, END, step_s * S, merging))
    assert plain.keys() == early.keys()
    assert all(same(plain[key], early[key]) for key in plain)
    (request,) = merging.requests
    assert request.addable
    assert request.grouping is not None
    assert "__name__" not in request.grouping.labels


@pytest.mark.parametrize(
    "text", ["avg(rate(latency_us[1m]))", "sum(count_over_time(latency_us[1m]))", "sum(latency_us)"]
)
def test_only_sums_of_added_deltas_may_be_merged_early(text: str) -> None:
    source = full_world()
    instant(text, END, source)
    assert source.requests[0].grouping is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), min_size=1, max_size=6), st.floats(0, 1))
def test_the_quantile_of_a_sum_is_that_of_one_sketch_over_all_values(values: list[list[float]], q: float) -> None:
    source = sketched("lat", **{f"h{i}": [own] for i, own in enumerate(values)})
    merged = one_sketch([value for own in values for value in own])
    expected = float(merged.quantiles([q], "prometheus")[0, 0])
    assert number(f"histogram_quantile({q!r}, sum(lat))", source) == pytest.approx(expected, rel=1e-12)
    assert number(f"histogram_quantile({q!r}, sum(increase(lat[10s])))", source) == pytest.approx(expected, rel=1e-12)


def test_values_that_would_make_too_many_series_are_refused() -> None:
    with pytest.raises(TooMuchError, match="points of count_values"):
        range_query('count_values("v", temp)', START, END, S, full_world(), Limits(max_samples=100_000))
