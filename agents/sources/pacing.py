"""How fast a file is handed out that is to come like live load: so many rows a second since it was opened.

Where the agent could not read for a while, the rows of that time wait. They come at no more than twice the pace then:
handed out at once they would be a load that nobody asked for, and push everything else out of the agent's budget.
"""

from typing import Final

CATCH_UP: Final = 2.0
# What may come at once after a pause, in seconds of the pace.
_BURST_S: Final = 2.0


class Pace:
    """One opening of a file; times are seconds of any clock that only goes forward."""

    def __init__(self, rows_per_s: float, now_s: float) -> None:
        self._rows_per_s = rows_per_s
        self._opened_s = self._seen_s = now_s
        self._credit = 0.0
        self._taken = 0

    def behind(self, now_s: float) -> int:
        """Rows whose time has come and that were not taken."""
        return max(0, int((now_s - self._opened_s) * self._rows_per_s) - self._taken)

    def due(self, now_s: float) -> int:
        """Rows that may be handed out now."""
        earned = (now_s - self._seen_s) * self._rows_per_s * CATCH_UP
        # One row at least, or a pace below two rows a second would never earn one.
        self._credit = min(self._credit + earned, max(1.0, self._rows_per_s * _BURST_S))
        self._seen_s = now_s
        return min(self.behind(now_s), int(self._credit))

    def take(self, rows: int) -> None:
        """These were handed out."""
        self._taken += rows
        self._credit -= rows
