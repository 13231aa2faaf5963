"""Pages as protobuf, and native histograms in them."""

import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources.scrape_increments import Increments
from agents.sources.scrape_native import Native, added, bodies_of_natives
from agents.sources.scrape_page import PageError
from agents.sources.scrape_protobuf import protobuf_page
from agents.sources.scrape_targets import target_of
from quantiles.merged_dense import merge_dense
from tests.agents.sources.native_pages import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    UNTYPED,
    double,
    family,
    label,
    message,
    native,
    signed,
    varint,
    whole,
)


def rows_of(one: Increments, data: bytes, now_s: float) -> pl.DataFrame:
    return one.rows(protobuf_page(data), now_s)


def increments() -> Increments:
    return Increments(target_of("app:1", "shop"), ["path"], 300)


def test_counters_gauges_summaries_and_classic_histograms_are_as_in_the_text_format() -> None:
    buckets = message(3, whole(1, 2) + double(2, 0.5)) + message(3, whole(1, 3) + double(2, 2.0))
    page = protobuf_page(
        family("c_total", COUNTER, label("a", 'x"\n\\') + message(3, double(1, 4) + message(3, whole(1, 1000))))
        + family("g", GAUGE, message(2, double(1, -1.5)))
        + family("u", UNTYPED, message(5, double(1, 7)))
        + family("s", SUMMARY, message(4, whole(1, 3) + double(2, 9) + message(3, double(1, 0.5) + double(2, 2.5))))
        + family("h", HISTOGRAM, message(7, whole(1, 5) + double(2, 8) + buckets))
    )
    assert dict(zip(page.keys, page.values, strict=True)) == {
        'c_total{a="x\\"\\n\\\\"}': 4, 'c_created{a="x\\"\\n\\\\"}': 1000, "g": -1.5, "u": 7,
        's{quantile="0.5"}': 2.5, "s_count": 3, "s_sum": 9,
        'h_bucket{le="0.5"}': 2, 'h_bucket{le="2.0"}': 3, 'h_bucket{le="+Inf"}': 5, "h_count": 5, "h_sum": 8,
    }  # fmt: skip
    assert page.families == {"c_total": "counter", "g": "gauge", "u": "unknown", "s": "summary", "h": "histogram"}


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=60),
    st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=60),
    st.integers(0, 8), st.integers(0, 3), st.booleans(),
)  # fmt: skip
def test_what_a_native_histogram_gains_is_exactly_in_its_sketch(
    first: list[float], then: list[float], schema: int, coarser: int, packed: bool
) -> None:
    """Also when the application made its buckets wider meanwhile."""
    one = increments()
    later = max(0, schema - coarser)
    rows_of(one, family("h", HISTOGRAM, label("path", "/") + native(first, schema, packed=packed)), 0)
    rows = rows_of(one, family("h", HISTOGRAM, label("path", "/") + native(first + then, later, packed=packed)), 1)
    assert rows.select("name", "kind", "path", "count").rows() == [("h", "histogram", "/", len(then))]
    assert one.events["resets"] == 0
    cell = rows["distribution"][0]
    found = merge_dense(cell, [len(cell)], np.zeros(1, np.int64), 1, later)
    exact = np.sort(then)[max(1, math.ceil(0.5 * len(then))) - 1]
    gamma = 2.0 ** (2.0**-later)
    assert found.totals().tolist() == [len(then)]
    assert abs(found.quantiles([0.5])[0, 0] - exact) <= (gamma - 1) / (gamma + 1) * abs(exact) * (1 + 1e-6)


def test_a_native_histogram_that_was_reset_gives_all_it_shows() -> None:
    one = increments()
    pages = [native([1.0, 2.0, 3.0]), native([1.0]), native([5.0, 6.0], created=9), native([1.0, 5.0, 6.0], created=12)]
    found = [rows_of(one, family("h", HISTOGRAM, page), at)["count"].to_list() for at, page in enumerate(pages)]
    assert found == [[], [1], [2], [3]]
    assert one.events["resets"] == 3


def test_a_wider_zero_bucket_takes_in_what_was_counted_before() -> None:
    before = Native(0, 0.5, 2, 9, 9.0, {0: 3, 3: 4}, {})
    now = Native(0, 1.0, 6, 10, 9.5, {3: 4}, {})
    since = added(before, now)
    assert since is not None
    assert (since.zero_count, since.count, since.positive) == (1, 1, {})


@pytest.mark.parametrize("rounded", [0.0, math.inf])
def test_a_zero_bucket_whose_bound_is_a_rounding_off_is_no_reset(rounded: float) -> None:
    bound = math.nextafter(2.0 ** (3 / 8), rounded)
    before = Native(3, 1e-9, 1, 6, 6.0, {3: 2, 4: 3}, {})
    now = Native(3, bound, 4, 8, 9.0, {4: 4}, {})
    since = added(before, now)
    assert since is not None
    assert (since.count, since.zero_count, since.positive) == (2, 1, {4: 1})


