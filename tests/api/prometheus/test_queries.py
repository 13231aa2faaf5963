"""query and query_range over a store of known records: values, formats, parameters, refusals."""

import json

import numpy as np
import polars as pl
import pytest

from api.config import ApiConfig, PrometheusConfig
from tests.api.world import BEGIN_NS, END_NS, NOW_NS, SECOND_NS, asking

BEGIN, END, NOW = (at // SECOND_NS for at in (BEGIN_NS, END_NS, NOW_NS))
QUERY, RANGE = "/prometheus/api/v1/query", "/prometheus/api/v1/query_range"


def instant(client, query, time=END, **given):
    response = client.get(QUERY, query=query, time=str(time), **given)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def value(client, query, time=END):
    """The only number of the answer."""
    (one,) = instant(client, query, time)["result"]
    return float(one["value"][1])


def ranged(client, query, start, end, step, **given):
    response = client.get(RANGE, query=query, start=str(start), end=str(end), step=str(step), **given)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def refused(response, status, error_type):
    """The sentence of a refusal in Prometheus' envelope."""
    body = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert (body["status"], body["errorType"], set(body)) == ("error", error_type, {"status", "errorType", "error"})
    assert response.headers["cache-control"] == "no-store"
    return body["error"]


def test_p99_agrees_with_the_native_route_within_the_error_bound(world, client):
    for by in ([], ["host"], ["host", "tor"]):
        native = client.over_the_minute("/api/v1/quantiles", metric="probe_rtt_us", q="0.99", by=",".join(by)).json()
        found = instant(client, f"histogram_quantile(0.99, sum by ({','.join(by)}) (rate(probe_rtt_us[1m])))")["result"]
        assert len(found) == len(native["groups"]) > 0
        by_labels = {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}
        for group in native["groups"]:
            here = by_labels[json.dumps(group["labels"], sort_keys=True)]
            exact = np.sort(records_of(world, group["labels"])["rtt_us"].to_numpy())
            bound = group["error_bound"]
            # Both are within the bound of a value at the rank; Prometheus' rule may mean the one beside it.
            ranks = [int(np.ceil(0.99 * exact.size)) - 1 + away for away in (-1, 0, 1)]
            low, high = exact[ranks[0]] * (1 - bound), exact[min(ranks[2], exact.size - 1)] * (1 + bound)
            assert low <= here <= high
            assert low <= group["values"][0]["value"] <= high


def records_of(world, labels):
    found = world.records
    for name, wanted in labels.items():
        found = found.filter(pl.col(name) == wanted)
    return found


def test_counts_and_sums_are_deltas_and_extremes_and_averages_are_readings(world, client):
    rtts = world.records["rtt_us"]
    assert value(client, "sum(increase(probes_total[1m]))") == 6_000
    assert value(client, "sum(sum_over_time(probes_total[30s]))") == 3_000
    assert value(client, "sum(probes_total)") == 1_000  # the newest window alone
    assert value(client, "sum(increase(probe_rtt_sum_us[1m]))") == rtts.sum()
    assert value(client, "max(max_over_time(probe_rtt_max_us[1m]))") == rtts.max()
    assert value(client, "min(min_over_time(probe_rtt_min_us[1m]))") == rtts.min()
    assert value(client, "histogram_count(sum(increase(probe_rtt_us[1m])))") == 6_000
    assert value(client, "histogram_sum(sum(increase(probe_rtt_us[1m])))") == rtts.sum()
    last = world.records.filter((pl.col("ts") >= END_NS - 10 * SECOND_NS) & (pl.col("host") == "host0"))
    wanted = dict(last.group_by("tor").agg(pl.col("rtt_us").mean()).iter_rows())
    found = instant(client, 'probe_rtt_mean_us{host="host0"}')["result"]
    assert {one["metric"]["tor"]: float(one["value"][1]) for one in found} == pytest.approx(wanted)


def test_a_sketch_metric_is_a_native_histogram(world, client):
    (one,) = instant(client, "sum(increase(probe_rtt_us[1m]))")["result"]
    assert set(one) == {"metric", "histogram"}
    time, histogram = one["histogram"]
    assert time == END
    buckets = [(rule, float(low), float(high), float(n)) for rule, low, high, n in histogram["buckets"]]
    assert histogram["count"] == "6000" == f"{sum(n for *_, n in buckets):g}"
    rtts = world.records["rtt_us"].to_numpy()
    zeros = [bucket for bucket in buckets if bucket[0] == 3]
    assert sum(n for *_, n in zeros) == (rtts == 0).sum()
    for rule, low, high, n in buckets:
        if rule == 0:
            assert ((rtts > low) & (rtts <= high)).sum() == n
    (ranges,) = ranged(client, "sum(increase(probe_rtt_us[10s]))", BEGIN + 10, END, 10)["result"]
    assert [point[0] for point in ranges["histograms"]] == list(range(BEGIN + 10, END + 1, 10))
    assert {point[1]["count"] for point in ranges["histograms"]} == {"1000"}


def test_negative_zero_and_infinite_values_have_their_buckets(world, client):
    (one,) = instant(client, "sum(increase(odd_ratio[1m]))")["result"]
    odd = world.records["odd"].drop_nulls().to_numpy()
    histogram = one["histogram"][1]
    assert float(histogram["count"]) == odd.size
    assert histogram["sum"] == "NaN"
    buckets = {(rule, low, high): float(n) for rule, low, high, n in histogram["buckets"]}
    largest = "1.7976931348623157e+308"
    assert buckets[0, largest, "+Inf"] == (odd == np.inf).sum()
    assert buckets[1, "-Inf", f"-{largest}"] == (odd == -np.inf).sum()
    assert buckets.get((3, "-0", "0"), 0) == (odd == 0).sum()
    assert sum(buckets.values()) == (~np.isnan(odd)).sum()
    for (rule, low, high), n in buckets.items():
        if rule == 1 and low != "-Inf":
            assert ((odd >= float(low)) & (odd < float(high))).sum() == n


def test_a_range_query_has_a_point_at_every_step_that_has_data(client):
    for method in ("GET", "POST"):
        given = {
            "query": "sum by (host) (increase(probes_total[20s]))",
            "start": f"{BEGIN}",
            "end": f"{END}.5",
            "step": "15",
        }
        sent = {"data": given} if method == "POST" else {"params": given}
        data = client.request(method, RANGE, **sent).json()["data"]
        assert data["resultType"] == "matrix"
        assert [one["metric"] for one in data["result"]] == [{"host": "host0"}, {"host": "host1"}]
        for one in data["result"]:
            # Windows end at whole tens; the range at +15 s holds only the first one.
            assert one["values"] == [
                [BEGIN + 15, "500"],
                [BEGIN + 30, "1000"],
                [BEGIN + 45, "1000"],
                [BEGIN + 60, "1000"],
            ]


def test_a_scalar_over_a_range_is_one_series_without_labels(client):
    data = ranged(client, "1 + 1", BEGIN, BEGIN + 0.5, "0.25")
    assert data == {"resultType": "matrix", "result": [{"metric": {}, "values": [
        [BEGIN, "2"], [BEGIN + 0.25, "2"], [BEGIN + 0.5, "2"]]}]}  # fmt: skip


def test_scalars_strings_and_raw_samples_have_their_types(client):
    assert instant(client, "1e21", 4) == {"resultType": "scalar", "result": [4, "1" + 21 * "0"]}
    assert instant(client, '"x"', 4.5) == {"resultType": "string", "result": [4.5, "x"]}
    data = instant(client, 'probe_rtt_max_us{host="host1",tor=~"t:0.*"}[20s]')
    assert (data["resultType"], len(data["result"])) == ("matrix", 1)
    assert [time for time, _ in data["result"][0]["values"]] == [END - 10, END]
    assert instant(client, "nothing") == {"resultType": "vector", "result": []}
    assert ranged(client, "nothing", BEGIN, END, 10) == {"resultType": "matrix", "result": []}


def test_the_time_is_now_unless_given_and_may_be_rfc_3339(client):
    assert client.get(QUERY, query="1").json()["data"]["result"][0] == NOW
    assert client.get(QUERY, query="1", time="").json()["data"]["result"][0] == NOW
    time, shown = instant(client, "time()", "2026-11-22T07:01:00.250Z")["result"]
    assert (time, float(shown)) == (END + 0.25, pytest.approx(END + 0.25, rel=1e-15))
    assert instant(client, "1", "2026-11-22T08:01:00+01:00")["result"][0] == END
    assert instant(client, "1", f"{END}.0006")["result"][0] == END + 0.001
    assert instant(client, "1", "-5")["result"][0] == -5


def test_a_window_is_seen_from_its_end_until_the_lookback_is_over(client):
    count = "count(probes_total)"
    assert instant(client, count, f"{BEGIN + 9}.999")["result"] == []
    assert value(client, count, BEGIN + 10) == 6
    assert value(client, count, END + 299) == 6
    assert instant(client, count, END + 300)["result"] == []
    assert instant(client, count, END + 60, lookback_delta="1m")["result"] == []
    assert refused(client.get(QUERY, query="1", lookback_delta="0s"), 400, "bad_data")


def test_a_form_and_a_query_string_are_one_and_the_form_comes_first(client):
    response = client.request("POST", f"{QUERY}?time={END}&query=2", data={"query": "1"})
    assert response.json()["data"] == {"resultType": "scalar", "result": [END, "1"]}
    multipart = client.request("POST", QUERY, files={"query": (None, "3"), "time": (None, f"{END}")})
    assert multipart.json()["data"] == {"resultType": "scalar", "result": [END, "3"]}
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nx"),
        ("text/xml", b"<"),
    ):
        response = client.request("POST", QUERY, content=body, headers={"Content-Type": kind})
        assert refused(response, 400, "bad_data")


