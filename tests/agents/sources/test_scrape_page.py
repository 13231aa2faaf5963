"""Pages in the text formats: the same samples as prometheus_client's own parsers find, and nothing that breaks."""

import gzip
import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest
from prometheus_client.parser import text_string_to_metric_families

from agents.sources.scrape_page import Page, PageError, text_page

OLD = b"""# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a b"} 12 1395066363000
http_requests_total{code="500",path="}# \\"x\\" \\\\ \\n"} +3e2
# TYPE temperature gauge
temperature NaN
  temperature{ room = "attic" , } -Inf

# a comment
unheard_of{} 0x
"""


def as_dict(page: Page) -> dict[str, float]:
    return dict(zip(page.keys.to_list(), page.values.tolist(), strict=True))


def test_a_page_of_the_old_format_is_read_with_times_and_odd_labels() -> None:
    page = text_page(OLD, openmetrics=False)
    found = as_dict(page)
    assert math.isnan(found.pop("temperature"))
    assert found == {
        'http_requests_total{code="200",path="/a b"}': 12,
        'http_requests_total{code="500",path="}# \\"x\\" \\\\ \\n"}': 300,
        'temperature{ room = "attic" , }': -math.inf,
    }
    assert page.families == {"http_requests_total": "counter", "temperature": "gauge"}
    assert (page.malformed, page.example) == (1, "unheard_of{} 0x")


def test_exemplars_and_times_of_openmetrics_are_passed_over() -> None:
    page = text_page(
        b"# TYPE foo histogram\n"
        b'foo_bucket{le="1.0"} 3 # {trace="a} 7"} 0.5 1.5\nfoo_count 3 1.5\nfoo_created 1e9\n# EOF\n',
        openmetrics=True,
    )
    assert as_dict(page) == {'foo_bucket{le="1.0"}': 3, "foo_count": 3, "foo_created": 1e9}


