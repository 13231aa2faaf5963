"""What something costs in CPU as a fixed part per call and a slope per item, learnt while it is done anyway.

A mean over calls would not do: a call of Polars takes 0.1-0.2 ms however few its rows are, so that fifty rows would
seem to cost a hundred times what they do. Calls with few items say what is fixed, those with many what the slope is.
Old calls are forgotten by halves, for costs change: a table grows, a host gets busier.
"""

from typing import Final

# What is known of the fixed part moves by this much towards the next reading.
_STEP: Final = 0.25
#: No cost is nothing: a reading below the clock's resolution must not make an operator look free of charge.
LEAST_S: Final = 1e-10
# A reading of shipping is right within this part of it, and counts this much when the next one comes.
_NOISE: Final = 0.2
_KEPT: Final = 0.9
_SHORTEST_S: Final = 1e-4
# What is usual is right to within twice itself: a slow disk takes many times as long.
_USUAL_WEIGHT: Final = 0.25
_LEAST_PART: Final = 0.05


class CostLine:
    """cpu_s = fixed_s + slope_s * items."""

    def __init__(self, few: int, slope_s: float, fixed_s: float = 0.0) -> None:
        """Calls with up to `few` items tell the fixed part; slope and fixed part are first guesses."""
        self.fixed_s = fixed_s
        self._few = few
        self._guess_s = slope_s
        self._items = 0.0
        self._cpu_s = 0.0
        self._calls = 0.0
        self._seen = False

    @property
    def items(self) -> float:
        """How many items the slope rests on, old ones counting less."""
        return self._items

    @property
    def slope_s(self) -> float:
        """CPU seconds per item."""
        if self._items <= self._few:
            return self._guess_s
        # The fixed part as it is known now: it may have been learnt after these calls.
        return max((self._cpu_s - self._calls * self.fixed_s) / self._items, LEAST_S)

    def add(self, items: int, cpu_s: float) -> None:
        """One call."""
        if items > self._few:
            self._items += items
            self._cpu_s += cpu_s
            self._calls += 1
            return
        fixed_s = max(0.0, cpu_s - items * self.slope_s)
        self.fixed_s = fixed_s if not self._seen else self.fixed_s + _STEP * (fixed_s - self.fixed_s)
        self._seen = True

    def add_more(self, cpu_s: float) -> None:
        """Further CPU for items already counted."""
        self._cpu_s += cpu_s

    def tried(self, few: int, few_s: float, many: int = 0, many_s: float = 0.0) -> None:
        """What a trial took with few items, and with many where the slope rests on too little."""
        slope_s = self.slope_s
        if many > few:
            slope_s = max((many_s - few_s) / (many - few), LEAST_S)
            self._guess_s, self._items, self._cpu_s, self._calls = slope_s, 0.0, 0.0, 0.0
        self.fixed_s = max(0.0, few_s - few * slope_s)
        self._seen = True

    def tried_whole(self, items: int, cpu_s: float) -> None:
        """What a trial of a call's usual size took; the fixed part is known."""
        self._guess_s = max((cpu_s - self.fixed_s) / items, LEAST_S)
        self._items, self._cpu_s, self._calls = 0.0, 0.0, 0.0

    def at(self, items: float) -> float:
        """What a call with so many items will take; nothing for none."""
        return self.fixed_s + items * self.slope_s if items else 0.0

    def forget(self) -> None:
        """An epoch is over: what was seen counts half from now on."""
        if self._items > self._few:
            self._guess_s = self.slope_s
        self._items /= 2
        self._cpu_s /= 2
        self._calls /= 2


class ShippingLine:
    """cpu_s = fixed_s + slope_s * items again, for calls whose size nobody chooses: checkpoints, sends.

    An agent that runs all locally ships little, always; what that takes is fixed, mostly, and must not be spread over
    its few bytes, or draining would look dear for ever. So both parts begin at what is usual, believed within a factor
    of two or so, and readings move the one that they say more about: small calls the fixed part, large ones the slope.
    Least squares with that prior; of old readings a tenth is forgotten with each new one.
    """

    def __init__(self, slope_s: float, fixed_s: float) -> None:
        """What is usual; until something else is known, `guessed` says that it is a guess."""
        self.guessed = True
        self._begin(slope_s, fixed_s)

    def _begin(self, slope_s: float, fixed_s: float) -> None:
        self._usual = (slope_s, fixed_s)
        # Both parts are in units of what is usual, so the prior is one for each.
        self._weights = (0.0, 0.0, 0.0)
        self._sums = (0.0, 0.0)

    @property
    def slope_s(self) -> float:
        """CPU seconds per item."""
        (aa, ab, bb), (a, b) = self._weights, self._sums
        usual = _USUAL_WEIGHT
        parts = ((usual + a) * (usual + bb) - (usual + b) * ab) / ((usual + aa) * (usual + bb) - ab * ab)
        return max(parts, _LEAST_PART) * self._usual[0]

    def tried(self, few: int, few_s: float, many: int, many_s: float) -> None:
        """What is usual here, from a trial with few items and one with many; readings so far were of other things."""
        slope_s = max((many_s - few_s) / max(1, many - few), _LEAST_PART * self._usual[0])
        self.guessed = False
        self._begin(slope_s, max(few_s - few * slope_s, _LEAST_PART * self._usual[1]))

    def add(self, items: int, cpu_s: float) -> None:
        """One call."""
        self.guessed = False
        slope, fixed = items * self._usual[0], self._usual[1]
        weight = 1.0 / (_NOISE * max(cpu_s, _SHORTEST_S)) ** 2
        aa, ab, bb = (_KEPT * part for part in self._weights)
        a, b = (_KEPT * part for part in self._sums)
        self._weights = (aa + weight * slope * slope, ab + weight * slope * fixed, bb + weight * fixed * fixed)
        self._sums = (a + weight * slope * cpu_s, b + weight * fixed * cpu_s)
