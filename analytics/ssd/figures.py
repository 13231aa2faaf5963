"""The figures of an evaluation: what models of several seeds said of a test's rows, beside the rule, with intervals.

Twice: by row, and by drive, where a drive counts as failed if one of its rows is positive, as alarmed if one of its
rows is, and has the highest of its probabilities. Each figure is the mean over the seeds; folds are pooled, as their
probabilities are calibrated. Intervals draw drives (intervals.py), the same ones for all seeds and for the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analytics.ssd.examples import Examples
from analytics.ssd.intervals import Figure, bootstrap, intervals_of
from analytics.ssd.labels import BoolArray, Int32Array
from analytics.ssd.metrics import (
    Float64Array,
    Ranking,
    alarms,
    average_precision,
    brier,
    calibration_error,
    ranking,
    recall_at,
    roc_area,
)
from analytics.ssd.trial import Scored

#: Shares of false alarms at which recall is given.
RATES = (0.001, 0.01)
_RANKED = ("aucpr", "auroc", "tpr_at_fpr_0.1%", "tpr_at_fpr_1%")
_ALARMED = ("f0.5", "precision", "recall", "fpr")
_NAMES = (
    *_RANKED,
    "recall_at_rule_fpr",
    "recall_over_rule",
    *(f"{kind}_{name}" for kind in ("replace", "watch", "rule") for name in _ALARMED),
    "rule_aucpr",
)


@dataclass(frozen=True, slots=True)
class Level:
    """Figures by row or by drive.

    Attributes:
        figures: by name: of the ranking (aucpr, auroc, tpr_at_fpr_*), of the alarms at the thresholds of the validation
            (replace_*, watch_*), of the rule (rule_*), and recall_over_rule: how much more of the failures the model
            finds than the rule does, at the rule's own share of false alarms.
    """

    name: Literal["drive", "row"]
    count: int
    positives: int
    figures: dict[str, Figure]

    @property
    def base_rate(self) -> float:
        """AUCPR of a list in no order."""
        return self.positives / self.count if self.count else float("nan")


@dataclass(frozen=True, slots=True)
class TopDecile:
    """The tenth of the rows with the highest probabilities.

    Attributes:
        predicted: mean probability; low, high: where the observed share lies with 95 % if that is right.
    """

    predicted: float
    low: float
    high: float
    observed: float

    @property
    def holds(self) -> bool:
        """Whether the observed share is within the interval."""
        return self.low <= self.observed <= self.high


@dataclass(frozen=True, slots=True)
class _Seed:
    """What one seed said, at one level; `drive` numbers the drives of the whole test."""

    ranked: Ranking
    positive: BoolArray
    replace: BoolArray
    watch: BoolArray
    rule: BoolArray
    ranked_rule: Ranking
    drive: Int32Array


def level(material: Examples, trials: Sequence[Scored], name: Literal["drive", "row"], draws: int) -> Level:
    """Figures of all seeds at one level."""
    numbers = _numbers(material, trials)
    seeds = [_seed(material, scored, numbers, by_row=name == "row") for scored in trials]
    every = np.arange(int(numbers.max()) + 1, dtype=np.int32)

    def figures(weights: Float64Array | None) -> Float64Array:
        return np.asarray(np.mean([_figures(seed, weights) for seed in seeds], axis=0))

    found = bootstrap(every, figures, draws=draws)
    counts = [seed.positive.size for seed in seeds]
    positives = [int(seed.positive.sum()) for seed in seeds]
    return Level(name, round(np.mean(counts)), round(np.mean(positives)), dict(zip(_NAMES, found, strict=True)))


def _figures(seed: _Seed, weights: Float64Array | None) -> Float64Array:
    own = None if weights is None else weights[seed.drive]
    steps = seed.ranked.steps(own)
    rule = alarms(seed.rule, seed.positive, own)
    at_rule = recall_at(steps, rule.false_positive_rate) if rule.true + rule.false else float("nan")
    found = [average_precision(steps), roc_area(steps), *(recall_at(steps, rate) for rate in RATES)]
    found += [at_rule, at_rule - rule.recall]
    for counts in (alarms(seed.replace, seed.positive, own), alarms(seed.watch, seed.positive, own), rule):
        precision = counts.precision if counts.true + counts.false else 0.0
        found += [counts.f_half, precision, counts.recall, counts.false_positive_rate]
    found.append(average_precision(seed.ranked_rule.steps(own)))
    return np.array(found)


def _numbers(material: Examples, trials: Sequence[Scored]) -> Int32Array:
    """int32[drives of the examples]: the number of each drive among those of the test, -1 elsewhere."""
    tested = np.unique(np.concatenate([material.drive[scored.rows] for scored in trials]))
    numbers = np.full(int(material.drive.max()) + 1, -1, np.int32)
    numbers[tested] = np.arange(tested.size, dtype=np.int32)
    return numbers


def _seed(material: Examples, scored: Scored, numbers: Int32Array, *, by_row: bool) -> _Seed:
    rows = scored.rows
    drive = material.drive[rows]
    starts = np.arange(rows.size) if by_row else drive_starts(drive)

    def any_of(values: BoolArray) -> BoolArray:
        return values if by_row else np.logical_or.reduceat(values, starts)

    probability = scored.probability if by_row else np.maximum.reduceat(scored.probability, starts)
    positive, rule = any_of(material.positive[rows]), any_of(material.grew[rows])
    return _Seed(
        ranking(probability, positive),
        positive,
        any_of(scored.replace),
        any_of(scored.watch),
        rule,
        ranking(rule.astype(np.float64), positive),
        numbers[drive[starts]],
    )


def drive_starts(drive: Int32Array) -> np.typing.NDArray[np.int64]:
    """Where each drive's rows begin; rows of a drive stand together."""
    return np.flatnonzero(np.append(True, drive[1:] != drive[:-1])) if drive.size else np.zeros(0, np.int64)


