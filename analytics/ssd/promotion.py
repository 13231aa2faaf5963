"""Whether a newly trained model may take the current one's place: judged on held-out rows, criterion by criterion.

The candidate runs in the shadow first. Days that neither model was trained on are scored by both; the gate lets the
candidate pass only where every criterion holds, and says of each what was seen and what was wanted. Without a current
model the comparisons fall away and the bounds stay.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from analytics.errors import ModelMismatchError, TooFewDataError
from analytics.ssd.evaluation import score
from analytics.ssd.examples import Examples, examples
from analytics.ssd.figures import drive_starts, top_decile
from analytics.ssd.intervals import bootstrap
from analytics.ssd.leakage import TOO_GOOD, best_column
from analytics.ssd.metrics import Float64Array, average_precision, ranking, recall_at
from analytics.ssd.model import Model
from analytics.ssd.training import LEAST_FAILED
from analytics.ssd.trial import Scored


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the gate asks for.

    Attributes:
        worse_by: share of the current model's figure by which the candidate may be worse: a handful of drives.
        calibration: predicted failures over observed ones, lowest and highest.
        top_decile: share of the predicted by which the observed may be beside it, where its interval is narrower.
        alert_ratio: alarmed drives over those of the current model, lowest and highest.
        most_alarmed: share of all drives that may be alarmed at the threshold `replace`.
    """

    worse_by: float = 0.05
    calibration: tuple[float, float] = (0.5, 2.0)
    top_decile: float = 0.1
    alert_ratio: tuple[float, float] = (0.5, 2.0)
    most_alarmed: float = 0.02


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion for one horizon: what was seen, what was wanted, in words with figures."""

    horizon_d: int
    name: str
    met: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says. `why` names the criteria that were not met; "" where the candidate may be promoted."""

    criteria: tuple[Criterion, ...]

    @property
    def promoted(self) -> bool:
        """Every criterion is met."""
        return all(criterion.met for criterion in self.criteria)

    @property
    def why(self) -> str:
        """The criteria that are not met, in words."""
        return "; ".join(f"{each.horizon_d} days: {each.text}" for each in self.criteria if not each.met)


def judge(
    candidate: Model,
    current: Model | None,
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    bounds: Bounds = Bounds(),
    *,
    draws: int = 300,
) -> Verdict:
    """Judge a candidate on held-out rows.

    Args:
        days, features, failures: of days after those that either model was trained on (their cards say which); rows
            whose horizon is not over are left out by themselves.
    Raises:
        TooFewDataError: fewer than ten failed drives for one of the candidate's horizons.
        ModelMismatchError: the two foretell other horizons, or one was trained on the days given.
    """
    if current is not None and not set(current.horizons) <= set(candidate.horizons):
        raise ModelMismatchError(
            f"the candidate foretells {candidate.horizons} days, the current model {current.horizons}; train the "
            "candidate for these too"
        )
    begins = str(features["day"].min())
    for name, model in (("candidate", candidate), ("current model", current)):
        if model is not None and begins <= model.card.last_day:
            raise ModelMismatchError(
                f"the {name} was trained on days up to {model.card.last_day}, the rows to judge it by begin on "
                f"{begins}; give later days"
            )
    criteria: list[Criterion] = []
    for horizon in candidate.horizons:
        criteria += _criteria(candidate, current, horizon, days, features, failures, bounds, draws)
    return Verdict(tuple(criteria))


