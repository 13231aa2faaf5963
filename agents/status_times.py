"""When the agent says what its runtime decided: at once when that changed, else every ten seconds.

Not with each checkpoint: most of a status is the same as before, and it is for people. It shares a checkpoint's
transaction with the data, so whatever is wrong with it must not stop the data: it is left out, and the log says why.
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from agents.frames import status_frame
from agents.waiting import SpoolFrame
from wire.errors import CorruptFrameError
from wire.status import Status

log = logging.getLogger(__name__)

STATUS_NS: Final = 10 * 10**9
# A share of what the host leaves idle moves all the time; less than this is no news.
BUDGET_MOVED: Final = 0.1

StatusSource = Callable[[], Status | None]


def nothing_to_say() -> None:
    """The status of an agent without a runtime."""
    return


class StatusTimes:
    """The statuses of one incarnation after another."""

    def __init__(self, source: StatusSource) -> None:
        """`source` is asked at every checkpoint."""
        self._source = source
        self._told: Status | None = None
        self._failing = False

    def go_on_anew(self) -> None:
        """A new incarnation begins: nothing of it is known to anybody."""
        self._told = None

    def due(self, now_ns: int) -> SpoolFrame | None:
        """The frame that belongs into the checkpoint of this time, if any."""
        status = self._source()
        if status is None or not self._news(status, now_ns):
            return None
        self._told = status = msgspec.structs.replace(status, sent_ns=now_ns)
        try:
            frame = status_frame(status)
        except CorruptFrameError as error:
            if not self._failing:
                log.error("the status cannot be sent, it is left out error=%s", error)  # noqa: TRY400
            self._failing = True
            return None
        self._failing = False
        return frame

    def _news(self, status: Status, now_ns: int) -> bool:
        told = self._told
        if told is None or not told.sent_ns <= now_ns < told.sent_ns + STATUS_NS:  # the clock may be set back
            return True
        same = ("policy", "state", "breaker", "budget_from", "labels", "probes")
        if any(getattr(status, name) != getattr(told, name) for name in same):
            return True
        return abs(status.budget_cores - told.budget_cores) > BUDGET_MOVED * told.budget_cores
