"""What is said of a drive: rules that fired, how its wear goes on, how probably it fails, and the state of it all.

The three outputs are kept apart and never merged into one number; only the state looks at all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Severity = Literal["watch", "replace"]


class State(IntEnum):
    """What to do about a drive. The numbers are those of the series drive_state: the worst known is the highest."""

    UNKNOWN = -1
    GOOD = 0
    WATCH = 1
    REPLACE = 2


@dataclass(frozen=True, slots=True)
class FiredRule:
    """A hard rule (hard_rules.yaml) that a drive-day meets.

    Attributes:
        rule: its id, stable over releases.
        column: the column it looked at.
        value: what stands there; before: what stood there `days` days ago, None where the rule looks at levels only.
        text: the same in words with the figures in it.
    """

    rule: str
    severity: Severity
    column: str
    value: int
    before: int | None
    days: int | None
    text: str


@dataclass(frozen=True, slots=True)
class WearForecast:
    """When the rated life is used up: a date, and an interval that holds it with the stated confidence.

    Attributes:
        used_pct: rated life used on the newest day, in percent; may exceed 100.
        pct_per_day: slope.
        ends, ends_early, ends_late: None where the slope is flat, or that bound lies beyond what a date can say.
        confidence: of the interval, 0.9 for 90 %.
        why_not: why there is no forecast; "" where there is one.
        basis: what the slope is of: "window" (the last days), "life" (wear over hours powered on), "" for none.
    """

    used_pct: float | None
    pct_per_day: float | None
    ends: date | None
    ends_early: date | None
    ends_late: date | None
    confidence: float
    why_not: str
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in a probability, in words with its figures: "reallocated sectors 4 -> 61 in 7 days".

    Attributes:
        contribution: SHAP value in log-odds before calibration; above 0 speaks for failing.
    """

    feature: str
    column: str
    contribution: float
    text: str


class Scorer(Protocol):
    """What the rest needs of a model (model.py); tests give a simple one."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """In days, ascending, for example (7, 30)."""

    @property
    def digest(self) -> str:
        """ "sha256:..." of the model's bytes."""

    @property
    def thresholds(self) -> Mapping[int, tuple[float, float]]:
        """Probability from which a drive is worth a look, and from which it should go, by horizon: from validation."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of `contributions`, in their order."""

    def probabilities(self, features: pl.DataFrame) -> dict[int, Float64Array]:
        """Horizon -> calibrated probability of a fail-stop within it, float64[rows] in [0, 1]."""

    def contributions(self, features: pl.DataFrame, horizon: int) -> Float32Array:
        """SHAP values in log-odds, float32[rows, features], in the order of the model's features."""

    def knows(self, days: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether drives of such a kind and vendor were in the training data at all."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An operator has seen these causes on a drive and does not want to hear of them again, unless they get worse.

    Attributes:
        cause: id of a rule, or "probability", or "wear".
        level: what the cause's value was then; a higher one counts as news.
    """

    cause: str
    level: float
    until: date | None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is said of one drive on one day.

    Attributes:
        why_unknown: why the state is UNKNOWN, or why there is no probability although a state could be told; "" else.
        probabilities: by horizon; empty where there is none, and then `why_no_probability` says why.
        since: day from which on the state holds.
        calm_days: for how many days evidence has been below the state that is held (hysteresis).
    """

    drive: str
    day: date
    state: State
    since: date
    calm_days: int
    causes: Mapping[str, float]
    rules: tuple[FiredRule, ...]
    wear: WearForecast
    probabilities: Mapping[int, float]
    why_no_probability: str
    why_unknown: str
    reasons: tuple[Reason, ...]
