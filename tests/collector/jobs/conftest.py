"""Drives on SQLite and PostgreSQL in turn."""

from collections.abc import Iterator

import pytest

from store.connect import open_engine, upgrade
from tests.collector.jobs.drives_world import DrivesWorld


@pytest.fixture
def world(database_url: str) -> Iterator[DrivesWorld]:
    """An upgraded database that knows the queries on drives, and no drive yet."""
    upgrade(database_url)
    engine = open_engine(database_url)
    yield DrivesWorld(engine)
    engine.dispose()
