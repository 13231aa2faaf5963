"""How good probabilities of retries were, each given before its outcome was known: error and ranking, from counts.

Counts by twentieths of the probability are enough for both, and take the same room after a million outcomes.
"""

import math
from dataclasses import dataclass, field
from typing import Final

#: Parts that probabilities are counted by.
BINS: Final = 20


def _no_counts() -> list[list[int]]:
    return [[0, 0] for _ in range(BINS)]


@dataclass(slots=True)
class Answers:
    """Probabilities and what came of them.

    Attributes:
        squared_error: sum over all.
        counts: by part of [0, 1], how many failures repeated and how many retries got past.
    """

    squared_error: float = 0.0
    counts: list[list[int]] = field(default_factory=_no_counts)

    def add(self, probability: float, passed: bool) -> None:
        """One more outcome."""
        self.squared_error += (probability - passed) ** 2
        self.counts[min(int(probability * BINS), BINS - 1)][passed] += 1

    def totals(self) -> tuple[int, int]:
        """How many failures repeated, and how many retries got past."""
        return sum(repeated for repeated, _ in self.counts), sum(passed for _, passed in self.counts)

    def brier(self) -> float:
        """Mean squared error; NaN before the first outcome."""
        return self.squared_error / sum(self.totals()) if any(self.totals()) else math.nan

    def auc(self) -> float:
        """Probability that a retry that got past was given more than one that did not; equal parts count half.

        NaN where one of the two has not happened yet.
        """
        repeated, passed = self.totals()
        if not repeated or not passed:
            return math.nan
        below, won = 0, 0.0
        for lost, past in self.counts:
            won += past * (below + lost / 2)
            below += lost
        return won / (repeated * passed)


@dataclass(slots=True)
class Quality:
    """The model's answers and those of the priors alone, on the same retries."""

    model: Answers = field(default_factory=Answers)
    prior: Answers = field(default_factory=Answers)

    @property
    def outcomes(self) -> int:
        """How many were learned."""
        return sum(self.model.totals())
