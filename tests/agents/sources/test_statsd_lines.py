"""Lines of StatsD and DogStatsD: the fast parser says what the plain one says, of any bytes; rates, tags, gauges."""

import math
import random
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sources.bad_input import BadInput
from agents.sources.logs_lines import lines_of
from agents.sources.statsd_lines import KINDS, Lines, TagColumns, taken_apart
from agents.sources.statsd_values import Gauges, Weights
from tests.agents.sources.statsd_by_line import Value, values_of

NASTY = [
    b"", b"\n", b"\r\n", b"x", b":", b"|", b":|", b"x:|c", b":1|c", b"x:1", b"x:1|", b"x|1:c", b"x:1||c", b"x:1|c|",
    b"x:1|c||",
    b"x:1|c|@", b"x:1|c|@nan", b"x:1|c|@0", b"x:1|c|@-1", b"x:1|c|@1.1", b"x:1|c|@1e-30", b"x:1|c|#", b"x:1|c|#,,:,",
    b"x:1|c|@0.5|@0.1", b"x:1|c|#a:b|#c:d", b"x::1|c", b"x:1::2|c", b"x:1:2:|c", b"x:+|g", b"x:+-5|g", b"x:0x10|g",
    b"x:1_0|g", b"x:1e400|g", b"x:-inf|g", b"x:nan|d", b"x: 1|d", b"x:1 |d", b"x:1|C", b"x:1|mss", b"x:1|m", b"x:1|s",
    b"x:abc|s|#a:b", b"x\x00:1|c", b"x:1|c\x00", b"\xff:1|c", b"x:1|c|#\xc3\x28", b"_e{1,1}:a|b", b"_sc|x|0", b"_e:1|c",
    b"_sc:1|c", "température:1|c".encode(), b"x" * 255 + b":1|c", b"x" * 256 + b":1|c", b"x:" + b"9" * 5000 + b"|c",
    b"x:" + b":".join([b"1"] * 3000) + b"|d", b"x:1|c|T1|c:abc|e:it-false|card:low", b"x:1|c|" + b"|" * 3000,
    b"x:1|c\r", b"\rx:1|c", b"x:1\r|c", bytes(range(256)), b"\x7f:1|c",
]  # fmt: skip
NUMBERS = st.one_of(
    st.floats().map(repr), st.integers(-(10**20), 10**20).map(str), st.sampled_from(["+5", "-0", ".5", "5.", "", "1e5"])
)
FIELDS = st.one_of(
    st.floats(0, 1.5).map(lambda rate: f"@{rate!r}"),
    st.lists(st.sampled_from(["a:b", "service:web", "http.route:/x", "urgent", "service:", ""])).map(
        lambda tags: "#" + ",".join(tags)
    ),
    st.integers(0, 2**63).map("T{}".format),
    st.sampled_from(["", "c:abc", "e:x", "@", "#", "T"]),
)
LINE = st.builds(
    lambda name, values, kind, fields: "|".join([":".join([name, *values]), kind, *fields]),
    st.sampled_from(["a", "api.latency", "ünïcode", "", "a b"]), st.lists(NUMBERS, min_size=1, max_size=4),
    st.sampled_from(["c", "g", "ms", "h", "d", "s", "x", ""]), st.lists(FIELDS, max_size=4),
).map(str.encode)  # fmt: skip
SHORT = st.text("ab:|#@,cgmshdT.1+-e\r\x00é", max_size=30).map(str.encode)


def parsed(data: bytes) -> tuple[Lines, dict[str, int]]:
    bad, ignored = BadInput("test"), Counter[str]()
    lines = taken_apart(lines_of(data + b"\n"), bad, ignored)
    return lines, {**bad.counts, **ignored}


def listed(lines: Lines) -> list[Value]:
    names, tags, times = lines.names.to_list(), lines.tags.to_list(), lines.times_s.to_list()
    values, rates = lines.values.to_list(), lines.rates.to_list()
    return [
        Value(names[i], KINDS[lines.kinds[i]], values[i], bool(lines.signed[i]), rates[i], tags[i], times[i])
        for i in range(lines.which.size)
    ]


def seconds_of(value: Value) -> Value:
    """With its time as a number, where it is one that fits."""
    text = str(value.time or "")
    number = int(text) if text.lstrip("+-").isascii() and text.lstrip("+-").isdigit() and text.count("-") < 2 else None
    if number is not None and not -(2**63) <= number < 2**63:
        number = None
    return Value(value.name, value.kind, value.value, value.signed, value.rate, value.tags, number)


def agrees(data: bytes) -> None:
    counts = Counter[str]()
    wanted = values_of(data, counts)
    lines, found = parsed(data)
    assert listed(lines) == [seconds_of(value) for value in wanted]
    assert found == {reason: count for reason, count in counts.items() if count}


@given(st.lists(st.one_of(LINE, SHORT, st.sampled_from(NASTY)), max_size=20))
def test_any_lines_mean_what_the_plain_parser_says(lines: list[bytes]) -> None:
    agrees(b"\n".join(lines))


@given(st.binary(max_size=300))
def test_any_bytes_mean_what_the_plain_parser_says(data: bytes) -> None:
    agrees(data)


