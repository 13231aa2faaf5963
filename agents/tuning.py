"""The one number that fine-tuning turns: how far the budget goes by the model's reckoning.

theta = fixed + stretch * (budget - fixed) is the effective allowance. A profile that finds everything a tenth too cheap
is answered by a stretch of 0.9. It is found by bisection: what was too much and what was too little bound it from above
and below. Before both bounds are known, and where it lies well between them, the next try is not the middle but what
the last epoch's CPU says: asked for by the model against really taken.
"""

from typing import Final

_LEAST: Final = 0.05
_MOST: Final = 8.0
# The next try keeps this part of the bracket's width away from its ends, else it is the middle.
_MARGIN: Final = 0.1
# Bounds as near to each other as this: no stretch between them is right, the shares jump there.
_COLLAPSED: Final = 0.01
_STEP_UP: Final = 1.25
_STEP_DOWN: Final = 0.8


class Stretch:
    """The stretch and its bounds."""

    def __init__(self) -> None:
        """No correction, no bounds."""
        self.value = 1.0
        self._low: float | None = None
        self._high: float | None = None

    @property
    def collapsed(self) -> bool:
        """Whether the bounds have met."""
        if self._low is None or self._high is None:
            return False
        return self._high - self._low <= _COLLAPSED * self._high

    def start(self, value: float) -> None:
        """Begin a new search at `value`."""
        self.value = min(_MOST, max(_LEAST, value))
        self._low = self._high = None

    def was_too_little(self, tried: float, suggested: float) -> None:
        """An epoch was idle at `tried`."""
        self._low = tried
        if self._high is not None and self._high <= tried:
            self._high = None
        self._next(suggested if suggested > tried else _STEP_UP * tried)

    def was_too_much(self, tried: float, suggested: float) -> None:
        """An epoch was congested at `tried`."""
        self._high = tried
        if self._low is not None and self._low >= tried:
            self._low = None
        self._next(suggested if suggested < tried else _STEP_DOWN * tried)

    def give_up(self) -> None:
        """End the search at the last value that was not too much, if there is one."""
        if self._low is not None:
            self.value = self._low

    def trim(self, by: float) -> None:
        """A small correction while all is well."""
        self.value = min(_MOST, max(_LEAST, self.value + by))

    def _next(self, suggested: float) -> None:
        if self._low is not None and self._high is not None:
            margin = _MARGIN * (self._high - self._low)
            if not self._low + margin <= suggested <= self._high - margin:
                suggested = (self._low + self._high) / 2
        self.value = min(_MOST, max(_LEAST, suggested))
