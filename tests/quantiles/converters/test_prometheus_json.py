"""The JSON of the Prometheus HTTP API: its ends, rules and number format, and answers of a real server."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantiles.converters.errors import ConversionError
from quantiles.converters.prometheus import NativeHistogram, Span, from_prometheus, to_prometheus
from quantiles.converters.prometheus_json import from_prometheus_json, to_prometheus_json
from quantiles.errors import CorruptSketchError
from tests.quantiles.converters.states import sketch_of, state
from tests.quantiles.samples import moderate, numbers, scales

normal = st.one_of(numbers, moderate).filter(lambda x: x == 0 or abs(x) > 1e-300)


@given(values=st.lists(normal, max_size=40), scale=scales)
def test_answers_come_back_as_the_histogram_they_were(values: list, scale: int) -> None:
    histogram = to_prometheus(sketch_of(values, scale), as_float=True)
    answer = json.loads(json.dumps(to_prometheus_json(histogram)))
    read = from_prometheus_json(answer, schema=scale)
    assert math.isnan(histogram.sum) or read == histogram
    assert state(from_prometheus(read).sketch) == state(sketch_of(values, scale))
    found = from_prometheus_json(answer)
    finite = [x for x in values if x != 0 and not math.isinf(x)]
    assert not finite or found == read or math.isnan(read.sum)


def test_a_golden_answer() -> None:
    values = [-0.75, 0.0, 0.0, 1.0, 1.5, 2e-7, 3e21, math.inf, math.nan]
    assert to_prometheus_json(to_prometheus(sketch_of(values, 0))) == {
        "count": "9",
        "sum": "NaN",
        "buckets": [
            [1, "-1", "-0.5", "1"],
            [3, "-0", "0", "2"],
            [0, "1.1920928955078125e-07", "2.384185791015625e-07", "1"],
            [0, "0.5", "1", "1"],
            [0, "1", "2", "1"],
            [0, "2.3611832414348226e+21", "4.722366482869645e+21", "1"],
            [0, "1.7976931348623157e+308", "+Inf", "1"],
        ],
    }
    assert to_prometheus_json(to_prometheus(sketch_of([]))) == {"count": "0", "sum": "0"}


@pytest.mark.parametrize(
    ("number", "text"),
    [(1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"), (9.9e-7, "9.9e-07"), (-0.25, "-0.25")],
)
def test_numbers_are_written_as_prometheus_does(number: float, text: str) -> None:
    assert to_prometheus_json(NativeHistogram(6, 1, number))["sum"] == text


def test_the_bucket_that_begins_at_zero_is_read_when_the_schema_is_known() -> None:
    answer = {"count": "1", "sum": "5e-324", "buckets": [[0, "0", "5e-324", "1"]]}
    assert from_prometheus_json(answer, schema=6).positive_spans == (Span(-1074 << 6, 1),)


def test_the_schema_is_found_where_ends_are_least_rounded() -> None:
    histogram = to_prometheus(sketch_of([17 * 5e-324, 1.5]), as_float=True)
    assert from_prometheus_json(to_prometheus_json(histogram)) == histogram


def test_ends_cut_by_the_zero_bucket_are_read() -> None:
    histogram = NativeHistogram(
        1, 6.0, 3.0, zero_threshold=0.6, zero_count=1.0,
        negative_spans=(Span(0, 1),), negative_counts=(2.0,), positive_spans=(Span(0, 2),), positive_counts=(2.0, 1.0),
    )  # fmt: skip
    answer = to_prometheus_json(histogram)
    assert answer["buckets"][:3] == [
        [1, "-1", "-0.7071067811865475", "2"],
        [3, "-0.6", "0.6", "1"],
        answer["buckets"][2],
    ]
    wide = NativeHistogram(**{**{f: getattr(histogram, f) for f in histogram.__slots__}, "zero_threshold": 0.8})
    cut = to_prometheus_json(wide)
    assert [row[1:3] for row in cut["buckets"]] == [
        ["-1", "-0.8"],
        ["-0.8", "0.8"],
        ["0.8", "1"],
        ["1", "1.414213562373095"],
    ]
    assert from_prometheus_json(cut) == wide
    alone = {"count": "2", "sum": "2", "buckets": [[3, "-0.8", "0.8", "1"], [0, "0.8", "1", "1"]]}
    with pytest.raises(ConversionError, match="pass `schema`"):
        from_prometheus_json(alone)
    assert from_prometheus_json(alone, schema=1).positive_spans == (Span(0, 1),)


def test_ends_rounded_to_the_nearest_float_are_the_same_buckets() -> None:
    """Ends from Prometheus' own tables, some of them an ulp above ours, which are rounded down."""
    for low, high, schema, index in (
        ("0.7071067811865475", "0.7711054127039704", 3, -3),
        ("0.7711054127039704", "0.8408964152537144", 3, -2),
        ("0.5", "0.5013556375251013", 8, -255),
        ("0.5013556375251013", "0.5027149505564014", 8, -254),
    ):
        read = from_prometheus_json({"count": "1", "sum": "0.75", "buckets": [[0, low, high, "1"]]})
        assert (read.schema, read.positive_spans) == (schema, (Span(index, 1),))


