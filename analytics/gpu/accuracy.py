"""How well labelled failures are told: accuracy by reason and by category, and what abstaining buys.

A guess counts whether or not it was sure enough to be given; what abstention buys stands apart, as accuracy of the
answered at their coverage. Nothing found is a wrong guess.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: Stands for no guess in confusion tables.
NOTHING = "(nothing found)"


@dataclass(frozen=True, slots=True)
class Judged:
    """One labelled log and what was said of it.

    Attributes:
        name: to show it; never an input of a diagnosis.
        reason, category: of the label.
        guess, guessed_category: None where nothing was found.
        answered: the guess was sure enough.
        confidence: in [0, 1].
    """

    name: str
    reason: str
    category: str
    guess: str | None
    guessed_category: str | None
    answered: bool
    confidence: float


@dataclass(frozen=True, slots=True)
class ReasonFigures:
    """Of one reason: logs that bear it, those found, and those falsely given it."""

    reason: str
    logs: int
    found: int
    false: int

    @property
    def f1(self) -> float:
        """Of precision and recall; 0 where nothing was found."""
        return 2 * self.found / (self.logs + self.found + self.false) if self.found else 0.0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Figures of a set of labelled logs; shares are in [0, 1].

    Attributes:
        reason, category: share of guesses that are right.
        macro_f1: mean of F1 over the labels' reasons.
        coverage: share of logs that were answered. answered, answered_category: accuracy of those; None without any.
        by_reason: in the order of reasons' names.
        confusion: (label, guess, logs), most frequent first; right ones are left out.
    """

    logs: int
    reason: float
    category: float
    macro_f1: float
    coverage: float
    answered: float | None
    answered_category: float | None
    by_reason: tuple[ReasonFigures, ...]
    confusion: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """Of the curve of risk by coverage: answering from `threshold` on answers `coverage` of the logs, so well."""

    threshold: float
    coverage: float
    accuracy: float


def accuracy(judged: Sequence[Judged]) -> Accuracy:
    """Of at least one log.

    Raises:
        ValueError: there is none.
    """
    if not judged:
        raise ValueError("no labelled log; wanted one or more")
    right = [one.guess == one.reason for one in judged]
    right_category = [one.guessed_category == one.category for one in judged]
    answered = [place for place, one in enumerate(judged) if one.answered]
    figures = _by_reason(judged)
    wrong = Counter((one.reason, one.guess or NOTHING) for one in judged if one.guess != one.reason)
    return Accuracy(
        logs=len(judged),
        reason=sum(right) / len(judged),
        category=sum(right_category) / len(judged),
        macro_f1=sum(one.f1 for one in figures) / len(figures),
        coverage=len(answered) / len(judged),
        answered=sum(right[place] for place in answered) / len(answered) if answered else None,
        answered_category=sum(right_category[place] for place in answered) / len(answered) if answered else None,
        by_reason=figures,
        confusion=tuple(
            (label, guess, logs) for (label, guess), logs in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        ),
    )


def risk_by_coverage(judged: Sequence[Judged]) -> tuple[Point, ...]:
    """One point for each different confidence, from answering hardly anything to answering all."""
    points = []
    right = 0
    ranked = sorted(judged, key=lambda one: -one.confidence)
    for taken, one in enumerate(ranked, 1):
        right += one.guess == one.reason
        if taken == len(ranked) or ranked[taken].confidence != one.confidence:
            points.append(Point(one.confidence, taken / len(ranked), right / taken))
    return tuple(points)


def _by_reason(judged: Sequence[Judged]) -> tuple[ReasonFigures, ...]:
    labels = Counter(one.reason for one in judged)
    found = Counter(one.reason for one in judged if one.guess == one.reason)
    false = Counter(one.guess for one in judged if one.guess != one.reason)
    return tuple(ReasonFigures(name, labels[name], found[name], false[name]) for name in sorted(labels))
