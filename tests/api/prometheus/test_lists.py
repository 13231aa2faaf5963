"""labels, label values, series, metadata and the standing answers."""

import pytest

from api.config import ApiConfig, PrometheusConfig
from api.prometheus.label_names import escaped, unescaped
from api.routes.status import RELEASE
from tests.api.prometheus.test_queries import refused
from tests.api.world import END_NS, SECOND_NS, asking

V1 = "/prometheus/api/v1/"
METRICS = [
    "odd_ratio", "odd_sum_ratio", "probe_rtt_max_us", "probe_rtt_mean_us", "probe_rtt_min_us", "probe_rtt_sum_us",
    "probe_rtt_us", "probes_total",
]  # fmt: skip
TORS = ["t:0, a", "t:1, a", "t:2, a"]


def data(client, path, method="GET", **given):
    sent = {"data": given} if method == "POST" else {"params": given}
    response = client.request(method, V1 + path, **sent)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()["data"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_labels_are_those_of_the_series_that_any_selector_means(client, method):
    assert data(client, "labels", method) == ["__name__", "host", "tor"]
    assert data(client, "labels", method, **{"match[]": ["nothing", "probes_total"]}) == ["__name__", "host", "tor"]
    assert data(client, "labels", method, **{"match[]": "nothing"}) == []
    assert data(client, "labels", method, start=str(END_NS // SECOND_NS), end="2026-11-22T08:00:00Z", limit="2") == [
        "__name__", "host"]  # fmt: skip


def test_values_of_a_label_or_of_the_name(client):
    assert data(client, "label/__name__/values") == METRICS
    assert data(client, "label/tor/values") == TORS
    assert data(client, "label/tor/values", **{"match[]": ['{host="host0",tor!~".*1.*"}', "nothing"]}) == [
        TORS[0],
        TORS[2],
    ]
    assert data(client, "label/__name__/values", **{"match[]": '{__name__=~"probe_rtt_m.*"}'}) == METRICS[2:5]
    assert data(client, "label/rack/values") == data(client, "label/a.b/values") == []
    assert data(client, "label/U__tor/values") == data(client, "label/U___74_or/values") == TORS
    body = client.get(f"{V1}label/tor/values", limit="1").json()
    assert (body["data"], body["warnings"]) == (TORS[:1], ["results truncated due to limit"])


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("host", "host"),
        ("a.b", "U__a_2e_b"),
        ("a_b c", "U__a__b_20_c"),
        ("☃", "U___2603_"),
        ("1st", "U__1st"),
        ("", "U__"),
    ],
)
def test_names_beyond_the_old_alphabet_are_escaped_and_back(name, short):
    assert (escaped(name), unescaped(short)) == (short, name)


@pytest.mark.parametrize("text", ["U__a_", "U___d800_", "U___110000_", "U___zz_", "U_", "plain"])
def test_what_is_no_escaped_name_stands_for_itself(text):
    assert unescaped(text) == text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_series_are_listed_once_by_name_and_labels(client, method):
    found = data(client, "series", method, **{"match[]": ['probes_total{host="host0"}', "{__name__=~'probes.*'}"]})
    assert found == [
        {"__name__": "probes_total", "host": host, "tor": tor} for host in ("host0", "host1") for tor in TORS
    ]
    assert len(data(client, "series", method, **{"match[]": '{__name__!=""}'})) == 6 * len(METRICS)
    assert data(client, "series", method, **{"match[]": "nothing"}) == []


def test_more_series_than_one_answer_holds_are_refused_or_cut_by_limit(world):
    with asking(world.url, ApiConfig(prometheus=PrometheusConfig(max_series=4))) as client:
        asked = {"match[]": "probes_total"}
        assert "more than 4 series" in refused(client.get(f"{V1}series", **asked), 422, "execution")
        body = client.get(f"{V1}series", limit="3", **asked).json()
        assert (len(body["data"]), body["warnings"]) == (3, ["results truncated due to limit"])


@pytest.mark.parametrize("path", ["labels", "label/host/values", "series"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"match[]": "sum("}, 'invalid parameter "match[]": 1:5: parse error: unclosed left parenthesis'),
        ({"match[]": "sum(x)"}, "no series selector"),
        ({"match[]": "x[5m]"}, "no series selector"),
        ({"match[]": "x offset 1m"}, "no series selector"),
        ({"match[]": "{}"}, 'invalid parameter "match[]"'),
        ({"match[]": 'x{a=~"("}'}, 'invalid parameter "match[]"'),
        ({"match[]": "x", "start": "zz"}, "Invalid time value for 'start': cannot parse \"zz\" to a valid timestamp"),
        ({"match[]": "x", "limit": "1e3"}, "number"),
    ],
)
def test_selectors_and_times_that_cannot_be_read_are_bad_data(client, path, given, words):
    assert words in refused(client.get(V1 + path, **given), 400, "bad_data")


def test_series_need_a_selector(client):
    assert refused(client.get(f"{V1}series"), 400, "bad_data") == "no match[] parameter provided"


def test_metadata_says_type_unit_and_what_a_value_is(client):
    found = data(client, "metadata")
    assert list(found) == METRICS
    types = {name: entry["type"] for name, (entry,) in found.items()}
    assert types == {
        "odd_ratio": "histogram", "odd_sum_ratio": "counter", "probe_rtt_max_us": "gauge", "probe_rtt_mean_us": "gauge",
        "probe_rtt_min_us": "gauge", "probe_rtt_sum_us": "counter", "probe_rtt_us": "histogram",
        "probes_total": "counter",
    }  # fmt: skip
    assert found["probe_rtt_us"] == [
        {"type": "histogram", "unit": "us", "help": "distribution per window of 10 s, by query probe_rtt"}
    ]
    assert list(data(client, "metadata", metric="probes_total")) == ["probes_total"]
    assert list(data(client, "metadata", limit="2")) == METRICS[:2]
    assert data(client, "metadata", metric="nothing") == data(client, "metadata", limit="0") == {}
    assert refused(client.get(f"{V1}metadata", limit="zz"), 400, "bad_data") == "limit must be a number"


def test_buildinfo_says_whose_behaviour_this_is_and_promises_no_features(client):
    assert data(client, "status/buildinfo") == {
        "version": "3.0.0", "revision": RELEASE, "branch": "tailwatch",
        "buildUser": "", "buildDate": "", "goVersion": "",
    }  # fmt: skip


def test_what_is_not_kept_here_is_well_formed_and_empty(client):
    assert data(client, "rules") == {"groups": []}
    assert data(client, "alerts") == {"alerts": []}
    for method in ("GET", "POST"):
        given = {"query": "test", "start": "1795330800000", "end": "1795330860000"}  # Grafana sends milliseconds
        assert data(client, "query_exemplars", method, **given) == []
        assert data(client, "format_query", method, query="sum(rate(x[5m]))by(host)") == "sum by (host) (rate(x[5m]))"
    assert "parse error" in refused(client.get(f"{V1}format_query", query="sum("), 400, "bad_data")