def test_a_native_histogram_that_was_away_for_longer_than_a_window_begins_anew() -> None:
    one, gauge = increments(), family("g", GAUGE, message(2, double(1, 1)))
    pages = [(0, 5), (60, 0), (200, 0), (400, 900), (460, 903)]
    found = [
        rows_of(one, gauge + (family("h", HISTOGRAM, native([1.0] * count)) if count else b""), at)
        for at, count in pages
    ]
    assert [rows["count"].drop_nulls().to_list() for rows in found] == [[], [], [], [], [3]]


def test_a_page_with_too_many_series_is_refused_before_all_of_it_is_taken_apart() -> None:
    many = family("g", GAUGE, *(label("n", str(n)) + message(2, double(1, 1)) for n in range(10)))
    assert len(protobuf_page(many, most=10).keys) == 10
    with pytest.raises(PageError, match="more than 9 series") as refused:
        protobuf_page(many + b"\xff", most=9)
    assert refused.value.reason == "too_many_series"


def test_a_gauge_histogram_stands_for_itself() -> None:
    one = increments()
    for values in ([1.0, 2.0], [1.0]):
        rows = rows_of(one, family("h", GAUGE_HISTOGRAM, native(values)), 0)
        assert rows.select("kind", "count").rows() == [("gauge_histogram", len(values))]


def test_schemas_coarser_than_ours_are_left_out_and_counted() -> None:
    one = increments()
    rows_of(one, family("h", HISTOGRAM, native([1.0], -1)), 0)
    assert rows_of(one, family("h", HISTOGRAM, native([1.0, 8.0], -1)), 1).height == 0
    assert one.events["histogram_scale_too_coarse"] == 1


def test_native_histograms_with_counts_that_are_not_whole_or_spans_that_do_not_fit_are_left_out() -> None:
    floating = message(7, double(4, 1.5) + double(6, 0.1))
    spans = message(7, whole(1, 3) + double(6, 0.1) + message(12, signed(1, 0) + whole(2, 2**32 - 1)) + signed(13, 3))
    fallen = message(7, whole(1, 3) + double(6, 0.1) + message(12, whole(2, 1)) + signed(13, -3))
    page = protobuf_page(family("h", HISTOGRAM, floating, spans, fallen, native([1.0])))
    assert (page.malformed, len(page.native)) == (3, 1)


@pytest.mark.parametrize("data", [b"\x05abc", b"# HELP x\n", b"\xff" * 20, varint(4) + message(4, b"ab"), whole(3, 1)])
def test_what_is_no_such_page_is_refused(data: bytes) -> None:
    with pytest.raises(PageError):
        protobuf_page(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_refused(data: bytes) -> None:
    try:
        page = protobuf_page(data)
    except PageError:
        return
    assert len(page.keys) == len(page.values)


def test_a_page_with_bytes_changed_never_breaks_the_source() -> None:
    whole_page = family("h", HISTOGRAM, label("path", "/") + native([1.0, -2.0, 3.0, 0.0])) + family(
        "c_total", COUNTER, message(3, double(1, 4))
    )
    draw, outcomes = random.Random(5), set()
    for _ in range(200):
        data = bytearray(whole_page)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        one = increments()
        try:
            rows_of(one, whole_page, 0)
            rows_of(one, bytes(data), 1)
            outcomes.add("page")
        except PageError as error:
            outcomes.add(error.reason)
    assert {"page", "not_metrics", "cut_off"} <= outcomes


def test_histograms_with_huge_indices_are_refused_one_by_one() -> None:
    histograms = [Native(0, 0.0, 0, 1, 1.0, {index: 1}, {}) for index in (5, 2**31 - 1, -(2**31) + 1)]
    bodies = bodies_of_natives(histograms)
    assert (bodies.faults == 0).tolist() == [True, False, False]


@pytest.mark.parametrize("schema", [-4, 0, 8])
@pytest.mark.parametrize("sign", [1, -1])
def test_buckets_far_apart_cost_their_histogram_alone(schema: int, sign: int) -> None:
    buckets = {0: 1, 2**31 - 1: 1}
    far = Native(schema, 0.0, 0, 2, 3.0, *((buckets, {}) if sign > 0 else ({}, buckets)))
    good = Native(0, 0.0, 0, 1, 1.0, {5: 1}, {})
    assert (bodies_of_natives([good, far, good]).faults == 0).tolist() == [True, False, True]


def test_histograms_of_few_buckets_far_apart_are_made_coarser_and_take_little_memory() -> None:
    tiny, huge = -290 << 8, 300 << 8
    wide = Native(8, 0.0, 1, 6, 2.0**300, {tiny: 2, huge: 1}, {tiny: 1, huge: 1})
    near = Native(8, 0.0, 0, 2, 3.0, {0: 1, 256: 1}, {})
    bodies = bodies_of_natives([near, *[wide] * 300])
    assert not bodies.faults.any()
    assert bodies.lengths.max() < 20_000
    found = merge_dense(bodies.data, bodies.lengths, np.arange(301), 301, 8)
    assert set(found.totals().tolist()) == {2, 6}
    assert found.quantiles([1.0])[0, 0] == pytest.approx(2, rel=0.002)
    for quantile, exact in ((0.01, -(2.0**300)), (0.6, 2.0**-290), (1.0, 2.0**300)):
        assert found.quantiles([quantile])[-1, 0] == pytest.approx(exact, rel=0.05)
