"""Keeps the machine's own settings out of the tests, and the tests' logging out of each other."""

import logging
import os
from collections.abc import Iterator

import pytest

from tailwatch.settings_flags import CHATTY
from tests.tailwatch.stand_in import StandIn, serving


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("TAILWATCH_") and not name.startswith("TAILWATCH_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def api() -> Iterator[StandIn]:
    with serving() as stand_in:
        yield stand_in