def test_answers_about_now_are_not_stored_and_settled_ones_for_a_minute(client):
    for time, wanted in ((NOW, "no-store"), (NOW - 299, "no-store"), (NOW - 301, "private, max-age=60")):
        assert client.get(QUERY, query="1", time=str(time)).headers["cache-control"] == wanted
        ends = client.get(RANGE, query="1", start=str(time - 5), end=str(time), step="5")
        assert ends.headers["cache-control"] == wanted


def test_a_limit_cuts_series_and_says_so(client):
    for query in ("probes_total", "probe_rtt_us", '{__name__=~"probes_total|probe_rtt_us"}'):
        body = client.get(QUERY, query=query, time=str(END), limit="2").json()
        assert len(body["data"]["result"]) == 2
        assert body["warnings"] == ["results truncated due to limit"]
        assert body["data"]["result"] == instant(client, query)["result"][:2]
    assert "warnings" not in client.get(QUERY, query="probes_total", time=str(END), limit="6").json()


def test_averaging_percentiles_says_what_to_write_instead(client):
    body = client.get(QUERY, query="avg(histogram_quantile(0.99, probe_rtt_us))", time=str(END)).json()
    assert "sum(" in body["infos"][0]


@pytest.mark.parametrize(
    ("path", "given", "words"),
    [
        (QUERY, {}, 'invalid parameter "query": 1:1: parse error: no expression found in input'),
        (QUERY, {"query": "sum("}, 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'),
        (QUERY, {"query": "1", "time": "1e300"}, "to a valid timestamp"),
        (QUERY, {"query": "1", "time": "NaN"}, "to a valid timestamp"),
        (QUERY, {"query": "1", "time": "Inf"}, "to a valid timestamp"),
        (QUERY, {"query": "1", "time": "-5m"}, "to a valid timestamp"),
        (QUERY, {"query": "1", "time": "2026-13-01T00:00:00Z"}, "to a valid timestamp"),
        (QUERY, {"query": "1", "timeout": "zz"}, 'parameter "timeout": cannot parse "zz" to a valid duration'),
        (QUERY, {"query": "1", "limit": "-1"}, "non-negative"),
        (QUERY, {"query": "1", "limit": "x"}, "number"),
        (RANGE, {"query": "1"}, 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        (RANGE, {"query": "1", "start": "1", "end": "0", "step": "1"}, 'parameter "end": end timestamp must not be'),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "0"}, 'parameter "step": zero or negative query'),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "-1"}, 'parameter "step": zero or negative query'),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "zz"}, 'cannot parse "zz" to a valid duration'),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "NaN"}, 'cannot parse "NaN" to a valid duration'),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "1e300"}, "It overflows int64"),
        (RANGE, {"query": "1", "start": "1", "end": "2", "step": "999999y"}, "It overflows int64"),
        (RANGE, {"query": "1", "start": "0", "end": "11001", "step": "1"}, "exceeded maximum resolution of 11,000 p"),
        (RANGE, {"query": "1", "start": "0", "end": "1795330860", "step": "1ms"}, "exceeded maximum resolution"),
        (RANGE, {"query": "x[5m]", "start": "0", "end": "1", "step": "1"}, 'invalid expression type "range vector"'),
        (RANGE, {"query": '"x"', "start": "0", "end": "1", "step": "1"}, 'invalid expression type "string" for range'),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_bad_data_in_the_words_of_prometheus(client, path, given, words):
    for method in ("GET", "POST"):
        sent = {"data": given} if method == "POST" else {"params": given}
        text = refused(client.request(method, path, **sent), 400, "bad_data")
        assert words in text
        assert len(text) < 400