@pytest.mark.parametrize(
    ("data", "openmetrics", "reason"),
    [
        (b"foo 1\nbar 12", False, "cut_off"),
        (b"foo 1\n", True, "cut_off"),
        (b"", True, "cut_off"),
        (b"foo \xff 1\n", False, "bad_utf8"),
        (b"<html>\n<body>hello you</body>\n</html>\n", False, "not_metrics"),
        (gzip.compress(b"foo 1\n", mtime=0) + b"\n", False, "bad_utf8"),
        (b'foo{a="1" 1\nfoo{a=1} 1\n{a="1"} 2\nfoo{a="1"b="2"} 1\nok 1\n', False, "not_metrics"),
    ],
)
def test_what_is_no_whole_page_is_refused(data: bytes, openmetrics: bool, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        text_page(data, openmetrics=openmetrics)
    assert caught.value.reason == reason


def test_a_page_with_too_many_lines_is_refused_before_it_is_taken_apart() -> None:
    data = b"no sample\n" + b'# TYPE a gauge\na{b="1"} 1\na{b="2"} 1\nc 1\n'
    assert len(text_page(data, openmetrics=False, most=4).keys) == 3
    with pytest.raises(PageError, match=r"4 series where 3 are left of max_series; most of them: a \(2\)") as caught:
        text_page(data, openmetrics=False, most=3)
    assert caught.value.reason == "too_many_series"


def test_an_empty_page_of_the_old_format_has_no_samples() -> None:
    assert as_dict(text_page(b"", openmetrics=False)) == {}


def test_a_series_that_stands_twice_is_taken_once_and_counted() -> None:
    page = text_page(b"foo 1\nbar 2\nfoo 3\n", openmetrics=False)
    assert as_dict(page) == {"foo": 1, "bar": 2}
    assert page.duplicates == 1


def test_lines_that_no_series_can_be_are_left_out_and_the_others_kept() -> None:
    bad = ["1foo 2", "foo", "foo bar", 'foo{a="b} 1', 'foo{"a.b"} 1', "foo 1 2 3", "foo{a='b'} 1", "fo\0o 1"]
    good = [f"ok{i} {i}" for i in range(20)]
    page = text_page("\n".join([*bad, *good, ""]).encode(), openmetrics=False)
    assert page.malformed == len(bad)
    assert len(page.keys) == len(good)


@pytest.mark.parametrize("line", ["foobar 7", "foo1 7", "foo17", 'foo{a="b"} 7', "foo 7 1000", "foo 7 # {} 8", "foo x"])
def test_a_line_that_only_begins_like_the_one_before_is_read_anew(line: str) -> None:
    before = text_page(b"foo 1\nbar 2\nmore 3\n", openmetrics=False)
    data = f"{line}\nbar 2\nmore 3\n".encode()
    again, anew = text_page(data, openmetrics=False, before=before.keys), text_page(data, openmetrics=False)
    assert as_dict(again) == as_dict(anew)
    assert again.malformed == anew.malformed


def test_a_page_with_the_same_series_is_compared_with_the_one_before() -> None:
    before = text_page(b"foo 1\nbar 2\n", openmetrics=False).keys
    page = text_page(b"foo 5\nbar\t NaN\n", openmetrics=False, before=before)
    assert page.keys is before
    np.testing.assert_array_equal(page.values, [5, np.nan])


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
labels = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "le")


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.tuples(names, st.dictionaries(labels, st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
                  .map(lambda d: tuple(d.items()))), st.floats(), min_size=1,
    )
)  # fmt: skip
def test_values_and_labels_are_those_that_the_library_for_python_reads(samples: dict[tuple, float]) -> None:
    def line(name: str, pairs: tuple[tuple[str, str], ...], value: float) -> str:
        quoted = ",".join('{}="{}"'.format(n, v.replace("\\", "\\\\").replace('"', '\\"')) for n, v in pairs)
        return f"{name}{{{quoted}}} {value}\n" if pairs else f"{name} {value}\n"

    text = "".join(line(name, pairs, value) for (name, pairs), value in samples.items())
    theirs = [(s.name, s.labels, s.value) for f in text_string_to_metric_families(text) for s in f.samples]
    page = text_page(text.encode(), openmetrics=False)
    assert page.malformed == page.duplicates == 0
    np.testing.assert_array_equal(page.values, [value for *_, value in theirs])
    assert [key.partition("{")[0] for key in page.keys] == [name for name, *_ in theirs]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_page_or_refused(data: bytes, openmetrics: bool) -> None:
    try:
        page = text_page(data, openmetrics=openmetrics)
    except PageError:
        return
    assert len(page.keys) == len(page.values)


def a_real_page(openmetrics: bool) -> bytes:
    registry = CollectorRegistry()
    Counter("c", "x", ["a"], registry=registry).labels("1").inc(3)
    Gauge("g", "x", registry=registry).set(1.5)
    Summary("s", "x", registry=registry).observe(2)
    Histogram("h", "x", ["a"], registry=registry).labels('"\\').observe(0.3, {"trace": "abc"} if openmetrics else None)
    return openmetrics_latest(registry) if openmetrics else generate_latest(registry)


@pytest.mark.parametrize("openmetrics", [True, False])
def test_real_pages_with_bytes_changed_or_cut_never_break_the_parser(openmetrics: bool) -> None:
    whole = a_real_page(openmetrics)
    draw = random.Random(3)
    before = text_page(whole, openmetrics=openmetrics).keys
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.randint(0, 3)):
            data[draw.randrange(len(data))] = draw.choice(b' {}",=#\n\\0aN\xff\x00')
        cut = draw.choice([len(data), draw.randrange(len(data))])
        try:
            page = text_page(bytes(data[:cut]), openmetrics=openmetrics, before=before)
        except PageError as error:
            outcomes.add(error.reason)
        else:
            outcomes.add("page")
            assert isinstance(page.keys, pl.Series)
            assert len(page.keys) == len(page.values)
    assert {"page", "cut_off", "bad_utf8"} <= outcomes
