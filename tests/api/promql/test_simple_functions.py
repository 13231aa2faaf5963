"""Functions of one value, scalars, sorting, labels and the calendar."""

import math

import pytest

from api.promql.errors import EvaluationError
from api.promql.evaluate import instant
from tests.api.promql.asking import number, numbers
from tests.api.promql.worlds import START, gauges, sketched
from tests.promql_source import MemorySource, S

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(vector(-2))", 2), ("ceil(vector(1.2))", 2), ("floor(vector(-1.2))", -2), ("sqrt(vector(9))", 3),
        ("exp(vector(1))", math.e), ("ln(vector(0))", -INF), ("ln(vector(-1))", NAN), ("log2(vector(8))", 3),
        ("log10(vector(1000))", 3), ("sgn(vector(-3))", -1), ("sgn(vector(0))", 0), ("sgn(vector(NaN))", NAN),
        ("round(vector(2.5))", 3), ("round(vector(-2.5))", -2), ("round(vector(7.4), 0.5)", 7.5),
        ("round(vector(8), 5)", 10),
        ("clamp(vector(7), 1, 5)", 5), ("clamp(vector(NaN), 1, 5)", NAN), ("clamp_max(vector(7), 5)", 5),
        ("clamp_min(vector(7), 9)", 9), ("deg(vector(pi()))", 180), ("rad(vector(180))", math.pi),
        ("sin(vector(0))", 0),
        ("cosh(vector(0))", 1), ("acosh(vector(0))", NAN), ("atan(vector(1)) * 4", math.pi), ("scalar(vector(4))", 4),
        ("time()", START / S), ("scalar(nothing)", NAN), ("pi()", math.pi),
        ("minute()", 13), ("hour()", 22), ("day_of_week()", 2), ("day_of_month()", 14), ("day_of_year()", 318),
        ("days_in_month()", 30), ("month()", 11), ("year()", 2023),  # START is Tuesday, 14 November 2023, 22:13:20
        ("days_in_month(vector(1709210096))", 29), ("year(vector(-1))", 1969), ("month(vector(-1))", 12),
        ("day_of_week(vector(0))", 4), ("hour(vector(NaN))", NAN), ("year(vector(1e300))", NAN),
        ("minute(vector(119.9))", 1),
    ],
)  # fmt: skip
def test_functions_of_one_value(text: str, expected: float) -> None:
    assert number(text) == pytest.approx(expected, nan_ok=True)


def test_a_clamp_without_room_gives_nothing() -> None:
    assert numbers("clamp(m, 5, 1)", gauges(a=3)) == {}


def test_a_scalar_needs_exactly_one_number() -> None:
    assert math.isnan(number("scalar(m)", gauges(a=1, b=2)))
    assert number('scalar(m{h="a"})', gauges(a=1, b=2)) == 1
    assert math.isnan(number("scalar(lat)", sketched("lat", a=[[1]])))


def test_sorting_orders_an_instant_with_nan_at_the_end() -> None:
    source = gauges(a=2, b=NAN, c=1, d=3)
    assert list(numbers("sort(m)", source)) == ["m h=c", "m h=a", "m h=d", "m h=b"]
    assert list(numbers("sort_desc(m)", source)) == ["m h=d", "m h=a", "m h=c", "m h=b"]


def test_functions_of_numbers_leave_histograms_out() -> None:
    source = sketched("lat", a=[[1]])
    assert numbers("abs(lat)", source) == {}
    assert numbers("sort(lat)", source) == {}
    assert numbers("clamp_max(lat, 1)", source) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('absent(x{a="1", b!="2"})', {"a=1": 1.0}),
        ("absent(sum(x))", {"": 1.0}),
        ("absent(m)", {}),
        ("absent(x)", {"": 1.0}),
        ('absent(x{a="1", a="2"})', {"": 1.0}),
    ],
)
def test_absent_is_one_where_nothing_is(text: str, expected: dict[str, float]) -> None:
    assert numbers(text, gauges(a=1)) == expected


def test_absent_takes_a_histogram_for_present() -> None:
    assert numbers("absent(lat)", sketched("lat", a=[[1]])) == {}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('label_replace(m, "x", "$1-$2", "h", "(.)(.*)")', "m h=web1,x=w-eb1"),
        ('label_replace(m, "x", "${1}s", "h", "(web).*")', "m h=web1,x=webs"),
        ('label_replace(m, "x", "$1s", "h", "(web).*")', "m h=web1"),
        ('label_replace(m, "x", "$name!", "h", "(?P<name>w).*")', "m h=web1,x=w!"),
        ('label_replace(m, "x", "$$1$9", "h", ".*")', "m h=web1,x=$1"),
        ('label_replace(m, "x", "y", "h", "we")', "m h=web1"),
        ('label_replace(m, "h", "", "h", ".*")', "m"),
        ('label_replace(m, "x", "y", "nothing", "")', "m h=web1,x=y"),
        ('label_replace(m, "__name__", "n", "h", ".*")', "n h=web1"),
        ('label_join(m, "x", "-", "h", "nothing", "h")', "m h=web1,x=web1--web1"),
        ('label_join(m, "h", "-")', "m"),
    ],
)
def test_labels_are_replaced_and_joined(text: str, labels: str) -> None:
    assert numbers(text, gauges(web1=1)) == {labels: 1.0}


def test_labels_of_histograms_change_too() -> None:
    answer = instant('label_replace(lat, "x", "y", "h", ".*")', START, sketched("lat", a=[[1]]))
    assert (answer.labels, len(answer.histograms)) == ([{"__name__": "lat", "h": "a", "x": "y"}], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('label_replace(m, "x", "y", "h", "(")', "invalid regular expression in label_replace"),
        ('label_replace(m, "", "y", "h", ".*")', "invalid destination label name in label_replace"),
        ('label_join(m, "", "y", "h")', "invalid destination label name in label_join"),
        (f'label_replace(m, "x", "{"$0" * 1500}", "h", ".*")', "a label value of 6000 characters"),
        (f'label_replace(m, "x", "{"y" * 5000}", "h", ".*")', "a label value of 5000 characters"),
    ],
)
def test_labels_that_cannot_be_made_are_refused(text: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        instant(text, START, gauges(web1=1))


def test_an_empty_source_answers_every_function_with_nothing() -> None:
    for text in (
        "abs(m)",
        "sort(m)",
        "m + m",
        "m and m",
        "m or m",
        "topk(1, m)",
        'label_join(m, "a", "b", "c")',
        "hour(m)",
    ):
        assert numbers(text, MemorySource()) == {}
