"""Records sampled out: found for the windows that are read, at every level alike, without a look at other windows."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.flush import Arrival, Flush, write_flush
from store.registry import metric
from store.sampled_out import sampled_out
from store.samples import Instants, plan
from store.series import SeriesIds
from store.snapshot import Snapshot
from tests.store.levels_world import ORIGIN_S, SECOND_NS, LevelsWorld, plan_of
from tests.store.test_samples import HOUR_S, codes_of, instants

EXTRAS = {5: 10, 60: 20, HOUR_S - 1: 40, HOUR_S: 80}


@pytest.fixture
def world(engine: sa.Engine) -> LevelsWorld:
    """On SQLite and PostgreSQL in turn."""
    return filled(engine)


def filled(engine: sa.Engine) -> LevelsWorld:
    """Two hours of records; some more were sampled out by two agents."""
    made = LevelsWorld(engine, plan_of(10))
    made.flush([(at, f"s{at % 3}", 1) for at in range(0, 2 * HOUR_S, 10)])
    for agent in ("a", "b"):
        sample(made, EXTRAS, agent)
    return made


def sample(world: LevelsWorld, extras: dict[int, int], agent: str) -> None:
    """At these seconds, so many records that `agent` saw and left out."""
    version, held = world.version(), world.held[0]
    arrivals = [
        Arrival(version.version_id, (ORIGIN_S + at // 10 * 10) * SECOND_NS, agent, n_in=n, n_sampled_out=n)
        for at, n in extras.items()
    ]
    flush = Flush(held.next_offset + 1, (ORIGIN_S + 3 * HOUR_S) * SECOND_NS, arrivals=arrivals)
    write_flush(world.engine, held, flush, {world.plan.version: version}, SeriesIds())
    world.held[0] = replace(held, next_offset=held.next_offset + 1, flushes=held.flushes + 1)


def found(world: LevelsWorld, asked: Instants, added: bool = False, metrics: tuple[str, ...] = ("rtt_us",)) -> int:
    with world.engine.connect() as connection:
        seen, codes = Snapshot(connection), codes_of(connection, together=True)
        reads = [plan(seen, metric(connection, name), codes, asked, added) for name in metrics]
        return sampled_out(connection, reads)


def test_what_was_sampled_out_of_the_windows_read_is_found_and_of_no_others(world: LevelsWorld) -> None:
    assert found(world, instants(2 * HOUR_S, 2 * HOUR_S, 1, 2 * HOUR_S)) == 2 * 150
    assert found(world, instants(70, 70, 1, 60)) == 2 * 20  # windows that end in (10, 70]
    assert found(world, instants(60, 60, 1, 50)) == 0
    assert found(world, instants(10, 3610, HOUR_S, 10)) == 2 * (10 + 80)  # nothing between two instants


def test_metrics_of_one_query_mean_the_same_records(world: LevelsWorld) -> None:
    asked = instants(2 * HOUR_S, 2 * HOUR_S, 1, 2 * HOUR_S)
    assert found(world, asked, metrics=("rtt_us", "probes_total")) == 2 * 150


def test_roll_ups_and_retention_change_neither_this_nor_coverage(world: LevelsWorld) -> None:
    asked = instants(2 * HOUR_S, 2 * HOUR_S, 1, 2 * HOUR_S)
    before = world.coverage(0, 2 * HOUR_S)
    records = 2 * HOUR_S // 10
    assert (before.sampled_out, before.records_known) == (300, records + 300)
    assert before.ratio == before.sampled_share == pytest.approx(records / (records + 300))
    for kept_s in ((1e9, 1e9, 1e9), (1.0 * HOUR_S, 2.0 * HOUR_S, 90.0 * HOUR_S)):
        for _ in range(3):
            assert world.round(4 * HOUR_S, kept_s=kept_s)
        assert found(world, asked, added=True) == 300
        assert world.coverage(0, 2 * HOUR_S) == before


def test_windows_without_any_are_not_looked_at(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"  # PostgreSQL chooses by the size of tables
    upgrade(url)
    world = filled(open_engine(url))
    told: list[str] = []

    def explain(_c, _cursor, statement, parameters, _context, _many) -> None:  # type: ignore[no-untyped-def]
        if "n_sampled_out" in statement and "EXPLAIN" not in statement:
            with world.engine.connect() as other:
                told.append(str(other.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()))

    sa.event.listen(world.engine, "before_cursor_execute", explain)
    found(world, instants(2 * HOUR_S, 2 * HOUR_S, 1, 2 * HOUR_S))
    assert told
    assert all("manifests_sampled" in plan_of_it for plan_of_it in told)
    world.engine.dispose()
