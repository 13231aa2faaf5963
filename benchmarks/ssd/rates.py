"""Table 3: features, probabilities and training per CPU second, beside what one would write first.

Features: all of ours from drive-days of one fleet. The peers compute the growth of nine symptoms over 1, 7 and 30 days
only, a fifth of ours: a loop over drives in Python, and as-of joins of Polars. Their figures are compared with ours;
whoever finds another growth has no number.

Scoring: one row a drive, probabilities of one horizon, of both, and with contributions (SHAP) for the drives above the
threshold to watch. The peer is scikit-learn's trees of the same number and depth, probabilities of one horizon.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from analytics.ssd.columns import SYMPTOMS
from analytics.ssd.feature_names import FEATURES, GROWTH_SPANS, STEMS
from analytics.ssd.features import features
from analytics.ssd.fleet import daily, simulate
from analytics.ssd.fleet_parameters import FleetParameters
from analytics.ssd.fleet_reference import fleet_reference, fleet_references, reference_day
from analytics.ssd.model import Model
from analytics.ssd.timeline import TOLERANCE_D
from analytics.ssd.training import Recipe
from benchmarks.rounds import Candidate, interleaved
from benchmarks.ssd.goals import FEATURE_ROWS, SCORED
from benchmarks.ssd.sizing import Sizing
from benchmarks.ssd.trained import trained
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

OURS, LOOP, JOINS = "tailwatch", "a loop over drives in Python, growth only", "Polars join_asof, growth only"
TABLES_TOO = "tailwatch, tables of each model made as well"
ONE, BOTH = "tailwatch, 30 days", "tailwatch, 7 and 30 days"
REASONS = "tailwatch, 7 and 30 days and reasons of the flagged"
PEER = "sklearn HistGradientBoosting, one horizon"
TIMES = 10  # the newest day of the drives is scored as often over: a batch as large as a large fleet's
COLUMNS = [
    Column("what", "what"), Column("who", "who"), Column("median", "per CPU s", 0), Column("low", "lowest", 0),
    Column("high", "highest", 0), Column("ratio", "ours / it", 1), Column("state", ""),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Three parts: features, scoring, training."""
    table = Table("rates", "3. Features, scoring and training", COLUMNS)
    fleet = simulate(daily(FleetParameters(), size.rate_drives, 30), 13)
    table.notes = [
        fleet.synthetic_note,
        f"{len(fleet.days):,} drive-days of 30 days in a row, {len(FEATURES)} features",
    ]
    table.rows += _feature_rates(fleet.days, fleet.failures, size, board, table)
    model, rows, took_s = trained(size.fleet_drives)
    last = fleet.days["day"].max()
    assert isinstance(last, date)
    ranks = fleet_reference(fleet.days, reference_day(last))
    newest = pl.concat([features(fleet.days, first_day=last, failures=fleet.failures, reference=ranks)] * TIMES)
    table.rows += _scoring_rates(model, newest, size, board, table)
    table.rows.append({"what": "training, two horizons: drive-days", "who": OURS, "median": rows / took_s})
    table.notes.append(f"training: {rows:,} weekly drive-days of {size.fleet_drives:,} drives took {took_s:.1f} CPU s")
    return [table]


def _feature_rates(
    days: pl.DataFrame, failures: pl.DataFrame, size: Sizing, board: Scoreboard, table: Table
) -> list[Row]:
    few = days.filter(pl.col("drive").is_in(days["drive"].unique().sort().head(size.slow_drives).implode()))
    wanted = features(few).select("drive", "day", *_growth_names())
    ranks = fleet_references(days)
    found = interleaved(
        {
            OURS: Candidate(lambda _: features(days, failures=failures, reference=ranks), per_run=len(days)),
            TABLES_TOO: Candidate(
                lambda _: features(days, failures=failures, reference=fleet_references(days)), per_run=len(days)
            ),
            LOOP: Candidate(lambda _: _same(by_loop(few), wanted), per_run=len(few)),
            JOINS: Candidate(lambda _: _same(by_joins(few), wanted), per_run=len(few)),
        },
        size.rounds,
    )
    table.notes.append(f"peers get the first {size.slow_drives:,} drives")
    rows = _rows("features: drive-days", found, OURS, (OURS, TABLES_TOO, LOOP, JOINS))
    board.score(
        FEATURE_ROWS, found.rate(OURS).median, f"{len(FEATURES)} features of {len(days):,} drive-days, one core"
    )
    return rows


