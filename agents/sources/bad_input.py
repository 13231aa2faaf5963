"""Input from outside that a source cannot use: counted by reason, and now and then one of it is shown in the log.

Reasons are a fixed few words, so that they can be labels of a metric. What is shown is short and free of control
characters: it comes from outside.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

_SHOWN_EVERY_S: Final = 60.0
_SHOWN_CHARACTERS: Final = 100


class BadInput:
    """What one source has left out; its threads count, while others ask."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._counting = threading.Lock()
        self._counts: dict[str, int] = {}
        self._shown_at: dict[str, float] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """By reason, as they are now."""
        with self._counting:
            return dict(self._counts)

    def add(self, reason: str, example: bytes | str = b"", count: int = 1) -> None:
        """Count; show `example` unless one of that reason was shown in the last minute."""
        if count <= 0:
            return
        now = self._clock()
        with self._counting:
            so_far = self._counts[reason] = self._counts.get(reason, 0) + count
            last = self._shown_at.get(reason)
            due = last is None or now - last >= _SHOWN_EVERY_S
            if due:
                self._shown_at[reason] = now
        if due:
            log.warning(
                "input left out source=%s reason=%s count_so_far=%d example=%s",
                self._source, reason, so_far, shown(example),
            )  # fmt: skip


def shown(example: bytes | str) -> str:
    """A short printable form."""
    text = example[: 4 * _SHOWN_CHARACTERS]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return repr(text[:_SHOWN_CHARACTERS] + ("..." if len(text) > _SHOWN_CHARACTERS else ""))
