"""What decides on degrees in the example: nothing, a number, a prediction, or the table that Tailwatch serves."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from examples.parallel_service.degree_table import Choice, DegreeTable, Load


@dataclass(frozen=True, slots=True)
class FixedDegree:
    """The same for each; 1 is sequential.

    Attributes:
        explore_share: of requests whose degree is drawn by chance from 1 to `most`, for Tailwatch to learn speed-ups.
    """

    degree: int = 1
    explore_share: float = 0.0
    most: int = 2

    def __call__(self, predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        """The degree, whatever is predicted."""
        del predicted_ms, load
        return explored(Choice(self.degree), self.explore_share, self.most, rng)


@dataclass(frozen=True, slots=True)
class PredictedLong:
    """Only what is predicted to be long runs in parallel."""

    degree: int
    long_ms: float
    explore_share: float = 0.0
    most: int = 2

    def __call__(self, predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        """One thread, or so many."""
        del load
        long = predicted_ms >= self.long_ms  # not, where nothing is predicted (NaN)
        return explored(Choice(self.degree if long else 1, long), self.explore_share, self.most, rng)


@dataclass(frozen=True, slots=True)
class ByTable:
    """As the last good table says; before there is one, as `otherwise` does."""

    table: Callable[[], DegreeTable | None]
    otherwise: FixedDegree = FixedDegree()

    def __call__(self, predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        """The table is read once for a request: it may change between two."""
        table = self.table()
        return self.otherwise(predicted_ms, load, rng) if table is None else table.choose(predicted_ms, load, rng)


def explored(choice: Choice, share: float, most: int, rng: random.Random) -> Choice:
    """The choice, or by chance another degree."""
    if most > 1 and rng.random() < share:
        return replace(choice, degree=rng.randint(1, most), explored=True)
    return choice
