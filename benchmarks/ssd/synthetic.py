"""Table 2: made-up fleets of 20,000 drives, H = 30 days, by drive, beside the rule and another library's trees.

The split that the generator was specified with: training on days up to 222 (.6 of the run less 30 days), test on days
from 253 on whose 30 days are over; five folds by node, each scored by a model that saw neither its drives nor its
nodes. A drive is ranked by its highest score. No validation: nothing but the order is measured here.

The target is measured as its first baseline was, with attribute 183 of vendor B counted beside attribute 5, which it
repeats. No real drive is marked like that, so the same is measured without it, and this is what figures on synthetic
fleets are elsewhere.
"""

from dataclasses import replace
from datetime import date
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.ssd.examples import Examples, examples
from analytics.ssd.feature_names import TAUGHT
from analytics.ssd.features import features
from analytics.ssd.fleet import Fleet, simulate
from analytics.ssd.fleet_parameters import FleetParameters
from analytics.ssd.fleet_reference import fleet_references
from analytics.ssd.metrics import average_precision, ranking, recall_at
from analytics.ssd.splits import folds
from analytics.ssd.symptom_tables import SymptomVectors
from analytics.ssd.thresholds import by_drive
from analytics.ssd.training import Recipe, grow, margins, thinned
from benchmarks.ssd.data import real_symptoms
from benchmarks.ssd.goals import SYNTHETIC30
from benchmarks.ssd.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

HORIZON = 30
FOLDS = 5
OURS, PEER, RULE = "tailwatch", "sklearn HistGradientBoosting", "rule: any symptom grew in 30 days"
TWICE, ONCE = "183 of B counted, as in the first baseline", "183 of B not counted"
COLUMNS = [
    Column("who", "who"), Column("symptoms", "symptoms of B"), Column("fleets", "fleets"),
    Column("aucpr", "AUCPR", 3), Column("low", "lowest", 3), Column("high", "highest", 3),
    Column("tpr", "TPR at FPR .1 %", 3), Column("fit", "fit of a fold, CPU s", 2),
    Column("predict", "predicted rows/CPU s", 0),
]  # fmt: skip
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """The target on all fleets, the rest on the first few."""
    table = Table("synthetic", "2. Synthetic fleets, 30 days ahead, by drive", COLUMNS)
    twice, why = real_symptoms(count_183_twice=True)
    once, _ = real_symptoms()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    note = ""
    for number, seed in enumerate(size.fleet_seeds):
        for symptoms, words in ((twice, TWICE), (once, ONCE)):
            if words == TWICE and why:
                continue
            fleet = _fleet(size, seed, symptoms)
            note = note or fleet.synthetic_note
            material = _examples(fleet)
            beside = (PEER, RULE) if number < size.with_peers and words == (ONCE if why else TWICE) else ()
            for who in (OURS, *beside):
                found.setdefault((who, words), []).append(_measured(who, material, fleet.parameters, seed))
            del material
    for (who, words), results in found.items():
        table.rows.append({"who": who, "symptoms": words, "fleets": len(results), **_summary(results)})
    table.notes = [
        note,
        f"seeds {size.fleet_seeds[0]} to {size.fleet_seeds[-1]}; recipe and features were chosen on other seeds",
        "folds pooled; lowest and highest of the fleets; drives that fail are some .8 %, which is the AUCPR of chance",
    ]
    if why:
        table.notes.append(f"real symptom vectors {why}")
        board.fail(SYNTHETIC30, f"real symptom vectors {why}; bundled ones give {_mean(found[OURS, ONCE]):.3f}")
    else:
        board.score(
            SYNTHETIC30,
            _mean(found[OURS, TWICE]),
            f"synthetic, mean of {len(size.fleet_seeds)} fleets, made as for the first baseline .267; without its "
            f"flaw in attribute 183 of vendor B {_mean(found[OURS, ONCE]):.3f}",
        )
    return [table]


def _fleet(size: Sizing, seed: int, symptoms: SymptomVectors) -> Fleet:
    return simulate(replace(FleetParameters(), drives=size.fleet_drives), seed, symptoms)


def _examples(fleet: Fleet) -> Examples:
    known = features(fleet.days, failures=fleet.failures, reference=fleet_references(fleet.days))
    return examples(fleet.days, known, fleet.failures, HORIZON, TAUGHT)


def _measured(who: str, material: Examples, parameters: FleetParameters, seed: int) -> dict[str, float]:
    """One fleet's figures."""
    start = (parameters.start - date(1970, 1, 1)).days
    day = material.day - start
    cut = int(0.6 * parameters.run_days)
    test = (day > cut) & (day <= parameters.run_days - HORIZON)
    fold = folds(material.keys, FOLDS, seed)
    score = np.full(day.size, -np.inf)
    fit_s: list[float] = []
    predict_s = 0.0
    for own in range(FOLDS):
        rows = np.flatnonzero(test & (fold == own))
        if who == RULE:
            score[rows] = material.grew[rows]
            continue
        training = np.flatnonzero((day <= cut - HORIZON) & (fold != own))
        started = process_time()
        model = (_ours if who == OURS else _theirs)(material, training, seed * 1_000 + own)
        fitted = process_time()
        score[rows] = model(rows)
        fit_s.append(fitted - started)
        predict_s += process_time() - fitted
    tested = np.flatnonzero(test)
    ranked = ranking(*by_drive(score[tested], material.positive[tested], material.drive[tested]))
    steps = ranked.steps()
    found = {"aucpr": average_precision(steps), "tpr": recall_at(steps, 0.001)}
    return found | ({"fit": float(np.median(fit_s)), "predict": tested.size / predict_s} if fit_s else {})


def _ours(material: Examples, training: Rows, seed: int) -> Any:
    recipe = Recipe()
    kept, weights = thinned(material.positive[training], recipe.keep_1_in, seed)
    rows = training[kept]
    booster = grow(material.matrix[rows], material.positive[rows], weights, material.encoding.columns, recipe, seed)
    return lambda rows: margins(booster, material.matrix[rows])


def _theirs(material: Examples, training: Rows, seed: int) -> Any:
    """As many trees, as deep, of the same rows and weights; the rest as it comes."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    recipe = Recipe()
    kept, weights = thinned(material.positive[training], recipe.keep_1_in, seed)
    rows = training[kept]
    model = HistGradientBoostingClassifier(
        max_iter=recipe.trees,
        max_depth=recipe.depth,
        learning_rate=recipe.learning_rate,
        early_stopping=False,
        random_state=seed,
    )
    known = np.flatnonzero(~np.isnan(material.matrix[rows]).all(axis=0))  # a column without a value is refused
    model.fit(material.matrix[np.ix_(rows, known)], material.positive[rows], sample_weight=weights)
    return lambda rows: model.decision_function(material.matrix[np.ix_(rows, known)])


def _mean(results: list[dict[str, float]]) -> float:
    return float(np.mean([one["aucpr"] for one in results]))


def _summary(results: list[dict[str, float]]) -> dict[str, float]:
    aucpr = [one["aucpr"] for one in results]
    found = {key: float(np.mean([one[key] for one in results])) for key in results[0]}
    return found | {"low": min(aucpr), "high": max(aucpr)}
