"""Labels, their values and series: what can be asked for, as the records have it."""

import polars as pl
import pytest

from api.list_models import LabelsPage, LabelValuesPage, MetricsPage, SeriesPage
from pipeline.plan import Aggregate, AggregateStage, Plan
from store.connect import open_engine
from store.registry import register_queries
from tests.api.test_lists import pages
from tests.api.world import BEGIN_NS, END_NS, SECOND_NS, WINDOW_NS, add, asking, fill, probe_records

HOSTS, TORS = ["host0", "host1"], [f"t:{i}, a" for i in range(3)]


def answered(response, model):
    assert response.status_code == 200, response.text
    model.model_validate_json(response.content, strict=True)
    return response.json()


@pytest.fixture(scope="module")
def two_queries(tmp_path_factory):
    """Beside the probes, another query that shares the label host and has one more, `disk`."""
    world = fill(tmp_path_factory.mktemp("labels") / "two.db", probe_records(n=60))
    schema = {"ts": "int64", "host": "string", "disk": "string"}
    stage = AggregateStage(WINDOW_NS, ["disk", "host"], [Aggregate("ios_total", "count", None, True)])
    plan = Plan("ios", "disks", schema, 6, {}, [stage])
    records = pl.DataFrame({"ts": [BEGIN_NS, BEGIN_NS], "host": ["host9", "host1"], "disk": ["sda", ""]})
    engine = open_engine(world.url)
    with engine.begin() as connection:
        register_queries(connection, [plan], BEGIN_NS - SECOND_NS)
    add(engine, plan, records, 2, "agent-disks")
    engine.dispose()
    with asking(world.url) as client:
        yield client


def test_labels_of_one_metric_or_of_all_with_how_many_values_they_have(two_queries):
    def labels(**parameters):
        answer = answered(two_queries.get("/api/v1/labels", **parameters), LabelsPage)
        return {entry["label"]: entry["values"] for entry in answer["labels"]}

    assert labels(metric="probe_rtt_us") == {"host": 2, "tor": 3}
    assert labels(metric="ios_total") == {"disk": 2, "host": 2}
    assert labels() == {"disk": 2, "host": 3, "tor": 3}
    assert labels(metric="probe_rtt_us", where="tor=~t:[01].*") == {"host": 2, "tor": 2}
    assert labels(where=["disk=sda"]) == {"disk": 1, "host": 1, "tor": 0}


def test_values_of_a_label_are_those_of_the_series_that_where_means(two_queries):
    def values(label, **parameters):
        answer = answered(two_queries.get(f"/api/v1/labels/{label}/values", **parameters), LabelValuesPage)
        assert answer["label"] == label
        return answer["values"]

    assert values("host", metric="probe_rtt_us") == HOSTS
    assert values("host") == [*HOSTS, "host9"]
    assert values("tor", metric="probe_rtt_us") == TORS
    assert values("disk") == ["", "sda"]
    assert values("host", where="disk!=") == ["host9"]
    assert values("tor", metric="probe_rtt_us", where=["host=host0", "tor!~.*1.*"]) == [TORS[0], TORS[2]]


def test_pages_of_values_and_series_put_together_are_the_whole(two_queries):
    found = [v for page in pages(two_queries, "/api/v1/labels/tor/values", limit=1) for v in page.json()["values"]]
    assert found == TORS
    found = [
        tuple(one["labels"].values())
        for page in pages(two_queries, "/api/v1/series", metric="probe_rtt_us", limit=4)
        for one in page.json()["series"]
    ]
    assert sorted(found) == [(host, tor) for host in HOSTS for tor in TORS]
    found = [e["label"] for page in pages(two_queries, "/api/v1/labels", limit=2) for e in page.json()["labels"]]
    assert found == ["disk", "host", "tor"]


def test_values_too_long_for_a_cursor_lengthen_their_page(tmp_path):
    tors = [letter * 7_000 for letter in "abc"] + ["d", "e"]
    records = probe_records(n=60).with_columns(tor=pl.Series([tors[i % 5] for i in range(60)]))
    with asking(fill(tmp_path / "long.db", records).url) as client:
        found = [page.json()["values"] for page in pages(client, "/api/v1/labels/tor/values", limit=1)]
    assert found == [tors[:4], tors[4:]]


