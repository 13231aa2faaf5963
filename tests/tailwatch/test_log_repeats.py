"""A talkative library: one line of a kind a minute, no tracebacks, and nobody else is silenced."""

import logging
from collections.abc import Iterator

import pytest

from tailwatch import log_repeats
from tailwatch.log_repeats import Repeats


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Repeats("chatty"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


def test_the_same_line_passes_once_a_minute_and_says_how_many_did_not(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(log_repeats.time, "monotonic", lambda: now_s[0])
    log = logging.getLogger("chatty.net")
    for attempt in range(5):
        log.error("connection %d failed", attempt)
    log.error("another line")
    now_s[0] += 61
    log.error("connection %d failed", 5)
    assert lines == [
        "chatty.net connection 0 failed",
        "chatty.net another line",
        "chatty.net connection 5 failed (and 4 more like it)",
    ]


def test_a_traceback_becomes_the_error_in_one_line(lines: list[str]) -> None:
    error = ConnectionResetError(104, "reset by peer")
    logging.getLogger("chatty").error("closing 100%% of %s", "it", exc_info=error)
    assert lines == ["chatty closing 100% of it: ConnectionResetError(104, 'reset by peer')"]


def test_others_say_what_they_want(lines: list[str]) -> None:
    for _ in range(3):
        logging.getLogger("chattyish").error("again")
        logging.getLogger("agents.uplink").error("again")
    assert len(lines) == 6
