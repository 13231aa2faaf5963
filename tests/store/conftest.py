"""An empty, upgraded database."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A database with the current schema, SQLite and PostgreSQL in turn."""
    upgrade(database_url)
    made = open_engine(database_url)
    yield made
    made.dispose()
