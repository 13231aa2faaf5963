"""The Prometheus API over PostgreSQL: the answers that SQLite gives."""

from tests.api.prometheus.test_federate import FEDERATE
from tests.api.prometheus.test_queries import END, QUERY, RANGE
from tests.api.world import asking, fill

EXPRESSIONS = (
    "histogram_quantile(0.99, sum by (host) (rate(probe_rtt_us[1m])))",
    "sum by (tor) (increase(odd_ratio[30s]))",
    '{__name__=~"probe_.*",host="host0"}',
    "sum(increase(probes_total[20s])) / 2",
    "max_over_time(probe_rtt_max_us[40s])",
)


def test_every_answer_is_the_one_that_sqlite_gives(world, client, postgres_url, tmp_path):
    fill(tmp_path / "unused.db", world.records, address=postgres_url)
    with asking(postgres_url) as on_postgresql:
        for query in EXPRESSIONS:
            for path, given in (
                (QUERY, {"time": str(END)}),
                (RANGE, {"start": str(END - 60), "end": str(END), "step": "5"}),
                (RANGE, {"start": str(END - 60), "end": str(END), "step": "50s"}),  # ranges with gaps
            ):
                wanted, got = (each.get(path, query=query, **given) for each in (client, on_postgresql))
                assert (got.status_code, got.json()) == (200, wanted.json())
                assert got.json()["data"]["result"]
        selectors = {"match[]": '{__name__!=""}'}
        assert on_postgresql.get("/prometheus/api/v1/series", **selectors).json() == client.get(
            "/prometheus/api/v1/series", **selectors).json()  # fmt: skip
        assert on_postgresql.get(FEDERATE, **selectors).text == client.get(FEDERATE, **selectors).text != ""
