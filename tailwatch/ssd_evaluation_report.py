"""What `tailwatch ssd evaluate` prints: the protocol's figures, each with its interval, the rule beside them."""

import math
from collections.abc import Iterator
from datetime import date

import polars as pl

from analytics.ssd.baseline import NAME
from analytics.ssd.card import SYNTHETIC_WARNING
from analytics.ssd.drift import DRIFTED
from analytics.ssd.evaluation import Evaluation
from analytics.ssd.figures import Alerting, Level
from analytics.ssd.intervals import Figure
from analytics.ssd.leakage import Leakage
from analytics.ssd.model import Model

_MOST_MODELS = 15


def as_text(found: Evaluation, file: str) -> str:
    """The whole report."""
    return "\n".join(_lines(found, file))


def _lines(found: Evaluation, file: str) -> Iterator[str]:
    made_up = " [synthetic]" if found.synthetic else ""
    yield f"{file}{made_up}: drives that fail within {found.horizon_d} days"
    if found.synthetic:
        yield SYNTHETIC_WARNING.replace("trained on", "data of")
    yield ""
    yield from _days_used(found)
    yield ""
    yield from _tables(found)
    yield ""
    yield from _verdicts(found)
    yield ""
    yield from _by_model(found)
    if found.leakage is not None:
        yield ""
        yield from _checks(found.leakage)


def _days_used(found: Evaluation) -> Iterator[str]:
    span = (found.last - found.first).days + 1
    yield f"Data: {found.first} to {found.last}, {span} days. Parts:"
    yield f"  {'':<9} {'days':<33} {'drives':>8} {'rows':>10} {'failed drives':>14} {'positive rows':>14}"
    for part in found.parts:
        count = (part.last - part.first).days + 1
        days = f"{part.first} to {part.last} ({count} days)"
        yield (
            f"  {part.name:<9} {days:<33} {part.drives:>8,} {part.rows:>10,} {part.failed_drives:>14} "
            f"{part.positive_rows:>14,}"
        )
    if found.validates == "days":
        yield f"  Between the parts {found.horizon_d} days of gap. Thresholds and calibration: from `validate`."
    elif found.validates == "drives":
        yield (
            f"  Too few days to validate on days of their own: by drives that the training left out. Before the test "
            f"{found.horizon_d} days of gap."
        )
    if found.seeds > 1 or found.folds > 1:
        yield f"  {found.seeds} seeds x {found.folds} folds by drive and node: no model scores what it was trained on."
    left = ", ".join(f"{count:,} {why}" for why, count in found.dropped.items() if count)
    yield f"  Rows left out: {left or 'none'}."


def _tables(found: Evaluation) -> Iterator[str]:
    yield "Ranking (means over seeds; 90 % intervals over drives):"
    yield (f"  {'':<34} {'AUCPR':<22} {'TPR at FPR 0.1 %':<22} {'TPR at FPR 1 %':<22} {'AUROC':<22}")
    for level in (found.drive, found.row):
        figures = level.figures
        ranked = ("aucpr", "tpr_at_fpr_0.1%", "tpr_at_fpr_1%", "auroc")
        yield f"  {f'model, by {level.name}':<34} " + " ".join(f"{_figure(figures[name]):<22}" for name in ranked)
        yield f"  {f'rule, by {level.name}':<34} {_figure(figures['rule_aucpr']):<22}"
        yield f"  {f'no order, by {level.name}':<34} {level.base_rate:.4f}   ({level.positives} of {level.count:,})"
    if found.fold_aucpr is not None:
        yield f"  {'AUCPR by drive within each fold':<34} {_figure(found.fold_aucpr)} (5 % to 95 % of the folds)"
    yield ""
    yield "Alarms (thresholds from the validation):"
    yield (
        f"  {'':<18} {'F0.5':<22} {'precision':<22} {'recall':<22} {'FPR':<25} {'alerts/1,000/day':<22} "
        "lead days 10/50/90 %"
    )
    for level in (found.drive, found.row):
        for which in ("replace", "watch", "rule"):
            yield _alarm(level, which, found.alerting[which] if level.name == "drive" else None)


