"""Waiting for a question about a service that a collector answers: a run."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from tailwatch.http_client import get
from tailwatch.terminal import LiveLine

ENDED: Final = ("done", "refused", "failed", "cancelled")
_EVERY_S: Final = 1.0


def ended_run(url: str, path: str, wait: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """The run once it has ended; how far it is stands on a terminal meanwhile. Ctrl-C leaves, and the run goes on.

    Args:
        wait: so many seconds between two looks.
    Raises:
        UnreachableError, AnswerError: as http_client.get.
    """
    line = LiveLine(sys.stderr)
    while (found := get(url, path))["state"] not in ENDED:
        if sys.stderr.isatty():
            line.show(f"{found['state']}, {found['progress']:.0%} {found['progress_text']}")
        wait(_EVERY_S)
    line.close()
    return found
