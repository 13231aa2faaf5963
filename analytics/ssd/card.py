"""The model card: what a model is made of, what it can and cannot do, for people and for programs.

It travels inside the model's file. A model of generated drives says so in the first line of whatever shows it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SYNTHETIC_WARNING = (
    "SYNTHETIC: trained on a generated fleet. Its figures say nothing about real drives; train on data of your own."
)


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a model.

    Attributes:
        made: day of the training, "2026-11-23". origin: where the data come from, in words.
        first_day, last_day: of the data, "2026-01-31". failures: failed drives in them.
        recipe: how trees were grown. calibration: "isotonic" or "platt" by horizon.
        thresholds: (watch, replace) by horizon.
        results: the protocol's figures by horizon (Evaluation.to_dict()); why_no_results: where there are none.
        limits: what it cannot do, in sentences.
    """

    made: str
    origin: str
    synthetic: bool
    first_day: str
    last_day: str
    drives: int
    rows: int
    failures: int
    horizons: tuple[int, ...]
    recipe: Mapping[str, float]
    calibration: Mapping[str, str]
    thresholds: Mapping[str, tuple[float, float]]
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    why_no_results: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The card as a page."""
        return "\n".join(_lines(self)) + "\n"


def limits(failures: int, horizons: tuple[int, ...], synthetic: bool, models: int) -> tuple[str, ...]:
    """Sentences that hold of every model, with this one's figures."""
    found = [
        f"Trained on {failures} failed drives of {models} drive models; other kinds and vendors get no probability.",
        "More than half of all drives that fail show no symptom before: see the ceiling beside each recall.",
        f"Says whether a drive fails within {' or '.join(str(h) for h in horizons)} days, not when, and not why.",
        "Ranks drives that run; it knows nothing of recalls, firmware bugs not yet seen, or power and cooling.",
    ]
    return (SYNTHETIC_WARNING, *found) if synthetic else tuple(found)


def _lines(card: Card) -> Iterator[str]:
    yield "# Model card: which drives will fail"
    yield ""
    if card.synthetic:
        yield f"**{SYNTHETIC_WARNING}**"
        yield ""
    yield f"- Made: {card.made}"
    yield f"- Data: {card.origin}{' (synthetic)' if card.synthetic else ''}"
    counts = f"{card.drives:,} drives, {card.rows:,} drive-days, {card.failures} failures"
    yield f"- Days: {card.first_day} to {card.last_day}; {counts}"
    yield f"- Horizons: {', '.join(str(h) for h in card.horizons)} days"
    yield f"- Trees: {', '.join(f'{name} {value:g}' for name, value in sorted(card.recipe.items()))}"
    for horizon in card.horizons:
        key = str(horizon)
        yield ""
        yield f"## Within {horizon} days"
        yield ""
        if key in card.thresholds:
            watch, replace = card.thresholds[key]
            method = card.calibration.get(key, "")
            yield f"Watch from {watch:.3%}, replace from {replace:.3%} (from the validation; calibration: {method})."
        yield from _results(card.results[key]) if key in card.results else _no_results(card, key)
    yield ""
    yield "## Limits"
    yield ""
    yield from (f"- {sentence}" for sentence in card.limits)


def _no_results(card: Card, key: str) -> Iterator[str]:
    yield ""
    yield f"No figures: {card.why_no_results.get(key, 'the protocol was not run')}."


def _results(found: Mapping[str, Any]) -> Iterator[str]:
    drive, figures = found["drive"], found["drive"]["figures"]
    parts = {part["name"]: part for part in found["parts"]}
    yield ""
    yield (
        f"Protocol: {found['seeds']} seeds x {found['folds']} folds by drive and node, time split with gaps; test "
        f"{parts['test']['first']} to {parts['test']['last']}: {drive['count']:,} drives, {drive['positives']} failed. "
        "Means with 90 % intervals over drives."
    )
    yield ""
    yield "| by drive | model | rule: any symptom grew in 30 days |"
    yield "|---|---|---|"
    yield f"| AUCPR | {_figure(figures['aucpr'])} | {_figure(figures['rule_aucpr'])} |"
    yield f"| TPR at FPR 0.1 % | {_figure(figures['tpr_at_fpr_0.1%'])} | |"
    yield f"| TPR at FPR 1 % | {_figure(figures['tpr_at_fpr_1%'])} | |"
    for name, words in (("f0.5", "F0.5"), ("precision", "precision"), ("recall", "recall"), ("fpr", "FPR")):
        yield f"| {words} | {_figure(figures[f'replace_{name}'])} | {_figure(figures[f'rule_{name}'])} |"
    yield f"| recall at the rule's FPR | {_figure(figures['recall_at_rule_fpr'])} | {_figure(figures['rule_recall'])} |"
    yield ""
    top = found["top_decile"]
    yield (
        f"Calibration: top decile predicted {_number(top['predicted'])} (95 % {_number(top['low'])} to "
        f"{_number(top['high'])}), observed {_number(top['observed'])}; Brier {_figure(found['errors']['brier'])}, "
        f"ECE {_figure(found['errors']['ece'])}."
    )
    yield ""
    yield "| drive model | failed | shows a symptom (ceiling) | recall, replace | recall, watch | rule |"
    yield "|---|---|---|---|---|---|"
    for line in found["models"]:
        shares = " | ".join(_number(line[name]) for name in ("ceiling", "replace", "watch", "rule"))
        yield f"| {line['model']} | {line['failed']} | {shares} |"
    if found["leakage"]:
        shuffled, rows = found["leakage"]["shuffled"], found["leakage"]["random_rows"]
        yield ""
        yield (
            f"Shuffled labels: AUCPR {_number(shuffled['aucpr'])} (in no order {_number(shuffled['base_rate'])}, limit "
            f"{_number(shuffled['limit'])}). Rows at random would give {_number(rows['aucpr'])} by row instead of "
            f"{_number(rows['honest'])}."
        )


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["low"] is None:
        return _number(figure["value"])
    return f"{_number(figure['value'])} ({_number(figure['low'])} to {_number(figure['high'])})"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