@pytest.mark.parametrize("data", NASTY, ids=lambda data: repr(data[:20]))
def test_a_nasty_line_means_what_the_plain_parser_says_alone_and_among_others(data: bytes) -> None:
    agrees(data)
    agrees(b"before:1:2|ms|@0.5|#a:b\n" + data + b"\nafter:3|d|#c:d")


def test_random_bytes_of_a_megabyte_are_counted_and_left_out() -> None:
    data = random.Random(1).randbytes(2**20)
    agrees(data)


def test_a_line_is_told_by_the_record_it_stands_in() -> None:
    lines, _ = parsed(b"a:1|c\nbad\nb:1:2:x:3|d\n_sc|x|0\nc:4|g")
    assert lines.which.tolist() == [0, 2, 2, 2, 4]


@given(
    st.lists(st.tuples(st.sampled_from([1.0, 0.5, 0.1, 0.3, 0.7, 1 / 3, 2.0**-32, 1e-9]), st.booleans()), max_size=60)
)
def test_weights_add_up_to_lines_over_rate_for_any_batches(lines: list[tuple[float, bool]]) -> None:
    weights, whole = Weights(), Weights()
    rates = [rate for rate, _ in lines]
    found: list[int] = []
    begin = 0
    for end in [i + 1 for i, (_, cut) in enumerate(lines) if cut] + [len(lines)]:
        found += weights.of(np.array(rates[begin:end])).tolist()
        begin = end
    assert found == whole.of(np.array(rates)).tolist()
    for rate in set(rates):
        mine = [weight for weight, own in zip(found, rates, strict=True) if own == rate]
        assert abs(sum(mine) - len(mine) / rate) < 1
        assert all(math.floor(1 / rate) <= weight <= min(2**32, math.ceil(1 / rate)) for weight in mine)


def test_rates_that_are_remembered_are_few() -> None:
    weights = Weights()
    weights.of(np.linspace(0.1, 0.9, 5000))
    assert len(weights._credit) == 1000


def test_a_gauge_is_moved_from_where_it_stands_each_series_for_itself() -> None:
    gauges = Gauges(10)
    series = pl.Series([1, 2, 1, 1, 2, 1], dtype=pl.UInt64)
    values = pl.Series([5.0, 3.0, 1.0, 7.0, -1.0, -2.0])
    moves = np.array([False, True, True, False, True, True])
    assert gauges.readings(series, values, moves).to_list() == [5, 3, 6, 7, 2, 5]
    assert gauges.readings(series, values, np.ones(6, np.bool_)).to_list() == [10, 5, 11, 18, 4, 16]
    assert gauges.readings(series[:1], values[:1], np.zeros(1, np.bool_)).to_list() == [5]
    assert gauges.readings(series[:1], values[:1], np.ones(1, np.bool_)).to_list() == [10]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-99, 99), st.booleans()), min_size=1, max_size=12), max_size=4
    )
)
def test_gauges_stand_where_line_by_line_they_would_for_any_batches(
    batches: list[list[tuple[int, int, bool]]],
) -> None:
    gauges, stand = Gauges(10), Counter[int]()
    for batch in batches:
        wanted = []
        for series, value, move in batch:
            stand[series] = stand[series] * move + value
            wanted.append(stand[series])
        found = gauges.readings(
            pl.Series([series for series, _, _ in batch], dtype=pl.UInt64),
            pl.Series([value for _, value, _ in batch], dtype=pl.Float64),
            np.array([move for _, _, move in batch]),
        )
        assert found.to_list() == wanted


def test_gauges_that_were_not_heard_of_for_longest_make_room() -> None:
    gauges = Gauges(2)
    move = np.ones(1, np.bool_)
    for series in (1, 2, 1, 3):
        gauges.readings(pl.Series([series], dtype=pl.UInt64), pl.Series([1.0]), move)
    assert (len(gauges), gauges.forgotten) == (2, 1)
    both = gauges.readings(pl.Series([1, 2], dtype=pl.UInt64), pl.Series([1.0, 1.0]), np.ones(2, np.bool_))
    assert both.to_list() == [3.0, 1.0]
    one = Gauges(1)
    one.readings(pl.Series([1, 2, 1], dtype=pl.UInt64), pl.Series([1.0, 2.0, 5.0]), np.zeros(3, np.bool_))
    assert one.readings(pl.Series([1], dtype=pl.UInt64), pl.Series([1.0]), move).to_list() == [6.0]


def test_declared_tags_become_columns_and_the_others_are_named() -> None:
    columns = TagColumns(["service", "http_route"])
    tags = pl.Series(
        ["service:web,http.route:/a", "env:prod,http-route:/b:c", None, "myservice:x,service", "service:,service:y",
         f"service:{'x' * 256}", "http_route:a,service:b", ""], dtype=pl.String,
    )  # fmt: skip
    wanted = [
        ("web", "/a"), (None, "/b:c"), (None, None), (None, None), ("y", None), (None, None), ("b", "a"), (None, None),
    ]  # fmt: skip
    for many in (1, 5):  # all different, and each several times
        assert columns.read(pl.concat([tags] * many)).rows() == wanted * many
    assert set(columns.undeclared) == {"env", "myservice"}


def test_names_of_tags_that_are_remembered_are_few() -> None:
    columns = TagColumns([])
    for batch in range(100):
        columns.read(pl.Series([f"tag{batch}x{i}:1" for i in range(50)]))
    assert len(columns.undeclared) <= 200
