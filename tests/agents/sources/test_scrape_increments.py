"""What pages of one target become, one after the other."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sources.scrape_increments import Increments
from agents.sources.scrape_page import text_page
from agents.sources.scrape_targets import target_of
from pipeline.sketch_cells import bytes_of
from quantiles.dense_bodies import HEAD
from quantiles.merged_dense import merge_dense
from quantiles.sketch_column import SketchColumn

TARGET = target_of("app:9100", "shop", {"zone": "b"})


def increments(*declared: str, forget_s: float = 300.0) -> Increments:
    return Increments(TARGET, declared, forget_s)


def fed(one: Increments, text: str, now_s: float, *, openmetrics: bool = False) -> pl.DataFrame:
    end = "# EOF\n" if openmetrics else ""
    return one.rows(text_page((text + end).encode(), openmetrics=openmetrics, before=one.keys), now_s)


def values(rows: pl.DataFrame) -> dict[str, float]:
    return dict(rows.select("name", "value").rows())


COUNTER = "# TYPE c_total counter\nc_total {}\n"


def test_a_counter_gives_what_it_gained_from_the_second_page_on() -> None:
    one = increments()
    assert [values(fed(one, COUNTER.format(n), at)) for at, n in enumerate([5, 7, 7, 12.5])] == [
        {}, {"c_total": 2}, {"c_total": 0}, {"c_total": 5.5},
    ]  # fmt: skip


def test_a_counter_that_fell_was_reset_and_gives_all_it_shows() -> None:
    one = increments()
    found = [values(fed(one, COUNTER.format(n), at)) for at, n in enumerate([5, 3, 4])]
    assert found == [{}, {"c_total": 3}, {"c_total": 1}]
    assert one.events["resets"] == 1


def test_a_later_created_time_is_a_reset_also_where_the_counter_stands_higher() -> None:
    one = increments()
    text = "# TYPE c counter\nc_total {}\nc_created {}\n"
    found = [
        values(fed(one, text.format(*pair), at, openmetrics=True))
        for at, pair in enumerate([(5, 100), (7, 100), (9, 250), (10, 250)])
    ]
    assert found == [{}, {"c_total": 2}, {"c_total": 9}, {"c_total": 1}]
    assert one.events["resets"] == 1


def test_a_series_that_comes_up_later_counts_from_zero_and_one_that_was_away_from_where_it_was() -> None:
    one = increments("code")
    head = "# TYPE c_total counter\n"
    a, b = 'c_total{{code="200"}} {}\n', 'c_total{{code="500"}} {}\n'
    pages = [a.format(10), a.format(11) + b.format(4), a.format(12), b.format(6) + a.format(13)]
    found = [dict(fed(one, head + page, at).select("code", "value").rows()) for at, page in enumerate(pages)]
    assert found == [{}, {"200": 1, "500": 4}, {"200": 1}, {"500": 2, "200": 1}]


def test_after_a_long_gap_counters_begin_anew() -> None:
    one = increments(forget_s=60)
    found = [values(fed(one, COUNTER.format(n), at)) for at, n in [(0, 1), (60, 2), (121, 500), (130, 501)]]
    assert found == [{}, {"c_total": 1}, {}, {"c_total": 1}]
    assert one.events["begun_anew"] == 1


def test_a_counter_that_is_no_number_for_a_while_loses_nothing() -> None:
    one = increments()
    found = [values(fed(one, COUNTER.format(n), at)) for at, n in enumerate([5, "NaN", 9])]
    assert found == [{}, {}, {"c_total": 4}]
    assert one.events["bad_values"] == 1


@pytest.mark.parametrize("bad", ["-1", "+Inf", "-Inf"])
def test_a_counter_that_none_can_be_gives_nothing_and_is_counted(bad: str) -> None:
    one = increments()
    fed(one, COUNTER.format(1), 0)
    assert values(fed(one, COUNTER.format(bad), 1)) == {}
    assert one.events["bad_values"] == 1


@pytest.mark.parametrize("bad", ["-5", "+Inf", "NaN"])
def test_what_no_counter_can_be_is_nothing_to_compare_the_next_page_with(bad: str) -> None:
    one = increments()
    found = [values(fed(one, COUNTER.format(n), at)) for at, n in enumerate([10, bad, 11])]
    assert found == [{}, {}, {"c_total": 1}]
    assert one.events["resets"] == 0


def test_a_counter_that_was_reset_while_it_was_no_number_gives_all_it_shows() -> None:
    one = increments()
    text = "# TYPE c counter\nc_total {}\nc_created {}\n"
    pairs = [(5, 100), ("-1", 250), (9, 250)]
    found = [values(fed(one, text.format(*pair), at, openmetrics=True)) for at, pair in enumerate(pairs)]
    assert found == [{}, {}, {"c_total": 9}]


@pytest.mark.parametrize("reading", ["-5", "-Inf"])
def test_a_series_that_was_a_reading_before_begins_anew_as_a_counter_and_as_a_bucket(reading: str) -> None:
    one = increments()
    gauge, counter = "# TYPE c_total gauge\nc_total {}\n", COUNTER
    assert [values(fed(one, text, at)) for at, text in enumerate([gauge.format(reading), counter.format(7)])][1] == {}
    assert values(fed(one, counter.format(9), 2)) == {"c_total": 2}
    one = increments()
    bucket = 'h_bucket{{le="+Inf"}} {}\n'
    fed(one, bucket.format(reading), 0)
    found = [fed(one, "# TYPE h histogram\n" + bucket.format(n), at) for at, n in ((1, 7), (2, 9))]
    assert [rows["count"].to_list() for rows in found] == [[], []]
    assert one.events["histogram_no_bounds"] == 1


def test_a_series_that_was_away_for_longer_than_a_window_begins_anew() -> None:
    one = increments("code", forget_s=60)
    a, b = 'c_total{{code="200"}} {}\n', 'c_total{{code="500"}} {}\n'
    pages = [(0, a.format(10) + b.format(1))] + [(at, a.format(10)) for at in range(10, 100, 10)]
    # A series that comes up meanwhile does not change what is remembered.
    pages += [(100, a.format(10) + 'c_total{code="404"} 1\n'), (110, b.format(900) + a.format(11))]
    pages += [(120, b.format(903) + a.format(11))]
    found = [dict(fed(one, "# TYPE c_total counter\n" + page, at).select("code", "value").rows()) for at, page in pages]
    assert found[-2:] == [{"200": 1}, {"500": 3, "200": 0}]


def test_series_that_come_and_go_are_remembered_up_to_a_bound() -> None:
    one = increments("n")
    for at in range(20):
        fed(one, "# TYPE c_total counter\n" + "".join(f'c_total{{n="{at}.{n}"}} 5\n' for n in range(200)), at)
    assert len(one._gone) == 1000
    rows = fed(one, '# TYPE c_total counter\nc_total{n="18.0"} 7\nc_total{n="3.0"} 7\n', 20)
    assert dict(rows.select("n", "value").rows()) == {"18.0": 2, "3.0": 7}


def test_readings_are_given_at_once_and_those_that_are_no_number_left_out() -> None:
    one = increments()
    text = '# TYPE g gauge\ng 1.5\nnobody_told 3\n# TYPE n gauge\nn NaN\n# TYPE s summary\ns{quantile="0.5"} 2\n'
    rows = fed(one, text, 0)
    assert rows.select("name", "kind", "value").rows() == [
        ("g", "gauge", 1.5), ("nobody_told", "unknown", 3), ("s", "summary", 2),
    ]  # fmt: skip
    assert one.events["not_a_number"] == 1


def test_declared_labels_become_columns_and_those_of_the_target_win() -> None:
    one = increments("code", "zone", "exported_zone", "exported_job", "path")
    rows = fed(one, 'g{code="1",zone="a",job="x",path="a\\\\b\\"c\\nd",other="9"} 1\nh{code=""} 2\n', 0)
    assert rows.select("name", "job", "instance", "code", "zone", "exported_zone", "exported_job", "path").rows() == [
        ("g", "shop", "app:9100", "1", "b", "a", "x", 'a\\b"c\nd'),
        ("h", "shop", "app:9100", None, "b", None, None, None),
    ]  # fmt: skip
    assert one.undeclared == {"other": 1}


def test_a_histogram_has_no_bound_of_its_own_also_where_that_label_is_declared() -> None:
    one = increments("le", "a")
    fed(one, histogram([0, 0, 0], 0), 0)
    text = histogram([1, 2, 3], 5) + 'untold_bucket{le="7"} 1\n'
    rows = fed(one, text, 1)
    assert rows.select("name", "le", "a").sort("name").rows() == [("h", None, "x"), ("untold_bucket", "7", None)]


def test_a_label_within_the_value_of_another_is_none() -> None:
    one = increments("code")
    rows = fed(one, 'g{path=",code=\\"7\\",x"} 1\n', 0)
    assert rows["code"].to_list() == [None]


def histogram(
    counts: list[int], total: float, bounds: tuple[str, ...] = ("0.1", "1.0", "+Inf"), kind: str = "histogram"
):
    lines = [f'h_bucket{{a="x",le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True)]
    suffixes = ("gsum", "gcount") if kind == "gaugehistogram" else ("sum", "count")
    lines += [f'h_{suffixes[0]}{{a="x"}} {total}', f'h_{suffixes[1]}{{a="x"}} {counts[-1]}']
    return "\n".join([f"# TYPE h {kind}", *lines, ""])


def sketches(rows: pl.DataFrame) -> SketchColumn:
    """One of each row."""
    return merge_dense(*bytes_of(rows["distribution"]), np.arange(rows.height), rows.height, 6)


def test_a_histogram_gives_a_sketch_of_what_it_gained() -> None:
    one = increments("a")
    assert fed(one, histogram([100, 100, 100], 5), 0).height == 0
    rows = fed(one, histogram([100, 190, 200], 105), 1)
    assert rows.select("name", "kind", "a", "value", "count").rows() == [("h", "histogram", "x", None, 100)]
    found = sketches(rows)
    assert found.totals().tolist() == [100]
    p50, p99 = found.quantiles([0.5, 0.99])[0]
    assert 0.1 <= p50 <= 1.0
    assert p50 == pytest.approx(0.1 + 0.9 * 50 / 90, rel=0.05)  # spread evenly over the bucket
    assert p99 == pytest.approx(1.0, rel=0.05)  # beyond the last bound only that is known


def test_a_histogram_without_new_values_gives_no_row() -> None:
    one = increments()
    fed(one, histogram([1, 2, 3], 5), 0)
    assert fed(one, histogram([1, 2, 3], 5), 1).height == 0


def test_a_histogram_of_which_one_bucket_fell_was_reset() -> None:
    one = increments()
    fed(one, histogram([5, 6, 7], 5), 0)
    rows = fed(one, histogram([1, 8, 9], 3), 1)
    assert rows["count"].to_list() == [9]
    assert one.events["resets"] == 1


@pytest.mark.parametrize("bad", ["-5", "+Inf", "NaN", str(2**54)])
def test_a_histogram_with_a_bucket_that_none_can_be_goes_on_from_the_page_before(bad: str) -> None:
    text = '# TYPE h histogram\nh_bucket{{le="1"}} {}\nh_bucket{{le="+Inf"}} {}\nh_sum {}\nh_count 1\n'
    for place in range(2):
        one = increments()
        fed(one, text.format(5, 9, 20), 0)
        assert fed(one, text.format(*((bad, 12) if place == 0 else (8, bad)), 23), 1).height == 0
        rows = fed(one, text.format(8, 13, 25), 2)
        assert rows["count"].to_list() == [4]
        assert np.frombuffer(rows["distribution"][0], HEAD, 1)["sum"][0] == pytest.approx(5)
        assert one.events["resets"] == 0


def test_a_gauge_histogram_stands_for_itself() -> None:
    one = increments()
    for at, count in enumerate([3, 2]):
        rows = fed(one, histogram([1, 1, count], 5, kind="gaugehistogram"), at, openmetrics=True)
        assert rows.select("kind", "count").rows() == [("gauge_histogram", count)]
    assert one.events["resets"] == 0


def test_a_histogram_whose_buckets_changed_begins_anew_and_is_counted() -> None:
    one = increments()
    fed(one, histogram([5, 6, 7], 5), 0)
    assert fed(one, histogram([5, 6, 6, 8], 5, ("0.1", "1.0", "5.0", "+Inf")), 1).height == 0
    assert one.events["buckets_changed"] == 1
    assert fed(one, histogram([5, 6, 7, 10], 5, ("0.1", "1.0", "5.0", "+Inf")), 2)["count"].to_list() == [2]


@pytest.mark.parametrize(
    ("counts", "bounds", "event"),
    [
        ([15, 14, 16], ("0.1", "1.0", "+Inf"), "histogram_negative_count"),
        ([10, 11.5, 13], ("0.1", "1.0", "+Inf"), "histogram_not_whole"),
        ([10, float("nan"), 13], ("0.1", "1.0", "+Inf"), "bad_values"),
        ([10, 12], ("0.1", "1.0"), "histogram_bounds_not_ascending"),
        ([10, 12, 13], ("1.0", "1", "+Inf"), "histogram_bounds_not_ascending"),
        ([10, 12, 13], ("x", "1", "+Inf"), "malformed"),
    ],
)
def test_a_histogram_that_none_can_be_is_left_out_and_counted(counts, bounds, event: str) -> None:
    one = increments()
    fed(one, histogram([0] * len(bounds), 0, bounds), 0)
    rows = fed(one, histogram(counts, 3, bounds), 1)
    assert one.events[event] == 1
    if event != "malformed":
        assert rows.height == 0


def test_sum_and_count_of_a_summary_count_on_as_counters() -> None:
    one = increments()
    text = "# TYPE s summary\ns_sum {}\ns_count {}\n"
    fed(one, text.format(1.5, 2), 0)
    assert values(fed(one, text.format(4, 5), 1)) == {"s_sum": 2.5, "s_count": 3}


def test_a_declared_type_of_a_name_wins_over_its_ending() -> None:
    one = increments()
    rows = fed(one, "# TYPE h histogram\n# TYPE h_count gauge\nh_count 4\n", 0)
    assert rows.select("name", "kind", "value").rows() == [("h_count", "gauge", 4)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=2, max_size=6), st.data())
def test_what_all_pages_give_together_is_what_was_observed(gains: list[list[int]], data: st.DataObject) -> None:
    """Also where series stand in another order, and through a reset."""
    one = increments()
    reset_at = data.draw(st.integers(1, len(gains)))
    held, total = np.zeros(4, np.int64), 0
    for at, gain in enumerate(gains):
        if at == reset_at and (held > 0).any() and gain[0] < held[0]:
            held[:] = 0
        held += gain
        lines = histogram(np.cumsum(held).tolist(), 1.0, ("0.1", "0.5", "1.0", "+Inf")).splitlines()
        body = data.draw(st.permutations(lines[1:]))
        rows = fed(one, "\n".join([lines[0], *body, "c 1", ""]), at)
        found = rows.filter(pl.col("name") == "h")
        if at:
            total = sum(gain)
            assert found["count"].to_list() == ([total] if total else [])
            if total:
                assert sketches(found).totals().tolist() == [total]


def test_the_sum_of_a_sketch_is_what_the_page_says_it_gained() -> None:
    one = increments()
    fed(one, histogram([1, 2, 3], 10), 0)
    rows = fed(one, histogram([1, 12, 13], 16.5), 1)
    assert np.frombuffer(rows["distribution"][0], HEAD, 1)["sum"][0] == pytest.approx(6.5)


_SERIES = st.tuples(
    st.sampled_from(["h", "h_bucket", "h_sum", "h_count", "h_created", "h_gsum", "c", "c_total", "c_created", "s_sum"]),
    st.lists(
        st.sampled_from(
            ['le="1"', 'le="1.0"', 'le="+Inf"', 'le="NaN"', ' le = "x" ', 'a="x\\"le=\\"1\\""', 'a="}"', 'job="z"']
        ),
        max_size=3,
    ),
)
_TYPES = st.dictionaries(
    st.sampled_from(["h", "c", "s", "c_total", "h_bucket"]),
    st.sampled_from(["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "odd"]),
)
_NUMBERS = st.sampled_from(["0", "5", "7", "1e3", "-1", "NaN", "+Inf", "-Inf", "1e308", "1e-320", "9007199254740993"])
_PAGES = st.lists(st.tuples(_TYPES, st.lists(st.tuples(_SERIES, _NUMBERS), max_size=8), st.sampled_from([1, 90])))


@settings(max_examples=60, deadline=None)
@given(_PAGES)
def test_whatever_follows_whatever_counters_and_histograms_only_gain(pages: list) -> None:
    one, at = increments("a", "le", "exported_job", forget_s=60), 0
    for types, series, pause in pages:
        at += pause
        lines = [f"# TYPE {name} {kind}" for name, kind in types.items()]
        lines += [f"{name}{{{','.join(labels)}}} {number}" for (name, labels), number in series]
        rows = fed(one, "\n".join([*lines, ""]), at)
        assert all(count > 0 for count in rows["count"].drop_nulls())
        assert all(value >= 0 for value in rows.filter(pl.col("kind") == "counter")["value"])