def _criteria(
    candidate: Model,
    current: Model | None,
    horizon: int,
    days: pl.DataFrame,
    features: pl.DataFrame,
    failures: pl.DataFrame,
    bounds: Bounds,
    draws: int,
) -> Iterator[Criterion]:
    def scored(model: Model) -> tuple[Examples, Scored]:
        rows = examples(days, features, failures, horizon, model.encoding.features, encoding=model.encoding)
        return rows, score(model, rows, horizon)

    rows, new = scored(candidate)
    failed = rows.failed_drives(new.rows)
    if failed < LEAST_FAILED:
        raise TooFewDataError(
            f"{failed} failed drives in {new.rows.size:,} held-out rows for {horizon} days; want {LEAST_FAILED}"
        )
    old = scored(current)[1] if current is not None and horizon in current.horizons else None
    if old is not None:
        yield from _not_worse(rows, new, old, horizon, bounds, draws)
    ratio = float(new.probability.sum()) / float(rows.positive.sum())
    low, high = bounds.calibration
    said = f"predicts {ratio:.2f} times the failures there were; want {low:g} to {high:g} times"
    yield Criterion(horizon, "calibration", low <= ratio <= high, said)
    top = top_decile(rows, [new], draws)
    # With many failures the interval is narrower than any model is right.
    near = abs(top.observed - top.predicted) <= bounds.top_decile * top.predicted
    said = (
        f"top decile: {top.observed:.3%} failed, {top.predicted:.3%} predicted; want {top.low:.3%} to {top.high:.3%}, "
        f"or {bounds.top_decile:.0%} beside the predicted at most"
    )
    yield Criterion(horizon, "calibration of the top decile", top.holds or near, said)
    yield from _alerts(rows, new, old, horizon, bounds)
    best = best_column(rows, new.rows)
    said = f"{best.column or 'no column'} alone tells failed drives with AUROC {best.auroc:.3f}; want below {TOO_GOOD}"
    yield Criterion(horizon, "no leak in a column", not best.alarm, said)
    yield _trained_cleanly(candidate, horizon)


def _not_worse(
    rows: Examples, new: Scored, old: Scored, horizon: int, bounds: Bounds, draws: int
) -> Iterator[Criterion]:
    starts = drive_starts(rows.drive)
    failed = np.logical_or.reduceat(rows.positive, starts)
    ranked = [ranking(np.maximum.reduceat(each.probability, starts), failed) for each in (new, old)]
    drive = np.arange(starts.size, dtype=np.int32)
    figures: tuple[tuple[str, Callable[..., float]], ...] = (
        ("AUCPR", average_precision),
        ("TPR at FPR 0.1 %", lambda steps: recall_at(steps, 0.001)),
    )
    for name, figure in figures:

        def both(weights: Float64Array | None, figure: Callable[..., float] = figure) -> Float64Array:
            mine, theirs = (figure(each.steps(weights)) for each in ranked)
            return np.array([mine, theirs, mine - theirs])

        mine, theirs, apart = bootstrap(drive, both, draws=draws)
        least = theirs.value * (1 - bounds.worse_by)
        said = (
            f"{name} {mine.value:.3f}, the current model {theirs.value:.3f} (difference {apart.value:+.3f}, 90 % "
            f"{apart.low:+.3f} to {apart.high:+.3f}); want {least:.3f} or more"
        )
        yield Criterion(horizon, f"{name} not worse", mine.value >= least, said)


def _alerts(rows: Examples, new: Scored, old: Scored | None, horizon: int, bounds: Bounds) -> Iterator[Criterion]:
    starts = drive_starts(rows.drive)
    alarmed = int(np.logical_or.reduceat(new.replace, starts).sum())
    share = alarmed / starts.size
    said = f"alarms {alarmed} of {starts.size:,} drives ({share:.2%}); want {bounds.most_alarmed:.2%} at most"
    yield Criterion(horizon, "alerts", share <= bounds.most_alarmed, said)
    if old is None:
        return
    before = int(np.logical_or.reduceat(old.replace, starts).sum())
    low, high = bounds.alert_ratio
    # A few drives more or less are no change, whatever their ratio.
    near = abs(alarmed - before) <= max(5.0, 0.0005 * starts.size)
    said = f"alarms {alarmed} drives, the current model {before}; want {low:g} to {high:g} times as many"
    yield Criterion(horizon, "alerts beside the current model", near or low * before <= alarmed <= high * before, said)


def _trained_cleanly(candidate: Model, horizon: int) -> Criterion:
    found = candidate.card.results.get(str(horizon))
    checks = found.get("leakage") if found else None
    if not checks:
        said = "the card has no checks for leaks; train with the protocol"
        return Criterion(horizon, "checks for leaks", met=False, text=said)
    shuffled = checks["shuffled"]
    said = f"shuffled labels: AUCPR {shuffled['aucpr']:.4f}; want {shuffled['limit']:.4f} at most"
    return Criterion(horizon, "checks for leaks", bool(checks["passed"]), said)
