"""What tells of the pipeline's health in a database: agents, frames kept apart, series, size."""

import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from store import tables
from store.connect import open_engine, upgrade
from store.fleet_signs import AgentSign, SeriesCount, agent_signs, database_size, kept_counts, series_counts
from store.registry import register_queries
from store.series_limit import note_series_max
from tests.fleet import probe_plan


def test_agents_are_told_with_their_last_sign_and_clock(engine: sa.Engine) -> None:
    row = {"host": "h", "machine_id": "m", "incarnation": "i", "started_ns": 1, "first_seen_ns": 1, "counters": "{}"}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.agents),
            [
                row | {"agent": "a", "last_seen_ns": 5, "clock_offset_ns": -7, "retired": False},
                row | {"agent": "b", "last_seen_ns": 6, "clock_offset_ns": None, "retired": True},
            ],
        )
    with engine.connect() as connection:
        assert sorted(agent_signs(connection), key=lambda one: one.agent) == [
            AgentSign("a", 5, False, -7),
            AgentSign("b", 6, True, None),
        ]


def test_dead_letters_are_counted_by_reason_without_numbers_and_quarantine_as_a_whole(engine: sa.Engine) -> None:
    place = {"topic": "t", "partition": 0, "received_ns": 1, "payload": b"x"}
    reasons = ["frame 1 is cut", "frame 22 is cut", "no plan", "y" * 300]
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.dead_letters), [place | {"offset": n, "reason": r} for n, r in enumerate(reasons)]
        )
        waiting = place | {"offset": 9, "version": "v", "reason": "later", "marked": False}
        connection.execute(sa.insert(tables.quarantine), [waiting])
    with engine.connect() as connection:
        found = kept_counts(connection)
    assert found.dead_letters == {"frame # is cut": 2, "no plan": 1, "y" * 200: 1}
    assert found.quarantined == 1


def test_series_are_counted_by_query_beside_the_limit(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        register_queries(connection, [probe_plan()], 0)
        (query_id,) = connection.execute(sa.select(tables.queries.c.id)).scalars()
        labels = [{"query_id": query_id, "labels": "{}", "labels_hash": str(n)} for n in range(3)]
        connection.execute(sa.insert(tables.series), labels)
    with engine.connect() as connection:
        assert series_counts(connection) == [SeriesCount("probes", 3, None)]
    note_series_max(engine, 12)
    with engine.connect() as connection:
        assert series_counts(connection) == [SeriesCount("probes", 3, 12)]


def test_a_database_has_a_size_which_grows(engine: sa.Engine) -> None:
    def used() -> int:
        with engine.connect() as connection:
            size = database_size(connection, 10**15)
        assert size is not None
        assert 0 < size.used_bytes < (size.max_bytes or 0) <= 10**15
        return size.used_bytes

    before = used()
    letter = {"topic": "t", "partition": 0, "offset": 1, "reason": "r", "received_ns": 1}
    with engine.begin() as connection:
        # Random, for PostgreSQL packs large values.
        connection.execute(sa.insert(tables.dead_letters), [letter | {"payload": random.Random(1).randbytes(2**20)}])
    assert used() > before


def test_the_room_of_a_file_is_its_disk_unless_there_is_a_lower_limit(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    engine = open_engine(url)
    with engine.connect() as connection:
        free, limited = database_size(connection), database_size(connection, 12_345)
    assert free is not None
    assert limited is not None
    assert (free.max_bytes or 0) > free.used_bytes
    assert limited.max_bytes == 12_345
    engine.dispose()
    memory = open_engine("sqlite://")
    with memory.connect() as connection:
        assert database_size(connection) is None
    memory.dispose()


@pytest.mark.parametrize("most", [0, 5])
def test_a_server_s_limit_is_the_setting(postgres_url: str, most: int) -> None:
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        size = database_size(connection, most)
    engine.dispose()
    assert size is not None
    assert size.max_bytes == (most or None)
