"""Table 1: the whole protocol on real hard disks, H = 10 days, and on a synthetic fleet, H = 30 days.

Days are split with gaps, drives and nodes into folds, calibration and thresholds come from the validation: this is what
`tailwatch ssd evaluate` prints. By drive; intervals are drawn over drives.
"""

from dataclasses import replace

import polars as pl

from analytics.ssd.evaluation import Evaluation, Protocol, evaluate
from analytics.ssd.feature_names import TAUGHT
from analytics.ssd.features import features
from analytics.ssd.fleet import simulate
from analytics.ssd.fleet_parameters import FleetParameters
from analytics.ssd.fleet_reference import fleet_references
from benchmarks.ssd.data import DISKS, real_disks, real_symptoms
from benchmarks.ssd.goals import CALIBRATION, HDD10, OVER_RULE
from benchmarks.ssd.sizing import Sizing
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

REAL_HORIZON, SYNTHETIC_HORIZON = 10, 30
SYNTHETIC_SEED = 11  # none of the target's seeds, none that anything was chosen on
COLUMNS = [
    Column("data", "data"), Column("drives", "drives tested"), Column("failed", "failed"),
    Column("figure", "figure"), Column("value", "value", 4), Column("low", "low", 4), Column("high", "high", 4),
]  # fmt: skip
SHOWN = (
    "aucpr", "rule_aucpr", "auroc", "tpr_at_fpr_0.1%", "tpr_at_fpr_1%", "replace_f0.5", "replace_precision",
    "replace_recall", "rule_precision", "rule_recall", "rule_fpr", "recall_at_rule_fpr", "recall_over_rule",
)  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Real first; the calibration has to hold on both."""
    table = Table("disks", "1. The protocol: real hard disks, and a synthetic fleet", COLUMNS)
    table.notes = [
        f"{size.disk_seeds} seeds of 5 folds; intervals of 90 % over drives, of the top decile 95 %",
        "rule: any symptom grew in 30 days; recall_over_rule: at the rule's share of false alarms",
    ]
    held: dict[str, bool] = {}
    real, why = real_disks(size.healthy)
    if real is None:
        for target in (HDD10, OVER_RULE):
            board.fail(target, f"real hard disks {why}")
        table.notes.append(f"real hard disks {why}")
    else:
        days, failures = real
        found = _evaluated(days, failures, REAL_HORIZON, size, synthetic=False)
        words = f"real hard disks, {REAL_HORIZON} days ahead"
        table.notes.append(f"{DISKS.name}: {len(days):,} drive-days, not synthetic; disks of 2013, no SSDs")
        _rows(table, words, found)
        held[words] = found.top_decile.holds
        aucpr = found.drive.figures["aucpr"]
        board.score(
            HDD10, aucpr.value, f"mean of {size.disk_seeds} seeds x 5 folds, 90 %: {aucpr.low:.3f} to {aucpr.high:.3f}"
        )
        over = found.recall_over_rule
        board.score(
            OVER_RULE,
            over.low,
            f"lower bound of the 90 % interval, wanted above 0; recall is {over.value:.3f} higher than the rule's",
        )
    parameters = replace(FleetParameters(), drives=size.fleet_drives)
    fleet = simulate(parameters, SYNTHETIC_SEED, real_symptoms()[0])
    seeds = replace(size, disk_seeds=min(3, size.disk_seeds))
    found = _evaluated(fleet.days, fleet.failures, SYNTHETIC_HORIZON, seeds, synthetic=True)
    words = f"synthetic fleet, {SYNTHETIC_HORIZON} days ahead"
    table.notes.append(f"{fleet.synthetic_note} {seeds.disk_seeds} seeds of 5 folds")
    _rows(table, words, found)
    held[words] = found.top_decile.holds
    board.score(
        CALIBRATION,
        float(all(held.values())),
        "observed share of the top decile inside the 95 % interval of the predicted one: "
        + ", ".join(f"{name}: {'yes' if holds else 'no'}" for name, holds in held.items()),
    )
    return [table]


def _evaluated(
    days: pl.DataFrame, failures: pl.DataFrame, horizon: int, size: Sizing, *, synthetic: bool
) -> Evaluation:
    protocol = Protocol(seeds=size.disk_seeds, drive_draws=size.draws, row_draws=max(20, size.draws // 5))
    known = features(days, failures=failures, reference=fleet_references(days))
    return evaluate(days, known, failures, horizon, TAUGHT, protocol, synthetic=synthetic)


def _rows(table: Table, words: str, found: Evaluation) -> None:
    about: Row = {"data": words, "drives": found.drive.count, "failed": found.drive.positives}
    for name in SHOWN:
        figure = found.drive.figures[name]
        table.rows.append({**about, "figure": name, "value": figure.value, "low": figure.low, "high": figure.high})
    for name, figure in found.errors.items():
        table.rows.append({**about, "figure": name, "value": figure.value, "low": figure.low, "high": figure.high})
    top = found.top_decile
    table.rows.append(
        {**about, "figure": "top decile, predicted", "value": top.predicted, "low": top.low, "high": top.high}
    )
    table.rows.append({**about, "figure": "top decile, observed", "value": top.observed})
