"""GET /api/v1/cardinality: which query, which label, which agents."""

import polars as pl
import pytest
import sqlalchemy as sa

from api.list_models import CardinalityPage
from pipeline.plan import Aggregate, AggregateStage, Plan
from store.claims import claim
from store.connect import open_engine
from store.flush import Flush, write_flush
from store.registry import load_versions, register_queries
from store.series import SeriesIds
from store.series_limit import Refusal, example_of, note_series_max
from tests.api.world import NOW_NS, SECOND_NS, World, asking, fill, probe_records
from tests.stored import stored_partial

PATH = "/api/v1/cardinality"


def answered(response):
    assert response.status_code == 200, response.text
    CardinalityPage.model_validate_json(response.content, strict=True)
    return response.json()["queries"]


def refuse(world: World, *refused: tuple[str, int, int], partition: int = 0, later_s: int = 0) -> None:
    """One flush that says what was refused: agent, groups, records."""
    engine = open_engine(world.url)
    with engine.begin() as connection:
        held = claim(connection, "tailwatch", partition, "collector-1")
        versions = load_versions(connection)
    query_id = versions[world.plan.version].query_id
    refusals = [
        Refusal(query_id, world.plan.query, agent, groups, records, example_of({"host": agent, "tor": str(later_s)}))
        for agent, groups, records in refused
    ]
    flush = Flush(held.next_offset, NOW_NS + later_s * SECOND_NS, refusals=refusals)
    write_flush(engine, held, flush, versions, SeriesIds())
    engine.dispose()


def test_each_query_shows_its_series_and_the_labels_with_the_most_values_first(client):
    (entry,) = answered(client.get(PATH))
    assert (entry["query"], entry["series"], entry["series_max"]) == ("probe_rtt", 6, None)
    assert entry["labels"] == [{"label": "tor", "values": 3}, {"label": "host", "values": 2}]
    assert (entry["refused_records"], entry["refused_groups"], entry["last_refused"]) == (0, 0, None)
    assert entry["refused_agents"] == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_refusals_add_up_over_flushes_and_partitions_and_the_worst_agent_comes_first(tmp_path, database, request):
    address = request.getfixturevalue("postgres_url") if database == "postgresql" else ""
    world = fill(tmp_path / "refused.db", probe_records(n=60), address=address)
    refuse(world, ("agent-a", 1, 5), ("agent-b", 2, 4))
    refuse(world, ("agent-b", 3, 7), partition=1, later_s=60)
    refuse(world, ("agent-b", 1, 1), partition=0, later_s=30)
    engine = open_engine(world.url)
    note_series_max(engine, 6)
    before = stored_partial(engine, world.plan)
    engine.dispose()
    assert before is not None
    with asking(world.url) as client:
        (entry,) = answered(client.get(PATH))
    assert (entry["series_max"], entry["refused_records"], entry["refused_groups"]) == (6, 17, 7)
    assert entry["last_refused"] == "2026-11-22T07:02:03Z"
    worst, other = entry["refused_agents"]
    assert (worst["agent"], worst["records"], worst["groups"]) == ("agent-b", 12, 6)
    assert worst["last_refused_ns"] == NOW_NS + 60 * SECOND_NS
    assert worst["example"] == {"host": "agent-b", "tor": "60"}
    assert (other["agent"], other["records"]) == ("agent-a", 5)


def test_ten_agents_are_named_and_all_are_in_the_sums(tmp_path):
    world = fill(tmp_path / "many.db", probe_records(n=60))
    refuse(world, *((f"agent-{n:03d}", 1, n) for n in range(1, 301)))
    with asking(world.url) as client:
        (entry,) = answered(client.get(PATH))
    assert [one["agent"] for one in entry["refused_agents"]] == [f"agent-{n:03d}" for n in range(300, 290, -1)]
    assert (entry["refused_groups"], entry["refused_records"]) == (300, sum(range(301)))
    engine = open_engine(world.url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM series_refused")).scalar_one() == 101
    engine.dispose()


def test_queries_come_page_by_page(tmp_path):
    world = fill(tmp_path / "pages.db", probe_records(n=60))
    engine = open_engine(world.url)
    stage = AggregateStage(10 * SECOND_NS, ["host"], [Aggregate("odd_total", "count", None, True)])
    with engine.begin() as connection:
        other = Plan("a_query", "probes", {"ts": "int64", "host": "string"}, 6, {}, [stage])
        register_queries(connection, [other], NOW_NS)
    engine.dispose()
    with asking(world.url) as client:
        first = client.get(PATH, limit=1)
        (entry,) = answered(first)
        assert (entry["query"], entry["series"], entry["labels"]) == ("a_query", 0, [])
        second = client.get(PATH, limit=1, cursor=first.json()["next_cursor"])
        assert [entry["query"] for entry in answered(second)] == ["probe_rtt"]
        assert second.json()["next_cursor"] is None


def test_labels_of_all_versions_of_a_query_are_counted(tmp_path):
    world = fill(tmp_path / "versions.db", probe_records(n=60))
    engine = open_engine(world.url)
    with engine.begin() as connection:
        query_id = load_versions(connection)[world.plan.version].query_id
        labels = pl.DataFrame({"host": ["host0", "host9"], "request_id": ["1", "2"]})
        SeriesIds().resolve(connection, query_id, labels, 2)
    engine.dispose()
    with asking(world.url) as client:
        (entry,) = answered(client.get(PATH))
    assert entry["series"] == 8
    assert [tuple(label.values()) for label in entry["labels"]] == [("host", 3), ("tor", 3), ("request_id", 2)]
