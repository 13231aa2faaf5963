"""Keeps a library that logs every attempt from filling the log while a broker is away.

A line with the same text, parameters aside, passes once a minute; the next one that passes says how many did not.
A traceback becomes the error's own line. What an outage means to us is logged by agent and collector themselves.
"""

import logging
import time

_EVERY_S = 60.0


class Repeats(logging.Filter):
    """For a handler: thins out what one library and its modules log."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self._library = library
        self._prefix = f"{library}."
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if record.name != self._library and not record.name.startswith(self._prefix):
            return True
        key = record.name, str(record.msg)
        now_s = time.monotonic()
        passed_s, held_back = self._seen.get(key, (-_EVERY_S, 0))
        if now_s - passed_s < _EVERY_S:
            self._seen[key] = passed_s, held_back + 1
            return False
        self._seen[key] = now_s, 0
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        if held_back:
            text = f"{text} (and {held_back} more like it)"
        record.msg, record.args, record.exc_info, record.exc_text = text, (), None, None
        return True
