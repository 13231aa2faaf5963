"""federate: the newest settled windows as text that a Prometheus can scrape."""

import numpy as np
import polars as pl
from prometheus_client.parser import text_string_to_metric_families

from api.config import ApiConfig, PrometheusConfig
from api.prometheus.federate import SETTLED_NS
from tests.api.prometheus.test_queries import refused
from tests.api.world import END_NS, NOW_NS, SECOND_NS, WINDOW_NS, asking

FEDERATE = "/prometheus/federate"
#: The end of the newest window that ended long enough before the tests' clock.
SHOWN_NS = (NOW_NS - SETTLED_NS) // WINDOW_NS * WINDOW_NS


def families(client, *selectors):
    response = client.request("GET", FEDERATE, params=[("match[]", text) for text in selectors])
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def in_window(world, **labels):
    found = world.records.filter((pl.col("ts") >= SHOWN_NS - WINDOW_NS) & (pl.col("ts") < SHOWN_NS))
    for name, value in labels.items():
        found = found.filter(pl.col(name) == value)
    return found["rtt_us"].to_numpy()


def test_numbers_are_gauges_of_the_newest_settled_window(world, client):
    found = families(client, '{__name__=~"probes_total|probe_rtt_max_us"}')
    assert SHOWN_NS < END_NS  # the newest window is not settled yet
    assert set(found) == {"probes_total", "probe_rtt_max_us"}
    for name, wanted in (("probes_total", len), ("probe_rtt_max_us", max)):
        assert found[name].type == "gauge"
        assert len(found[name].samples) == 6
        for sample in found[name].samples:
            assert sample.value == wanted(in_window(world, **sample.labels))
            assert sample.timestamp == SHOWN_NS / SECOND_NS
    assert "never by rate" in found["probes_total"].documentation
    assert "never by rate" not in found["probe_rtt_max_us"].documentation


def test_a_sketch_is_quantiles_count_and_sum(world, client):
    found = families(client, 'probe_rtt_us{tor="t:1, a"}')
    assert set(found) == {"probe_rtt_us", "probe_rtt_us_count", "probe_rtt_us_sum"}
    assert "cannot be averaged" in found["probe_rtt_us"].documentation
    for host in ("host0", "host1"):
        values = np.sort(in_window(world, host=host, tor="t:1, a"))
        shown = {s.labels["quantile"]: s.value for s in found["probe_rtt_us"].samples if s.labels["host"] == host}
        assert set(shown) == {"0.5", "0.9", "0.99", "0.999"}
        for level, value in shown.items():
            exact = values[max(0, int(np.ceil(float(level) * values.size)) - 1)]
            assert abs(value - exact) <= 0.005416 * exact
        (count,) = [s.value for s in found["probe_rtt_us_count"].samples if s.labels["host"] == host]
        (total,) = [s.value for s in found["probe_rtt_us_sum"].samples if s.labels["host"] == host]
        assert (count, total) == (values.size, values.sum())


def test_nan_count_in_the_count_of_a_sketch(world, client):
    shown = {tuple(s.labels.values()): s.value for s in families(client, "odd_ratio")["odd_ratio_count"].samples}
    window = world.records.filter((pl.col("ts") >= SHOWN_NS - WINDOW_NS) & (pl.col("ts") < SHOWN_NS))
    wanted = {(host, tor): n for host, tor, n in window.group_by("host", "tor").agg(pl.col("odd").count()).iter_rows()}
    assert shown == wanted


def test_series_of_several_selectors_are_shown_once(client):
    found = families(client, 'probes_total{host="host0"}', 'probes_total{tor="t:0, a"}', "nothing")
    labels = [tuple(sorted(sample.labels.items())) for sample in found["probes_total"].samples]
    assert len(labels) == len(set(labels)) == 4
    assert families(client) == families(client, "nothing") == {}


def test_series_that_fell_silent_are_not_shown(world):
    with asking(world.url, now_ns=lambda: END_NS + SETTLED_NS + 3 * WINDOW_NS) as client:
        assert families(client, "probes_total") == {}
    with asking(world.url, now_ns=lambda: END_NS + SETTLED_NS + 3 * WINDOW_NS - 1) as client:
        assert len(families(client, "probes_total")["probes_total"].samples) == 6


def test_refusals_are_in_the_envelope(world, client):
    assert "parse error" in refused(client.request("GET", FEDERATE, params={"match[]": "x{"}), 400, "bad_data")
    with asking(world.url, ApiConfig(prometheus=PrometheusConfig(max_series=5))) as small:
        response = small.request("GET", FEDERATE, params={"match[]": "probes_total"})
        assert "6 series, at most 5" in refused(response, 422, "execution")