def errors(material: Examples, trials: Sequence[Scored], draws: int) -> dict[str, Figure]:
    """Brier score and ECE by row, with the Brier score of a constant, the base rate, beside them."""
    numbers = _numbers(material, trials)
    every = np.arange(int(numbers.max()) + 1, dtype=np.int32)
    seeds = [
        (scored.probability, material.positive[scored.rows], numbers[material.drive[scored.rows]]) for scored in trials
    ]

    def figures(weights: Float64Array | None) -> Float64Array:
        found = []
        for probability, positive, drive in seeds:
            own = np.ones(drive.size) if weights is None else weights[drive]
            rate = float(np.average(positive, weights=own))
            found.append(
                (brier(probability, positive, own), calibration_error(probability, positive, own), rate * (1 - rate))
            )
        return np.asarray(np.mean(found, axis=0))

    return dict(zip(("brier", "ece", "base_brier"), bootstrap(every, figures, draws=draws), strict=True))


def top_decile(material: Examples, trials: Sequence[Scored], draws: int) -> TopDecile:
    """Predicted and observed share of the tenth of the rows with the highest probabilities."""
    numbers = _numbers(material, trials)
    every = np.arange(int(numbers.max()) + 1, dtype=np.int32)
    seeds = []
    for scored in trials:
        top = np.argsort(-scored.probability, kind="stable")[: max(1, scored.rows.size // 10)]
        rows = scored.rows[top]
        seeds.append((scored.probability[top], material.positive[rows], numbers[material.drive[rows]]))

    def shares(weights: Float64Array | None) -> Float64Array:
        found = []
        for probability, positive, drive in seeds:
            own = np.ones(drive.size) if weights is None else weights[drive]
            found.append((np.average(probability, weights=own), np.average(positive, weights=own)))
        predicted, observed = np.mean(found, axis=0)
        return np.array([predicted, observed, observed - predicted])

    predicted, observed, apart = bootstrap(every, shares, draws=draws, level=0.95)
    # How far from its mean the difference strays by the draw of drives alone.
    return TopDecile(
        predicted.value,
        max(0.0, predicted.value + apart.low - apart.value),
        predicted.value + apart.high - apart.value,
        observed.value,
    )


@dataclass(frozen=True, slots=True)
class Alerting:
    """What an operator hears at one threshold, or of the rule.

    Attributes:
        per_1000_drives_a_day: drives named for the first time in the test, per 1,000 drives and day of it.
        lead_days: P10, P50 and P90 of the days from a failed drive's first alarm to its failure; NaN without any.
    """

    per_1000_drives_a_day: Figure
    lead_days: tuple[float, float, float]


def alerting(
    material: Examples, trials: Sequence[Scored], which: Literal["replace", "watch", "rule"], draws: int
) -> Alerting:
    """Alerts and lead times over all seeds."""
    numbers = _numbers(material, trials)
    every = np.arange(int(numbers.max()) + 1, dtype=np.int32)
    fired, leads = [], []
    for scored in trials:
        fires = material.grew[scored.rows] if which == "rule" else getattr(scored, which)
        drive = material.drive[scored.rows]
        starts = drive_starts(drive)
        alarmed = np.logical_or.reduceat(fires, starts)
        fired.append((alarmed, numbers[drive[starts]]))
        failed = np.logical_or.reduceat(material.positive[scored.rows], starts)
        never = np.iinfo(np.int32).max
        first = np.minimum.reduceat(np.where(fires, material.day[scored.rows], never), starts)
        chosen = alarmed & failed
        leads.append((material.labels.failed_on[scored.rows][starts] - first)[chosen])
    days = np.concatenate([material.day[scored.rows] for scored in trials])
    span = int(days.max() - days.min()) + 1

    def rate(weights: Float64Array | None) -> Float64Array:
        own = [np.ones(drive.size) if weights is None else weights[drive] for _, drive in fired]
        shares = [np.average(alarmed, weights=weight) for (alarmed, _), weight in zip(fired, own, strict=True)]
        return np.array([1_000 * float(np.mean(shares)) / span])

    pooled = np.concatenate(leads)
    lead = tuple(float(q) for q in np.quantile(pooled, (0.1, 0.5, 0.9))) if pooled.size else (float("nan"),) * 3
    return Alerting(bootstrap(every, rate, draws=draws)[0], lead)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ModelRecall:
    """How much of a drive model's failures is found, and could be.

    Attributes:
        failed: failed drives of the test. ceiling: share of them that show any symptom by their last row: what looks
            at symptoms alone can never find more. replace, watch: recall at the thresholds, mean over the seeds.
    """

    model: str
    drives: int
    failed: int
    ceiling: float
    replace: float
    watch: float
    rule: float


def recall_by_model(material: Examples, trials: Sequence[Scored]) -> list[ModelRecall]:
    """One line for each drive model with failures in the test, the most failures first."""
    found: dict[str, list[tuple[int, int, float, float, float, float]]] = {}
    names = material.keys["model"].fill_null("(unknown)")
    for scored in trials:
        drive = material.drive[scored.rows]
        starts = drive_starts(drive)
        ends = np.append(starts[1:], drive.size) - 1
        failed = np.logical_or.reduceat(material.positive[scored.rows], starts)
        shows = material.any_symptom[scored.rows[ends]]
        fires = [
            np.logical_or.reduceat(each, starts) for each in (scored.replace, scored.watch, material.grew[scored.rows])
        ]
        own = names[scored.rows[starts]].to_numpy()
        for name in np.unique(own[failed]):
            here = own == name
            lost = here & failed
            shares = [float(each[lost].mean()) for each in (shows, *fires)]
            found.setdefault(str(name), []).append((int(here.sum()), int(lost.sum()), *shares))  # type: ignore[arg-type]
    lines = []
    for name, seeds in found.items():
        mean = np.mean(seeds, axis=0)
        lines.append(ModelRecall(name, round(mean[0]), round(mean[1]), *(float(value) for value in mean[2:])))
    return sorted(lines, key=lambda line: (-line.failed, line.model))


def fold_mean_aucpr(
    material: Examples, trials: Sequence[Scored], fold_of: Sequence[np.typing.NDArray[np.int8]]
) -> Figure:
    """AUCPR by drive within each fold, mean over seeds and folds, with the 5 % and 95 % quantiles of these.

    Folds without a failed drive do not count."""
    found = []
    for scored, fold in zip(trials, fold_of, strict=True):
        for own in np.unique(fold[scored.rows]):
            inside = fold[scored.rows] == own
            rows = scored.rows[inside]
            starts = drive_starts(material.drive[rows])
            score = np.maximum.reduceat(scored.probability[inside], starts)
            failed = np.logical_or.reduceat(material.positive[rows], starts)
            found.append(average_precision(ranking(score, failed).steps()))
    values = np.array(found)
    return intervals_of(float(np.nanmean(values)), values, 0.9)
