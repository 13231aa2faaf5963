"""What time it is, as far as something may be refused or forgotten for it: two bounds that one wrong clock cannot move.

A collector's clock may be set back or ahead by years while it runs, or be wrong when it starts. What goes by age
(marks, gaps, frames of forgotten incarnations) goes by the earlier bound, what is refused for lying ahead by the later
one: so a wrong clock keeps too much, and never deletes or refuses what a right one would have taken. The bounds come
from all clocks that are known when a partition is claimed and go on with the monotonic clock, which nobody sets.
"""

import datetime as dt
from collections.abc import Sequence
from time import monotonic_ns


class ClockBounds:
    """Two bounds for the time of day (ns UTC); both follow the machine's own clock while it behaves."""

    def __init__(self, clocks_ns: Sequence[int], known_past_ns: int) -> None:
        """Start from what several clocks say now, and from a time that has certainly come."""
        self._begun = monotonic_ns()
        self._earliest_ns = min(clocks_ns)
        self._latest_ns = max(*clocks_ns, known_past_ns)

    def earliest(self, own_ns: int) -> int:
        """Not after the true time as long as one clock was not ahead; `own_ns` is what the machine's clock says."""
        return min(own_ns, self._earliest_ns + monotonic_ns() - self._begun)

    def latest(self, own_ns: int) -> int:
        """Not before the true time as long as one clock was not behind."""
        return max(own_ns, self._latest_ns + monotonic_ns() - self._begun)


def utc(time_ns: int) -> str:
    """A time as people read it, to the second."""
    return f"{dt.datetime.fromtimestamp(time_ns // 10**9, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
