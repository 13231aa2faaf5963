"""How many distinct groups there are, from what a few records have met; needed to say what a partial result weighs.

Records are taken to spread evenly over the groups: n of them meet distinct * (1 - (1 - 1 / distinct) ** n). Where some
groups are much rarer than others, that is too few for more records than were seen and right for as many.
"""

from dataclasses import dataclass
from functools import cached_property
from math import expm1, log1p
from typing import Final

from pipeline.state import IntArray

_MOST_DISTINCT: Final = 1e12
# A further partial result counts this much, if it is of about as many records as those before.
_WEIGHT: Final = 0.3
_ABOUT: Final = 2


@dataclass(frozen=True)
class Gathered:
    """A partial result that was shipped: so many groups were met among so many records."""

    groups: int
    records: int

    @cached_property
    def distinct(self) -> float:
        """How many groups there are in all: the inverse of the formula above, at least those that were met."""
        return distinct_evenly(self.groups, self.records)

    def after(self, before: "Gathered") -> "Gathered":
        """Smoothed: one that lies over the end of a window has met the groups of two."""
        if not before.records <= _ABOUT * self.records <= _ABOUT**2 * before.records:
            return self
        return Gathered(
            round(before.groups + _WEIGHT * (self.groups - before.groups)),
            round(before.records + _WEIGHT * (self.records - before.records)),
        )


def distinct_evenly(groups: int, records: int) -> float:
    """The number of groups for which so many records meet `groups` of them."""
    if groups <= 1 or records <= groups:  # each record a group of its own: no sign of an end
        return float(max(1, groups)) if groups <= 1 else min(groups + groups * (groups - 1) / 2, _MOST_DISTINCT)
    low, high = float(groups), float(groups) * records
    for _ in range(60):
        middle = (low + high) / 2
        met = -middle * expm1(records * log1p(-1 / middle))
        low, high = (middle, high) if met < groups else (low, middle)
    return min(high, _MOST_DISTINCT)


def chao1(rows: IntArray) -> float:
    """How many groups there are in all, from how many rows of a sample each group met has; at least those met."""
    once, twice = int((rows == 1).sum()), int((rows == 2).sum())
    return min(len(rows) + once * (once - 1) / (2 * (twice + 1)), _MOST_DISTINCT)
