"""Which samples an instant sees: lookback, staleness, offsets, fixed instants, bare ranges."""

import numpy as np
import pytest

from api.promql.errors import ExpressionError, TooMuchError
from api.promql.evaluate import instant, range_query
from api.promql.limits import Limits
from tests.api.promql.asking import cell_counts, histograms, number, numbers, short
from tests.api.promql.worlds import START, full_world, gauges, one, sketched
from tests.promql_source import STALE, MemorySource, S, series


@pytest.mark.parametrize(
    ("after_s", "there"), [(0, True), (299.999, True), (300, False), (301, False), (-0.001, False)]
)
def test_a_sample_is_seen_for_less_than_five_minutes(after_s: float, there: bool) -> None:
    time_ns = START + round(after_s * S)
    assert numbers("m", one("m", [0], [7]), time_ns) == ({"m": 7.0} if there else {})


def test_a_shorter_lookback_is_kept_to() -> None:
    answer = instant("m", START + 10 * S, one("m", [0], [7]), Limits(lookback_ns=10 * S))
    assert len(answer.float_values) == 0


def test_a_stale_mark_ends_a_series_until_its_next_sample() -> None:
    source = one("m", [0, 10, 20, 30], [1, 2, STALE, 4])
    seen = [numbers("m", source, START + time * S) for time in (15, 20, 29, 30)]
    assert seen == [{"m": 2.0}, {}, {}, {"m": 4.0}]
    assert number("count_over_time(m[1m])", source, START + 30 * S) == 3
    assert numbers("timestamp(m)", source, START + 25 * S) == {}


def test_an_ordinary_nan_is_a_value() -> None:
    assert np.isnan(number("m", one("m", [0], [float("nan")])))


def test_ranges_are_open_on_the_left_and_closed_on_the_right() -> None:
    source = one("m", [0, 10, 20], [1, 2, 3])
    answer = instant("m[20s]", START + 20 * S, source)
    assert answer.kind == "matrix"
    assert answer.float_values.tolist() == [2, 3]
    assert answer.float_times_ns.tolist() == [START + 10 * S, START + 20 * S]


def test_a_bare_range_of_sketches_shows_each_window() -> None:
    answer = instant("lat[20s] offset -10s", START, sketched("lat", a=[[1, 2], [3], [4]], b=[[5]]))
    assert [labels["h"] for labels in answer.labels] == ["a", "b"]
    assert answer.histogram_series.tolist() == [0, 0, 1]
    assert answer.histograms.totals.tolist() == [2, 1, 1]
    assert answer.histogram_times_ns.tolist() == [START, START + 10 * S, START]


def test_a_bare_range_leaves_stale_marks_out() -> None:
    answer = instant("m[1m]", START + 30 * S, one("m", [10, 20, 30], [1, STALE, 3]))
    assert answer.float_values.tolist() == [1, 3]


def test_offsets_move_what_is_seen_both_ways() -> None:
    source = one("m", [0, 400], [1, 2])
    assert number("m offset 5m", source, START + 500 * S) == 1
    assert number("m offset -400s", source) == 2


def test_an_instant_selector_over_sketches_shows_the_latest_window() -> None:
    found = histograms("lat", sketched("lat", a=[[1, 2], [3]]), START + 100 * S)
    assert found == {"lat h=a": (6, cell_counts([3]), 1.0, 3.0)}


def test_names_with_dots_and_regular_expressions_select() -> None:
    source = MemorySource({series("a.b"): ([START], [1], False), series("ab"): ([START], [2], False)})
    assert numbers('{"a.b"}', source) == {"a.b": 1.0}
    assert numbers('{__name__=~"a.+"}', source) == {"a.b": 1.0, "ab": 2.0}
    assert numbers('{__name__=~"a"}', source) == {}


def test_a_label_that_is_missing_counts_as_empty() -> None:
    source = MemorySource({series("m"): ([START], [1], False), series("m", h="a"): ([START], [2], False)})
    assert numbers('m{h=""}', source) == {"m": 1.0}
    assert numbers('m{h!=""}', source) == {"m h=a": 2.0}


