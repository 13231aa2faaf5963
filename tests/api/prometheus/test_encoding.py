"""Numbers and points as JSON: what Go's strconv writes, in Prometheus' order."""

import json

import numpy as np
import pytest

from api.prometheus.encoding import encoded, fixed, number_texts
from api.promql.answer import Answer
from api.promql.histograms import Histograms

NONE = np.empty(0, np.int64)
NO_HISTOGRAMS = Histograms(6, np.zeros(1, np.int64), NONE, np.empty(0), np.empty(0), np.empty(0))
WRITTEN = {
    0.5: "0.5", 1.0: "1", 0.0: "0", -3.25: "-3.25", 100.0: "100", 10.05: "10.05", 1e6: "1000000",
    123456789012345678.0: "123456789012345680", 1e20: "1" + 20 * "0", 1e21: "1e+21", 1.5e300: "1.5e+300",
    1e-6: "0.000001", 1.25e-5: "0.0000125", 9.5e-7: "9.5e-07", 5e-324: "5e-324", 2.0**-1022: "2.2250738585072014e-308",
    np.inf: "+Inf", -np.inf: "-Inf",
}  # fmt: skip


def test_numbers_are_written_as_prometheus_writes_them_in_series():
    found = number_texts(np.array([*WRITTEN, np.nan, -0.0]))
    assert [text.decode() for text in found] == [*WRITTEN.values(), "NaN", "-0"]
    assert number_texts(np.empty(0)) == []


def test_scalars_never_have_an_exponent():
    assert [fixed(number) for number in (1e21, 1e-7, -1.5e22, np.nan, np.inf)] == [
        "1" + 21 * "0", "0.0000001", "-15" + 21 * "0", "NaN", "+Inf"]  # fmt: skip


def test_every_float_survives_its_text():
    bits = np.random.default_rng(3).integers(0, 2**63, 20_000, dtype=np.int64)
    values = np.concatenate([bits.view(np.float64), np.random.default_rng(4).normal(size=20_000).round(3)])
    values = values[np.isfinite(values)]
    assert np.array_equal(np.array([float(text) for text in number_texts(values)]), values)


def test_a_matrix_keeps_numbers_and_histograms_of_a_series_together():
    histograms = Histograms(
        0,
        np.array([0, 3, 3]),
        np.array([-1076, 0, 1077]),
        np.array([2.0, 1.5, 0.0]),
        np.array([3.5, 0.0]),
        np.array([-4.0, 0.0]),
    )
    answer = Answer(
        "matrix", [{"b": "2", "__name__": 'q"\n', "a": "é"}, {}, {"x": "y"}],
        np.array([0, 0, 2]), np.array([1_000, 2_500, 1_000]) * 10**6, np.array([1.0, np.nan, 1e-7]),
        np.array([0, 1]), np.array([3_000, 1_001]) * 10**6, histograms,
    )  # fmt: skip
    text = encoded(answer, 0)
    assert text.startswith(b'{"resultType":"matrix","result":[{"metric":{"__name__"')
    assert json.loads(text)["result"] == [
        {
            "metric": {"__name__": 'q"\n', "a": "é", "b": "2"},
            "values": [[1, "1"], [2.5, "NaN"]],
            "histograms": [
                [3, {"count": "3.5", "sum": "-4", "buckets": [[1, "-2", "-1", "2"], [3, "-0", "0", "1.5"]]}]
            ],
        },
        {"metric": {}, "histograms": [[1.001, {"count": "0", "sum": "0"}]]},
        {"metric": {"x": "y"}, "values": [[1, "1e-07"]]},
    ]


@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_nothing_is_an_empty_list(kind):
    answer = Answer(kind, [], NONE, NONE, np.empty(0), NONE, NONE, NO_HISTOGRAMS)
    assert encoded(answer, 0) == b'{"resultType":"%s","result":[]}' % kind.encode()


def test_times_before_1970_and_texts_that_are_no_unicode_can_be_said():
    answer = Answer("scalar", [{}], NONE[:0], np.array([-1_500_000_000]), np.array([1.0]), NONE, NONE, NO_HISTOGRAMS)
    assert json.loads(encoded(answer, 0))["result"] == [-1.5, "1"]
    text = Answer("string", [], NONE, NONE, np.empty(0), NONE, NONE, NO_HISTOGRAMS, text="\ud800")
    assert json.loads(encoded(text, 1_500_000_000)) == {"resultType": "string", "result": [1.5, "\ud800"]}