def _alarm(level: Level, which: str, alerting: Alerting | None) -> str:
    figures = [level.figures[f"{which}_{name}"] for name in ("f0.5", "precision", "recall")]
    line = f"  {f'{which}, by {level.name}':<18} " + " ".join(f"{_figure(figure):<22}" for figure in figures)
    line += f" {_percent(level.figures[f'{which}_fpr']):<25}"
    if alerting is None:
        return line.rstrip()
    lead = "/".join("-" if math.isnan(days) else f"{days:.0f}" for days in alerting.lead_days)
    return f"{line} {_figure(alerting.per_1000_drives_a_day):<22} {lead}"


def _verdicts(found: Evaluation) -> Iterator[str]:
    yield f'Beside the rule "{NAME}", at the rule\'s own share of false alarms:'
    for level in (found.drive, found.row):
        figures = level.figures
        more = figures["recall_over_rule"]
        said = "better" if more.low > 0 else "worse" if more.high < 0 else "not told apart"
        own, rule = _figure(figures["recall_at_rule_fpr"]), _figure(figures["rule_recall"])
        yield (
            f"  by {level.name:<6} recall {own}, the rule {rule}, "
            f"difference {more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f}): {said}"
        )
    top, errors = found.top_decile, found.errors
    yield "Calibration:"
    said = "inside" if top.holds else "OUTSIDE"
    yield (
        f"  top decile: {top.predicted:.3%} predicted (95 %: {top.low:.3%} to {top.high:.3%}), "
        f"{top.observed:.3%} failed: {said}"
    )
    yield (
        f"  Brier {errors['brier'].value:.5f} (a constant: {errors['base_brier'].value:.5f}), "
        f"ECE {errors['ece'].value:.5f}"
    )


def _by_model(found: Evaluation) -> Iterator[str]:
    yield "Recall by drive model (ceiling: share of the failed that show any symptom by their last day in the test):"
    yield f"  {'':<28} {'drives':>8} {'failed':>7} {'ceiling':>8} {'replace':>8} {'watch':>8} {'rule':>8}"
    for line in found.models[:_MOST_MODELS]:
        yield (
            f"  {line.model[:28]:<28} {line.drives:>8,} {line.failed:>7} {line.ceiling:>8.0%} {line.replace:>8.0%} "
            f"{line.watch:>8.0%} {line.rule:>8.0%}"
        )
    if len(found.models) > _MOST_MODELS:
        failed = sum(line.failed for line in found.models[_MOST_MODELS:])
        yield f"  and {len(found.models) - _MOST_MODELS} more with {failed} failed drives (--json lists them)"


def _checks(found: Leakage) -> Iterator[str]:
    yield "Checks for leaks:"
    shuffled, rows, best = found.shuffled, found.random_rows, found.best_column
    said = "ok" if shuffled.passed else "LEAK: drives of the training stand in the test"
    yield (
        f"  shuffled labels: AUCPR by drive {shuffled.aucpr:.4f}, in no order {shuffled.base_rate:.4f}, limit "
        f"{shuffled.limit:.4f}: {said}"
    )
    said = "LEAK: no reading can be that good" if best.alarm else "ok"
    yield f"  best column by itself: {best.column or 'none'} with AUROC {best.auroc:.3f}: {said}"
    times = rows.aucpr / rows.honest if rows.honest else math.inf
    said = "ALARM: such figures flatter; never quote them" if rows.alarm else "ok"
    yield (
        f"  rows split at random: AUCPR by row {rows.aucpr:.3f}, {times:.1f} times the {rows.honest:.3f} of the honest "
        f"split: {said}"
    )


def drift_text(model: Model, moved: pl.DataFrame, first: date) -> str:
    """What a given model was trained on, and how far today's drives are from that."""
    lines = ["", f"Model {model.digest}, trained on {model.card.first_day} to {model.card.last_day}."]
    if str(first) <= model.card.last_day:
        lines.append("WARNING: the model was trained on some of these days: the figures above flatter it.")
    lines.append(f"Drift (PSI; from {DRIFTED} on these are other drives than those of the training):")
    lines += [
        f"  {line['psi']:>7.3f}  {line['feature']:<32} {line['model'] or 'all drives'}"
        for line in moved.head(8).iter_rows(named=True)
    ]
    return "\n".join(lines)


def _figure(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "-"
    if math.isnan(figure.low):
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"


def _percent(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "-"
    return f"{figure.value:.3%} ({figure.low:.3%}-{figure.high:.3%})"
