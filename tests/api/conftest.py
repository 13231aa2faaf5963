"""One filled database and one client for all tests that only read."""

import pytest

from tests.api.world import asking, fill


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("api") / "tailwatch.db")


@pytest.fixture(scope="session")
def client(world):
    with asking(world.url) as asked:
        yield asked
