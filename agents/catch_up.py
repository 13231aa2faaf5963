"""How a backlog is let through beside live data: oldest first, at a capped rate.

After an outage every agent of a fleet comes back with up to a full spool. Sent as fast as each can, this would bury
broker and collectors for minutes, and live data would wait behind all of it. So what waits beyond a moment's worth
becomes the backlog: the frames of incarnations that have ended. It drains under this allowance, while the running
incarnation's frames go at once. No law of the spool or the collector knows about lanes, for incarnations never owed
each other an order (docs/decisions/0005-catch-up.md).
"""

from collections.abc import Callable
from typing import Final

# What is no larger than this goes at once, oldest first, and needs no lane; any frame fits into it.
AT_ONCE_BYTES: Final = 2**20
# Nothing came through for so long: an outage. Shorter, and what waits is little older than live data always is.
OUTAGE_S: Final = 10.0


class Allowance:
    """A token bucket on a monotonic clock: `bytes_per_s`, and as much saved up as goes at once."""

    def __init__(self, bytes_per_s: int, clock: Callable[[], float]) -> None:
        """Full to begin with; 0 bytes per second stand for no cap."""
        self.most: Final = float(max(AT_ONCE_BYTES, bytes_per_s)) if bytes_per_s else float("inf")
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._left = self.most
        self._counted_s = clock()

    def left(self) -> float:
        """How many bytes may go now."""
        now_s = self._clock()
        self._left = min(self.most, self._left + (now_s - self._counted_s) * self._bytes_per_s)
        self._counted_s = now_s
        return max(0.0, self._left)

    def spend(self, count: int) -> None:
        """Bytes that went; a frame whose envelope was larger than thought is paid for by the next ones."""
        self._left -= count


class Outage:
    """Notices that one is over: something came through after nothing had for OUTAGE_S, though something waited."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """All is well to begin with."""
        self._clock = clock
        self._well_s = clock()
        self._over = False

    def nothing_waits(self) -> None:
        """Nothing has to go, so nothing is late."""
        self._well_s = self._clock()

    def came_through(self) -> None:
        """The transport has acknowledged something."""
        now_s = self._clock()
        self._over = self._over or now_s - self._well_s >= OUTAGE_S
        self._well_s = now_s

    def left_behind(self, live_bytes: int) -> bool:
        """Whether an outage is over and has left more in the live lane than goes at once; if not, it is forgotten."""
        self._over = self._over and live_bytes > AT_ONCE_BYTES
        return self._over
