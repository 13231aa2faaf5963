"""An empty, upgraded database."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from store.connect import open_engine


@pytest.fixture
def engine(upgraded_url: str) -> Iterator[sa.Engine]:
    """A database with the current schema, SQLite and PostgreSQL in turn."""
    made = open_engine(upgraded_url)
    yield made
    made.dispose()
