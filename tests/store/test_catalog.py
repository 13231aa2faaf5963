"""What a process remembers of a database is what the database holds, in every transaction."""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import sqlalchemy as sa

from store import page_reads
from store.catalog import Catalog
from store.connect import open_engine, upgrade
from store.errors import UnknownMetricError
from store.label_matchers import Matcher, matches_all
from store.page_reads import PageRange, estimate
from store.registry import register_queries, valid_ranges
from store.rows import Row, rows
from store.series_labels import SeriesLabels
from store.snapshot import Snapshot
from store.windows import Bounds, Selection, merged
from tests.store.levels_world import HOUR_S, ORIGIN_S, SECOND_NS, LevelsWorld, plan_of


@pytest.fixture
def world(engine: sa.Engine) -> LevelsWorld:
    return LevelsWorld(engine, plan_of(10))


@pytest.fixture
def reader(upgraded_url: str, world: LevelsWorld) -> Iterator[sa.Engine]:
    made = open_engine(upgraded_url, read_only=True)
    yield made
    made.dispose()


def test_a_catalog_is_read_once_and_again_when_it_has_changed(world: LevelsWorld, reader: sa.Engine) -> None:
    catalog = Catalog()
    world.flush([(5, "a", 1)])  # the first one makes floors
    with reader.connect() as connection:
        first = catalog.view(connection)
    with reader.connect() as connection:
        again = catalog.view(connection)
    assert again is first
    world.flush([(5, "a", 1)])
    with reader.connect() as connection:
        other_state = catalog.view(connection)
    assert other_state is not first
    assert other_state.generation == first.generation
    assert other_state.metrics is first.metrics
    with world.engine.begin() as connection:
        register_queries(connection, [plan_of(10, "WHERE rtt_us > 5")], (ORIGIN_S + 60) * SECOND_NS)
    with reader.connect() as connection:
        newer = catalog.view(connection)
        query_id = newer.metric("rtt_us").query_id
        assert list(newer.ranges(query_id)) == valid_ranges(connection, query_id)
    assert newer.generation != first.generation
    assert len(newer.ranges(query_id)) == len(first.ranges(query_id)) + 1 == 2


def test_a_transaction_keeps_its_catalog_while_another_one_moves_on(world: LevelsWorld, reader: sa.Engine) -> None:
    catalog = Catalog()
    with reader.connect() as held:
        before = catalog.view(held)
        world.flush([(at, "a", 1) for at in (0, HOUR_S, 2 * HOUR_S)])
        world.round(3 * HOUR_S, kept_s=(HOUR_S, 1e9, 1e9))
        with reader.connect() as later:
            after = catalog.view(later)
        version_id = world.version().version_id
        assert catalog.view(held).floors(version_id) == before.floors(version_id) != after.floors(version_id)