def _scoring_rates(model: Model, newest: pl.DataFrame, size: Sizing, board: Scoreboard, table: Table) -> list[Row]:
    horizon = max(model.horizons)
    threshold = model.thresholds[horizon][0]
    flagged = int((model.probabilities(newest)[horizon] >= threshold).sum())
    peer, one = _peer(newest), trained(size.fleet_drives, (horizon,))[0]

    def with_reasons(_: Any) -> None:
        of_all = model.probabilities(newest)
        model.contributions(newest.filter(pl.Series(of_all[horizon] >= threshold)), horizon)

    runs = {
        ONE: lambda _: one.probabilities(newest),
        BOTH: lambda _: model.probabilities(newest),
        REASONS: with_reasons,
        PEER: lambda _: peer(newest),
    }
    found = interleaved({who: Candidate(run, per_run=len(newest)) for who, run in runs.items()}, size.rounds)
    table.notes.append(
        f"scoring: {len(newest):,} drives, {flagged:,} of them flagged; the model is of a synthetic fleet"
    )
    board.score(
        SCORED,
        found.rate(ONE).median,
        f"probability of 30 days; 7 and 30 days {found.rate(BOTH).median:,.0f}, with reasons of the "
        f"{flagged / len(newest):.1%} flagged {found.rate(REASONS).median:,.0f}",
    )
    return _rows("scoring: drives", found, ONE, tuple(runs))


def _rows(what: str, found: Any, ours: str, names: tuple[str, ...]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        row: Row = {"what": what, "who": name, "state": found.failed.get(name, "")}
        if name not in found.failed:
            rate = found.rate(name)
            row |= {"median": rate.median, "low": rate.lowest, "high": rate.highest}
            if name != ours and ours not in found.failed:
                row["ratio"] = found.speedup(ours, name).median
        rows.append(row)
    return rows


def _growth_names() -> list[str]:
    return [f"{stem}_growth_{span}d" for stem in STEMS for span in GROWTH_SPANS]


def _same(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    """An AssertionError where a peer found another growth."""
    for name in _growth_names():
        theirs, ours = found[name].cast(pl.Float64), wanted[name].cast(pl.Float64)
        alike = ((theirs - ours).abs() < 1e-5) | (theirs.is_null() & ours.is_null())
        assert alike.fill_null(value=False).all(), f"{name} is not what it has to be"


def by_loop(days: pl.DataFrame) -> pl.DataFrame:
    """Drive by drive, day by day, value by value."""
    rows: list[dict[str, Any]] = []
    for drive in days.partition_by("drive", maintain_order=True):
        history = drive.select("drive", "day", *SYMPTOMS).to_dicts()
        for place, row in enumerate(history):
            made: dict[str, Any] = {"drive": row["drive"], "day": row["day"]}
            for span in GROWTH_SPANS:
                newest = row["day"] - timedelta(days=span)
                before = None
                for older in reversed(history[:place]):
                    if older["day"] <= newest:
                        before = older if older["day"] >= newest - timedelta(days=TOLERANCE_D) else None
                        break
                for stem, column in STEMS.items():
                    growth = None
                    if before is not None and row[column] is not None and before[column] is not None:
                        growth = float(np.log1p(max(row[column] - before[column], 0)))
                    made[f"{stem}_growth_{span}d"] = growth
            rows.append(made)
    schema = {"drive": pl.String, "day": pl.Date, **dict.fromkeys(_growth_names(), pl.Float64)}
    return pl.DataFrame(rows, schema=schema).select("drive", "day", *_growth_names())


def by_joins(days: pl.DataFrame) -> pl.DataFrame:
    """An as-of join of the fleet with itself for each span."""
    rows = days.select("drive", "day", *SYMPTOMS)
    made = rows.select("drive", "day")
    for span in GROWTH_SPANS:
        asked = rows.with_columns(wanted=pl.col("day") - pl.duration(days=span))
        older = rows.rename({name: f"{name}_before" for name in SYMPTOMS}).rename({"day": "then"})
        both = asked.sort("wanted").join_asof(
            older.sort("then"),
            left_on="wanted",
            right_on="then",
            by="drive",
            tolerance=f"{TOLERANCE_D}d",
            check_sortedness=False,  # by the day alone, which is all that is needed
        )
        both = both.sort("drive", "day")
        made = made.hstack(
            both.select(
                (pl.col(column) - pl.col(f"{column}_before")).clip(0).log1p().alias(f"{stem}_growth_{span}d")
                for stem, column in STEMS.items()
            )
        )
    return made


def _peer(newest: pl.DataFrame) -> Callable[[pl.DataFrame], Any]:
    """Trees of scikit-learn of our number and depth; what they learned does not matter for the time."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    recipe = Recipe()
    fleet = simulate(replace(FleetParameters(), drives=2_000), 14)
    rows = features(fleet.days, failures=fleet.failures)
    known = [
        name for name in FEATURES if rows[name].null_count() < len(rows) and newest[name].null_count() < len(newest)
    ]
    growing = rows.select(pl.any_horizontal(pl.col(f"{stem}_growth_7d") > 0 for stem in STEMS).fill_null(value=False))
    model = HistGradientBoostingClassifier(
        max_iter=recipe.trees, max_depth=recipe.depth, learning_rate=recipe.learning_rate, early_stopping=False
    )
    model.fit(rows.select(known).to_numpy(), growing.to_series().to_numpy())
    return lambda frame: model.predict_proba(frame.select(known).to_numpy())
