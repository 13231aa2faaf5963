"""Operators: arithmetic, comparisons, one-to-one matching, sets, and what they do to histograms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.promql.errors import EvaluationError
from api.promql.evaluate import instant, range_query
from api.promql.histogram_arithmetic import added_cells
from tests.api.promql.asking import cell_counts, histograms, number, numbers
from tests.api.promql.worlds import START, gauges, sketched
from tests.promql_source import STALE, MemorySource, S, series


def pairs() -> MemorySource:
    """m and n of hosts a and b, n of c too."""
    floats = {
        series("m", h="a", r="1"): 6, series("m", h="b", r="2"): 8,
        series("n", h="a", r="1"): 3, series("n", h="b", r="9"): 2, series("n", h="c", r="1"): 5,
    }  # fmt: skip
    return MemorySource({key: ([START], [value], False) for key, value in floats.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7), ("7 % 4", 3), ("-7 % 4", -3), ("1 / 0", math.inf), ("0 / 0", math.nan), ("2 ^ 10", 1024),
        ("1 > bool 2", 0), ("NaN == bool NaN", 0), ("NaN != bool NaN", 1), ("5m", 300), ("0x1F", 31), ("1e3", 1000),
        ("1 atan2 1", math.pi / 4), ("(1 + 2) * 3", 9), ("- - 3", 3), ("Inf", math.inf),
    ],
)  # fmt: skip
def test_scalars_calculate(text: str, expected: float) -> None:
    assert number(text) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m * 2", {"h=a,r=1": 12, "h=b,r=2": 16}),
        ("2 - m", {"h=a,r=1": -4, "h=b,r=2": -6}),
        ("-m", {"h=a,r=1": -6, "h=b,r=2": -8}),
        ("m > 6", {"m h=b,r=2": 8}),
        ("6 < m", {"m h=b,r=2": 8}),
        ("m > bool 6", {"h=a,r=1": 0, "h=b,r=2": 1}),
        ("m / n", {"h=a,r=1": 2}),
        ("m / on(h) n", {"h=a": 2, "h=b": 4}),
        ("m / ignoring(r) n", {"h=a": 2, "h=b": 4}),
        ("m > n", {"m h=a,r=1": 6}),
        ("m > on(h) n", {"h=a": 6, "h=b": 8}),
        ("m > bool on(h) n", {"h=a": 1, "h=b": 1}),
        ("m + nothing", {}),
        ("m and n", {"m h=a,r=1": 6}),
        ("m and on(h) n", {"m h=a,r=1": 6, "m h=b,r=2": 8}),
        ("m unless n", {"m h=b,r=2": 8}),
        ("n or m", {"n h=a,r=1": 3, "n h=b,r=9": 2, "n h=c,r=1": 5, "m h=b,r=2": 8}),
        ("n or on(h) m", {"n h=a,r=1": 3, "n h=b,r=9": 2, "n h=c,r=1": 5}),
        ("m and on() vector(1)", {"m h=a,r=1": 6, "m h=b,r=2": 8}),
        ("m unless on() vector(1)", {}),
        ("m * on(h) (n > 2)", {"h=a": 18}),
        ("m and on(r) n", {"m h=a,r=1": 6}),
    ],
)
def test_vectors_meet_one_to_one_and_as_sets(text: str, expected: dict[str, float]) -> None:
    assert numbers(text, pairs()) == expected


def test_several_series_of_the_right_for_one_of_the_left_are_refused_with_both_named() -> None:
    with pytest.raises(EvaluationError) as error:
        instant("m * on(x) m", START, gauges(a=1, b=2))
    assert str(error.value) == (
        "found duplicate series for the match group {} on the right hand-side of the operation: "
        '[{__name__="m", h="b"}, {__name__="m", h="a"}];'
        "many-to-many matching not allowed: matching labels must be unique on one side"
    )


def test_several_series_of_the_left_for_one_of_the_right_are_refused() -> None:
    with pytest.raises(EvaluationError, match="multiple matches for labels: many-to-one matching must be explicit"):
        instant('n * on(r) m{h="a"}', START, pairs())
    assert numbers('n > on(r) (m{h="a"} - 3)', pairs()) == {"r=1": 5}


def test_series_that_follow_each_other_may_share_a_match() -> None:
    source = MemorySource(
        {
            series("m", h="a"): ([START, START + 10 * S], [1, STALE], False),
            series("m", h="b"): ([START + 10 * S], [2], False),
        }
    )
    answer = range_query("m * on() m", START, START + 10 * S, 10 * S, source)
    assert (answer.labels, answer.float_values.tolist()) == ([{}], [1, 4])
    later = range_query("(m > 1) * on() m", START, START + 10 * S, 10 * S, source)
    assert later.float_values.tolist() == [4]
    assert numbers("(m > 9) * on() m", gauges(a=1, b=2)) == {}
    with pytest.raises(EvaluationError, match="found duplicate series"):
        range_query("m * on() (m offset 10s)", START, START + 10 * S, 10 * S, gauges(a=1, b=2))


def test_series_that_lose_what_told_them_apart_are_refused() -> None:
    source = MemorySource({series(name): ([START], [1], False) for name in ("x", "y")})
    with pytest.raises(EvaluationError, match="vector cannot contain metrics with the same labelset"):
        instant('{__name__=~"x|y"} + 1', START, source)
    with pytest.raises(EvaluationError, match="vector cannot contain metrics with the same labelset"):
        instant('label_replace(m, "h", "same", "h", ".*")', START, gauges(a=1, b=2))


def test_histograms_are_added_subtracted_and_scaled() -> None:
    source = sketched("lat", a=[[1, 2, 2], [2, 3]])
    both = cell_counts([1, 2, 2, 2, 3])
    now = START + 10 * S
    assert histograms("lat + (lat offset 10s)", source, now) == {"h=a": (6, both, 5.0, 10.0)}
    assert histograms("sum_over_time(lat[20s]) - lat", source, now) == {"h=a": (6, cell_counts([1, 2, 2]), 3.0, 5.0)}
    doubled = {cell: 2 * count for cell, count in cell_counts([2, 3]).items()}
    assert histograms("lat * 2", source, now) == {"h=a": (6, doubled, 4.0, 10.0)}
    assert histograms("2 * lat", source, now) == {"h=a": (6, doubled, 4.0, 10.0)}
    assert histograms("lat / 0.5", source, now) == {"h=a": (6, doubled, 4.0, 10.0)}
    assert histograms("lat * on(h) m", MemorySource(gauges(a=2).floats, source.sketches))["h=a"][2] == 6  # type: ignore[arg-type]
    minus = {cell: -count for cell, count in cell_counts([2, 3]).items()}
    assert histograms("-lat", source, now) == {"h=a": (6, minus, -2.0, -5.0)}


def test_histograms_of_two_scales_are_added_at_the_coarser_one() -> None:
    from quantiles.sketch_column import SketchColumn

    fine = SketchColumn.from_values([1.0, 2.0, 700.0, -3.0, 0.0], [0] * 5, 1, scale=6)
    coarse = SketchColumn.from_values([1.5, 1e9], [0] * 2, 1, scale=2)
    source = MemorySource({}, {series("x"): ([START], fine), series("y"): ([START], coarse)})
    (found,) = histograms("x + y", source).values()
    assert found == (2, cell_counts([1, 2, 700, -3, 0, 1.5, 1e9], scale=2), 7.0, 700.0 + 1e9 + 1.5)


def test_histograms_are_equal_or_not() -> None:
    source = sketched("lat", a=[[1, 2], [1, 2]], b=[[1, 2], [1, 3]])
    now = START + 10 * S
    assert list(histograms("lat == lat offset 10s", source, now)) == ["lat h=a"]
    assert list(histograms("lat != lat offset 10s", source, now)) == ["lat h=b"]
    assert numbers("lat == bool lat offset 10s", source, now) == {"h=a": 1, "h=b": 0}
    one_bucket = sketched("lat", a=[[1.999], [2.0]])  # equal in all buckets, not in the sum
    assert numbers("lat == bool lat offset 10s", one_bucket, now) == {"h=a": 0}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("lat + 1", '"+": histogram + float'), ("1 - lat", '"-": float - histogram'),
        ("1 / lat", '"/": float / histogram'),
        ("lat > 1", '">": histogram > float'), ("lat == 1", '"==": histogram == float'),
        ("lat * lat", '"*": histogram * histogram'), ("lat > lat", '">": histogram > histogram'),
        ("lat ^ 2", '"^": histogram ^ float'),
    ],
)  # fmt: skip
def test_operators_without_meaning_for_histograms_give_nothing_and_say_so(text: str, what: str) -> None:
    answer = instant(text, START, sketched("lat", a=[[1, 2]]))
    assert len(answer.labels) == 0
    assert answer.infos == [f"incompatible sample types encountered for binary operator {what}"]


def test_sets_keep_histograms_as_they_are() -> None:
    source = MemorySource(gauges(a=1).floats, sketched("lat", a=[[1]], b=[[2, 2]]).sketches)  # type: ignore[arg-type]
    assert list(histograms("lat unless on(h) m", source)) == ["lat h=b"]
    assert list(histograms("lat and on(h) m", source)) == ["lat h=a"]
    answer = instant("m or lat", START, source)
    assert [labels["h"] for labels in answer.labels] == ["a", "b"]
    assert (answer.float_series.tolist(), answer.histogram_series.tolist()) == ([0], [1])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-60, 60), st.integers(-3, 3)), max_size=60),
    st.sampled_from([1, 1_000_000]),
)
def test_counts_add_up_by_group_and_cell_in_a_table_or_sorted(found: list[tuple[int, int, int]], wide: int) -> None:
    groups, cells, counts = np.array(found, np.int64).reshape(-1, 3).T
    expected: dict[tuple[int, int], int] = {}
    for group, cell, count in found:
        expected[group, cell * wide] = expected.get((group, cell * wide), 0) + count
    offsets, own, sums = added_cells(groups, cells * wide, counts.astype(np.float64), 6)
    owners = np.repeat(np.arange(6), np.diff(offsets)).tolist()
    got = list(zip(zip(owners, own.tolist(), strict=True), sums.tolist(), strict=True))
    assert got == sorted((key, count) for key, count in expected.items() if count)