def test_a_recorded_answer_of_a_real_server_is_read() -> None:
    folder = os.environ.get("TAILWATCH_TEST_DATA")
    golden = Path(folder or "") / "prometheus_goldens" / "native_vector.json"
    if not folder or not golden.exists():
        pytest.skip("TAILWATCH_TEST_DATA names no folder with prometheus_goldens/native_vector.json")
    series = json.loads(json.loads(golden.read_text())["body"])["data"]["result"]
    for one in series:
        answer = one["histogram"][1]
        read = from_prometheus_json(answer)
        sketch = from_prometheus(read, count_factor=1).sketch
        assert read.schema == 5
        assert sketch.count == round(float(answer["count"]))
        again = to_prometheus_json(read)
        assert [row[3] for row in again["buckets"]] == [row[3] for row in answer["buckets"]]
        for ours, theirs in zip(again["buckets"], answer["buckets"], strict=True):
            assert ours[0] == theirs[0]
            assert [float(x) for x in ours[1:3]] == pytest.approx([float(x) for x in theirs[1:3]], rel=1e-15)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ({}, CorruptSketchError, "a number is None"),
        ({"count": "x", "sum": "0"}, CorruptSketchError, "a number is 'x'"),
        ({"count": 1, "sum": "0"}, CorruptSketchError, "a number is 1"),
        ({"count": "1", "sum": "0", "buckets": {}}, CorruptSketchError, "buckets are dict"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "2"]]}, CorruptSketchError, "a bucket is"),
        ({"count": "1", "sum": "0", "buckets": [[4, "1", "2", "1"]]}, CorruptSketchError, "a bucket is"),
        ({"count": "1", "sum": "0", "buckets": ["abcd"]}, CorruptSketchError, "a bucket is"),
        ({"count": "1", "sum": "0", "buckets": [[0, "2", "1", "1"]]}, CorruptSketchError, "is no range"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "2", "-1"]]}, CorruptSketchError, "is no range"),
        ({"count": "1", "sum": "0", "buckets": [[0, "NaN", "2", "1"]]}, CorruptSketchError, "is no range"),
        ({"count": "2", "sum": "0", "buckets": [[0, "1", "2", "1"]] * 2}, CorruptSketchError, "the same ends"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "3", "1"]]}, ConversionError, "schema is -1"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "1.5", "1"]]}, ConversionError, "custom buckets"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "1.001", "1"]]}, ConversionError, "custom buckets"),
        ({"count": "1", "sum": "0", "buckets": [[0, "1", "1", "1"]]}, ConversionError, "custom buckets"),
        ({"count": "1", "sum": "0", "buckets": [[0, "-1", "2", "1"]]}, ConversionError, "none of an exponential"),
        ({"count": "1", "sum": "0", "buckets": [[2, "1", "2", "1"]]}, ConversionError, "none of an exponential"),
        ({"count": "1", "sum": "0", "buckets": [[3, "-Inf", "0", "1"]]}, ConversionError, "none of an exponential"),
        ({"count": "1", "sum": "0", "buckets": [[3, "1", "2", "1"]]}, ConversionError, "none of an exponential"),
    ],
)
def test_other_data_is_refused(answer: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        from_prometheus_json(answer)


text = st.sampled_from(["0", "-0", "1", "2", "0.5", "-1", "NaN", "+Inf", "-Inf", "1e308", "5e-324", "x"])


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), text, text, text).map(list), max_size=4),
    count=text,
    schema=st.none() | st.integers(-2, 9),
)
def test_any_answer_is_read_or_refused(rows: list, count: str, schema: int | None) -> None:
    with suppress(ConversionError, CorruptSketchError):
        from_prometheus(from_prometheus_json({"count": count, "sum": "NaN", "buckets": rows}, schema))
