"""Keeps the machine's own settings out of the tests, and gives them an API that stands in."""

import os
from collections.abc import Iterator

import pytest

from tests.tailwatch.stand_in import StandIn, serving


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("TAILWATCH_") and not name.startswith("TAILWATCH_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def api() -> Iterator[StandIn]:
    with serving() as stand_in:
        yield stand_in