def test_series_of_a_metric_have_data_in_the_stretch_and_their_newest_window(client, world):
    answer = answered(client.over_the_minute("/api/v1/series", metric="probe_rtt_us", where="tor!=t:1, a"), SeriesPage)
    assert answer["metric"] == "probe_rtt_us"
    assert sorted(tuple(one["labels"].values()) for one in answer["series"]) == [
        (host, tor) for host in HOSTS for tor in (TORS[0], TORS[2])
    ]
    assert {(one["start_ns"], one["end_ns"]) for one in answer["series"]} == {(END_NS - WINDOW_NS, END_NS)}
    answer = client.get("/api/v1/series", metric="probe_rtt_us", start=str(BEGIN_NS // SECOND_NS), end="-48s").json()
    assert {one["start_ns"] for one in answer["series"]} == {BEGIN_NS + WINDOW_NS}
    assert client.get("/api/v1/series", metric="probe_rtt_us", start="-3d", end="-2d").json()["series"] == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_series_that_fell_silent_are_left_out_of_later_stretches(tmp_path, database, request):
    address = request.getfixturevalue("postgres_url") if database == "postgresql" else ""
    early = probe_records(n=600).filter((pl.col("host") == "host0") | (pl.col("ts") < BEGIN_NS + WINDOW_NS))
    with asking(fill(tmp_path / "silent.db", early, address=address).url) as client:
        whole = client.over_the_minute("/api/v1/series", metric="probes_total").json()["series"]
        later = client.get("/api/v1/series", metric="probes_total", start="-53s").json()["series"]
    assert {(one["labels"]["host"], one["start_ns"]) for one in whole} == {
        ("host0", END_NS - WINDOW_NS),
        ("host1", BEGIN_NS),
    }
    assert (len(whole), {one["labels"]["host"] for one in later}) == (6, {"host0"})


def test_metrics_can_be_narrowed_by_prefix_and_query(two_queries):
    def names(**parameters):
        return [
            entry["name"]
            for entry in answered(two_queries.get("/api/v1/metrics", **parameters), MetricsPage)["metrics"]
        ]

    assert names(prefix="probe_rtt_m") == ["probe_rtt_max_us", "probe_rtt_mean_us", "probe_rtt_min_us"]
    assert names(query="ios") == ["ios_total"]
    assert names(query="ios", prefix="probe") == names(query="none") == []
    assert names(prefix="", limit=1) == ["ios_total"]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "members"),
    [
        ("/api/v1/labels", {"metric": "prob_rtt_us"}, 404, {"parameter": "metric", "nearest": "probe_rtt_us"}),
        ("/api/v1/labels", {"where": "hots=a"}, 404, {"parameter": "where", "nearest": "host"}),
        ("/api/v1/labels/hots/values", {}, 404, {"parameter": "label", "nearest": "host"}),
        ("/api/v1/labels/host/values", {"metric": "probe_rtt_us", "where": "a"}, 400, {"parameter": "where"}),
        ("/api/v1/labels/" + "x" * 2_000 + "/values", {}, 400, {"parameter": "label"}),
        ("/api/v1/labels/host/values", {"cursor": "%"}, 400, {"parameter": "cursor"}),
        ("/api/v1/labels/host/values", {"limit": 0}, 400, {"parameter": "limit"}),
        ("/api/v1/series", {}, 400, {"parameter": "metric"}),
        ("/api/v1/series", {"metric": "probe_rtt_us", "where": "tor=~("}, 400, {"parameter": "where"}),
        (
            "/api/v1/series",
            {"metric": "probe_rtt_us", "where": [f"tor=~{n}\\pL{{40}}" for n in range(12)]},
            400,
            {"parameter": "where", "limit": 70_000},
        ),
        ("/api/v1/series", {"metric": "probe_rtt_us", "where": "disk=a"}, 404, {"parameter": "where"}),
        ("/api/v1/series", {"metric": "probe_rtt_us", "start": "now"}, 400, {"parameter": "start"}),
        ("/api/v1/series", {"metric": "probe_rtt_us", "strat": "now"}, 400, {"parameter": "strat", "nearest": "start"}),
    ],
)
def test_bad_questions_name_the_parameter(client, path, parameters, status, members):
    response = client.get(path, **parameters)
    assert response.status_code == status, response.text
    assert {name: response.json().get(name) for name in members} == members


def test_a_damaged_page_is_a_500_that_says_so(tmp_path):
    import sqlite3

    world = fill(tmp_path / "damaged.db", probe_records(n=60))
    with sqlite3.connect(world.path) as database:
        database.execute("UPDATE pages SET data = x'01ff00' WHERE window_ns = ?", [BEGIN_NS])
    database.close()
    with asking(world.url) as client:
        response = client.over_the_minute("/api/v1/series", metric="probe_rtt_us")
    assert (response.status_code, response.json()["type"]) == (500, "urn:tailwatch:problem:damaged-data")
