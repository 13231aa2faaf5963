"""Targets: what was to be reached, and one line each that says whether it was. A line has one fixed form:

TARGET quantiles.add_vs_fastest_peer reached 24.1 goal>=20
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Target:
    """A number to reach: at least the goal (">=") or at most ("<=")."""

    id: str
    goal: float
    sense: Literal[">=", "<="]

    def reached_by(self, value: float) -> bool:
        """Whether the unrounded value is good enough; NaN never is."""
        return value >= self.goal if self.sense == ">=" else value <= self.goal

    def line(self, value: float) -> str:
        """The line in its fixed form."""
        verdict = "reached" if self.reached_by(value) else "missed"
        return f"TARGET {self.id} {verdict} {self._shown(value)} goal{self.sense}{self.goal:g}"

    def _shown(self, value: float) -> str:
        """Four digits, or as many as it takes that rounding does not seem to contradict the verdict."""
        if not math.isfinite(value):
            return str(value)
        for digits in range(4, 17):
            text = f"{value:.{digits}g}"
            if "e" in text:
                text = f"{value:.0f}" if abs(value) >= 1 else f"{value:.{digits + 4}f}"
            if self.reached_by(float(text)) == self.reached_by(value):
                return text
        return repr(value)


class Scoreboard:
    """The outcome of every target of an area, each exactly once whatever happened to its measurement."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = {target.id: target for target in targets}
        self._values: dict[str, float] = {}
        self._remarks: dict[str, str] = {}

    def score(self, target_id: str, value: float, remark: str = "") -> None:
        """Notes the measured value; the remark says of what, or why there is none (NaN).

        Raises:
            KeyError: no such target.
            ValueError: it has a value already.
        """
        target = self._targets[target_id]
        if target.id in self._values:
            raise ValueError(f"{target.id} was scored {self._values[target.id]} before; wanted one value each")
        self._values[target.id] = value
        self._remarks[target.id] = remark

    def fail(self, target_id: str, reason: str) -> None:
        """Notes that there is no value, and why."""
        self.score(target_id, math.nan, reason)

    def fail_rest(self, reason: str) -> None:
        """Notes the reason for every target that has no outcome yet."""
        for target_id in self._targets:
            if target_id not in self._values:
                self.fail(target_id, reason)

    def lines(self) -> list[str]:
        """For every target its remark, indented, and then its line; one without an outcome counts as missed."""
        self.fail_rest("it was not measured")
        found = []
        for target in self._targets.values():
            if remark := self._remarks[target.id]:
                found.append(f"  {target.id}: {remark}")
            found.append(target.line(self._values[target.id]))
        return found

    def rows(self) -> list[dict[str, object]]:
        """The same as data: id, value (None where there is none), goal, sense, reached, remark, line."""
        self.fail_rest("it was not measured")
        return [
            {
                "id": target.id,
                "value": None if math.isnan(value := self._values[target.id]) else value,
                "goal": target.goal,
                "sense": target.sense,
                "reached": target.reached_by(value),
                "remark": self._remarks[target.id],
                "line": target.line(value),
            }
            for target in self._targets.values()
        ]