def test_a_snapshot_of_a_standby_is_not_taken_for_its_state(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(postgres_url)
    world, reader = LevelsWorld(open_engine(postgres_url), plan_of(10)), open_engine(postgres_url, read_only=True)

    def standby(connection: sa.Connection, text: str, values: Sequence[object] = ()) -> list[Row]:
        # A standby does not list what is under way: two commits can leave the text as it was.
        return [("7:9:", True)] if "pg_current_snapshot" in text else rows(connection, text, values)

    monkeypatch.setattr("store.catalog.rows", standby)
    catalog = Catalog()
    with reader.connect() as connection:
        before = catalog.view(connection)
    with world.engine.begin() as connection:
        register_queries(connection, [plan_of(10, "WHERE rtt_us > 5")], (ORIGIN_S + 60) * SECOND_NS)
    with reader.connect() as connection:
        after = catalog.view(connection)
    assert after.generation != before.generation
    for engine in (reader, world.engine):
        engine.dispose()


def test_a_writer_sees_what_it_has_written_itself(world: LevelsWorld) -> None:
    catalog = Catalog()
    with world.engine.begin() as connection:
        query_id = catalog.view(connection).metric("rtt_us").query_id
        register_queries(connection, [plan_of(10, "WHERE rtt_us > 5")], (ORIGIN_S + 60) * SECOND_NS)
        assert len(catalog.view(connection).ranges(query_id)) == 2


def test_an_unknown_metric_names_the_nearest(world: LevelsWorld, reader: sa.Engine) -> None:
    with reader.connect() as connection, pytest.raises(UnknownMetricError) as caught:
        Catalog().view(connection).metric("rtt_uss")
    assert caught.value.nearest == "rtt_us"


def test_labels_are_complete_after_every_new_series(world: LevelsWorld, reader: sa.Engine) -> None:
    catalog = Catalog()
    for n in range(1, 4):
        world.flush([(5, f"src{place}", 1) for place in range(n * n)])
        with reader.connect() as connection:
            seen = Snapshot(connection, catalog)
            labels = seen.labels(seen.view.metric("rtt_us").query_id)
            assert len(labels) == n * n
            assert labels is seen.labels(seen.view.metric("rtt_us").query_id)


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_labels_are_those_that_comparing_one_by_one_gives(seed: int) -> None:
    source = random.Random(seed)
    names = ("host", "disk", "rack")
    labels = {
        series_id: {name: source.choice("abc") for name in names if source.random() < 0.8}
        for series_id in source.sample(range(500), source.choice((0, 1, 60)))
    }
    where = [
        Matcher(source.choice(names), source.choice(("a", "", "b|c")), source.choice(("=", "!=", "=~", "!~")))
        for _ in range(source.randrange(3))
    ]
    by = tuple(source.sample(names, source.randrange(3)))
    groups = SeriesLabels(labels).groups(by, where)
    meant = {series_id for series_id, of in labels.items() if matches_all(where)(of)}
    asked = np.array([*labels, 1_000], np.int64)
    for series_id, group in zip(asked.tolist(), groups.of(asked).tolist(), strict=True):
        if series_id in meant:
            assert groups.labels[group] == {name: labels[series_id].get(name, "") for name in by}
        else:
            assert group == -1
    shown = [tuple(of.values()) for of in groups.labels]
    assert shown == sorted(set(shown))
    assert set(groups.meant().tolist()) == meant


@pytest.mark.parametrize("at_once", [1, 3])
def test_pages_read_in_pieces_give_the_same_answer(
    world: LevelsWorld, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    for partition in range(2):
        world.flush([(at, f"src{at % 150}", at) for at in range(120)], partition=partition)
    monkeypatch.setattr(page_reads, "PAGES_AT_ONCE", at_once)
    world.assert_true(0, 120)
    world.assert_true(0, 120, 30)


def test_a_question_about_few_series_reads_only_their_pages(
    world: LevelsWorld, reader: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flush([(5, f"src{place:03d}", place) for place in range(300)])
    with reader.connect() as connection:
        selection = Selection(
            "rtt_us", ORIGIN_S * SECOND_NS, (ORIGIN_S + 10) * SECOND_NS, where=(Matcher("src", "src007"),)
        )
        costs: list[page_reads.Cost] = []
        monkeypatch.setattr(page_reads, "_FEW_PAGES", 0)
        (group,) = merged(connection, selection, bounds=Bounds(admit=costs.append)).groups
        assert [cost.pages for cost in costs] == [1]
        assert group.state.column.totals().tolist() == [1]
        seen = Snapshot(connection)
        row = seen.view.metric("rtt_us")
        (valid,) = seen.view.ranges(row.query_id)
        every = PageRange(
            valid.version.version_id, row.metric_id, 0, *(at * SECOND_NS for at in (ORIGIN_S, ORIGIN_S + 10))
        )
        assert estimate(connection, [every]).pages == 5
        assert [len(pages) for pages in every.pages(connection)] == [5]
        some = PageRange(every.version_id, row.metric_id, 0, every.from_ns, every.to_ns, (1, 3))
        assert [group for pages in some.pages(connection) for _, group, _, _ in pages] == [1, 3]


def test_the_estimate_of_many_pages_looks_at_the_sizes_of_some(
    world: LevelsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flush([(at, f"src{place}", at) for at in range(0, 300, 10) for place in range(65)])
    monkeypatch.setattr(page_reads, "_FEW_PAGES", 1)
    with world.engine.connect() as connection:
        row = Snapshot(connection).view.metric("rtt_us")
        stored = connection.exec_driver_sql(
            f"SELECT count(*), sum(length(data)) FROM pages WHERE metric_id = {row.metric_id}"
        ).one()
        every = PageRange(world.version().version_id, row.metric_id, 0, ORIGIN_S * SECOND_NS, 2**62)
        found = estimate(connection, [every])
    assert found.pages == stored[0] == 60
    assert found.sketches == 60 * 64
    assert found.read_bytes == pytest.approx(float(stored[1]), rel=0.2)