def test_timestamps_are_those_of_the_samples() -> None:
    source = one("m", [0], [7])
    assert number("timestamp(m)", source, START + 60 * S) == START / S
    assert number("timestamp(m + 0)", source, START + 60 * S) == START / S + 60
    assert number("timestamp(lat)", sketched("lat", a=[[1]]), START + 30 * S) == START / S


def test_times_are_exact_to_the_millisecond() -> None:
    now = START + 33_250_000_000
    assert number("time() % 60", time_ns=now) == START / S % 60 + 33.25
    assert number("timestamp(m) % 60", one("m", [33.25], [7]), now) == START / S % 60 + 33.25


def test_sketches_of_several_scales_come_at_the_coarsest() -> None:
    answer = instant('{__name__=~"latency_us|size_bytes", host="a"}', START + 900 * S, full_world())
    assert [short(labels).split()[0] for labels in answer.labels] == ["latency_us", "size_bytes"]
    assert answer.histograms.schema == 4


def test_series_come_in_the_order_of_their_labels_whatever_the_source_says() -> None:
    assert list(numbers("m", gauges(c=1, a=2, b=3))) == ["m h=a", "m h=b", "m h=c"]


@pytest.mark.parametrize(
    ("start_s", "end_s", "step_s", "message"),
    [
        (0, 10, 0, "zero or negative query resolution"),
        (0, 10, -1, "zero or negative query resolution"),
        (10, 0, 1, "end timestamp must not be before start time"),
        (
            0,
            11_000,
            1,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution",
        ),
        (0, 10**10, 1, "out of range"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(start_s: int, end_s: int, step_s: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", ".").replace("?", ".")):
        range_query("1", start_s * S, end_s * S, step_s * S, MemorySource())


def test_eleven_thousand_points_are_taken() -> None:
    assert len(range_query("1", 0, 10_999 * S, S, MemorySource()).float_values) == 11_000


@pytest.mark.parametrize(("text", "kind"), [("m[5m]", "range vector"), ('"x"', "string")])
def test_a_range_query_wants_a_scalar_or_an_instant_vector(text: str, kind: str) -> None:
    with pytest.raises(ExpressionError, match=f'invalid expression type "{kind}" for range query'):
        range_query(text, START, START, S, MemorySource())


def test_strings_and_scalars_answer_as_such() -> None:
    answer = instant('"x"', START, MemorySource())
    assert (answer.kind, answer.text) == ("string", "x")
    answer = instant("1+1", START, MemorySource())
    assert (answer.kind, answer.float_values.tolist(), answer.float_times_ns.tolist()) == ("scalar", [2.0], [START])


@pytest.mark.parametrize(
    ("text", "limits", "message"),
    [
        ("temp", Limits(max_series=2), "temp gives 3 series, at most 2 are taken"),
        ("temp[15m]", Limits(max_samples=50), "samples and buckets of temp"),
        ("latency_us[15m]", Limits(max_samples=1_000), "samples and buckets of latency_us"),
        ("latency_us", Limits(max_samples=1_000), "samples and buckets of latency_us"),
    ],
)
def test_selectors_that_give_too_much_are_refused_with_both_numbers(text: str, limits: Limits, message: str) -> None:
    with pytest.raises(TooMuchError, match=message.replace("[", ".").replace("]", ".")):
        instant(text, START + 900 * S, full_world(), limits)


@pytest.mark.parametrize(
    "text",
    [
        "temp",
        "increase(latency_us[5m])",
        "latency_us @ end()",
        'count_values("v", temp)',
        "last_over_time(latency_us[5m])",
    ],
)
def test_what_grows_over_many_steps_is_refused_before_it_is_held(text: str) -> None:
    limits = Limits(max_samples=10_000)
    with pytest.raises(TooMuchError, match="at most 10000"):
        range_query(text, START, START + 10_000 * S, S, full_world(), limits)


def test_an_interrupt_ends_the_evaluation() -> None:
    class GoneError(Exception):
        pass

    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise GoneError

    with pytest.raises(GoneError):
        instant("sum(rate(latency_us[5m]))", START, full_world(), Limits(), interrupt)
