"""An empty, upgraded database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from store.connect import open_engine, upgrade


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A SQLite database with the current schema."""
    url = f"sqlite:///{tmp_path / 'tailwatch.db'}"
    upgrade(url)
    made = open_engine(url)
    yield made
    made.dispose()