def test_the_most_points_that_are_answered_are_11001(client):
    assert len(ranged(client, "1", 0, 11_000, 1)["result"][0]["values"]) == 11_001


@pytest.mark.parametrize("query", ["foo(1)", "x[5m:1m]", "x * on (a) group_left y", "predict_linear(x[5m], 1)"])
def test_what_this_server_has_not_is_422_and_says_so(client, query):
    assert "not supported by this server" in refused(client.get(QUERY, query=query), 422, "execution")


@pytest.mark.parametrize(
    ("config", "query", "words"),
    [
        (PrometheusConfig(max_series=5), "probes_total", "6 series (of probes_total), at most 5 are read"),
        (PrometheusConfig(max_samples=30), "probes_total[1m]", "about 36 samples, at most 30 are read"),
        (PrometheusConfig(max_sketches=30), "histogram_count(sum(rate(probe_rtt_us[1m])))", "36 sketches and keep 2"),
        (PrometheusConfig(max_sketches=100), "probe_rtt_us[1m]", "36 sketches and keep 36"),
        (PrometheusConfig(max_samples=500), "probe_rtt_us[1m]", "are held at a time"),
    ],
)  # fmt: skip
def test_what_would_read_too_much_is_refused_with_estimate_and_limit(world, config, query, words):
    with asking(world.url, ApiConfig(prometheus=config)) as client:
        assert words in refused(client.get(QUERY, query=query, time=str(END)), 422, "execution")
        assert value(client, "sum(increase(probes_total{tor='t:0, a'}[20s]))") == 666


def test_selectors_match_names_and_labels_and_see_missing_labels_as_empty(client):
    def count(selector):
        found = instant(client, f"count({selector})")["result"]
        return int(found[0]["value"][1]) if found else 0

    assert count('{__name__=~"probe.*_us"}') == 30
    assert count('{__name__=~"probe"}') == 0  # anchored
    assert count('{__name__!~"probe_.*|odd.*",host="host1"}') == 3 == count('probes_total{host!="host0"}')
    assert count('probes_total{host=~"host.",tor!~"t:[01], a"}') == 2
    assert count('probes_total{rack=""}') == count('probes_total{rack!="x"}') == 6
    assert count('probes_total{rack!=""}') == count('probes_total{"no such ☃"="x"}') == 0
    text = refused(client.get(QUERY, query='probes_total{host=~"("}'), 400, "bad_data")
    assert "regex" in text
