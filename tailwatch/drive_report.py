"""What is said of a drive, in words for people and as JSON for programs: the same facts in the same order."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from analytics.ssd.columns import COUNTERS, GAUGES, SYMPTOMS, WORDS
from analytics.ssd.hard_rules import rules_by_id
from analytics.ssd.verdicts import Assessment, Scorer, State
from analytics.ssd.wear import wear_text
from tailwatch.terminal import harmless, table

#: Columns that are shown, in this order.
FIELDS: Final = (*SYMPTOMS, *GAUGES, *COUNTERS)
_IDENTITY: Final = ("model", "vendor", "family", "firmware", "kind", "node", "rack")


def explained(
    assessment: Assessment,
    row: Mapping[str, Any],
    days: int,
    origins: Mapping[str, str],
    model: Scorer | None,
    *,
    synthetic: bool,
    failed: date | None = None,
) -> dict[str, Any]:
    """One drive as JSON.

    Args:
        row: its newest drive-day.
        days: of how many days there are readings.
        origins: field -> where in smartctl's answer it stands.
        synthetic: whether the drive is a made-up one.
        failed: when it failed, as the table that it stands in says.
    """
    return {
        "drive": assessment.drive,
        "day": assessment.day.isoformat(),
        "days": days,
        **{name: row[name] for name in _IDENTITY},
        "synthetic": synthetic,
        "failed": _date(failed),
        "state": assessment.state.name.lower(),
        "since": assessment.since.isoformat(),
        "calm_days": assessment.calm_days,
        "why_unknown": assessment.why_unknown,
        "causes": dict(assessment.causes),
        "fields": {name: {"value": row[name], "origin": origins.get(name)} for name in FIELDS if row[name] is not None},
        "not_told": [name for name in FIELDS if row[name] is None],
        "rules": [
            {
                "rule": one.rule,
                "severity": one.severity,
                "column": one.column,
                "value": one.value,
                "before": one.before,
                "days": one.days,
                "text": one.text,
                "why": rules_by_id()[one.rule].why,
                "do": rules_by_id()[one.rule].action,
            }
            for one in assessment.rules
        ],
        "wear": {
            "used_pct": assessment.wear.used_pct,
            "pct_per_day": assessment.wear.pct_per_day,
            "ends": _date(assessment.wear.ends),
            "ends_early": _date(assessment.wear.ends_early),
            "ends_late": _date(assessment.wear.ends_late),
            "confidence": assessment.wear.confidence,
            "basis": assessment.wear.basis,
            "why_not": assessment.wear.why_not,
            "text": wear_text(assessment.wear),
        },
        "probabilities": {str(horizon): p for horizon, p in assessment.probabilities.items()},
        "why_no_probability": assessment.why_no_probability,
        "reasons": [
            {"feature": one.feature, "column": one.column, "contribution": one.contribution, "text": one.text}
            for one in assessment.reasons
        ],
        "scored_by": None if model is None else {"digest": model.digest, "synthetic": trained_on_synthetic(model)},
    }


def explained_text(told: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [
        *_head(told),
        "",
        "fields",
        *_fields(told),
        "",
        "hard rules",
        *(_rules(told["rules"]) or ["  none fired"]),
        "",
        "wear",
        f"  {told['wear']['text']}",
        "",
        "probability of failing",
        *_probability(told),
    ]
    return "\n".join(map(harmless, lines))


def trained_on_synthetic(model: Scorer) -> bool:
    """Whether a model learned from made-up drives; one that does not say is taken for real data."""
    return bool(getattr(model, "synthetic", False))


def state_text(state: State) -> str:
    """The state as reports write it."""
    return state.name.lower()


def probability_text(p: float) -> str:
    """As a percentage, with as many places as small ones need."""
    return f"{p:.1%}" if p >= 0.01 else f"{p:.2%}"


def _head(told: Mapping[str, Any]) -> list[str]:
    identity = ", ".join(str(told[name]) for name in _IDENTITY if told[name])
    days = f"{told['days']} day{'' if told['days'] == 1 else 's'} with readings"
    state = told["state"]
    if state == "unknown":
        state = f"unknown: {told['why_unknown']}"
    elif state != "good":
        calm = f", calm for {told['calm_days']} days" if told["calm_days"] else ""
        state = f"{state} since {told['since']}{calm}: {', '.join(told['causes'])}"
    lines = [
        f"drive  {told['drive']}" + (f" ({identity})" if identity else ""),
        f"day    {told['day']}, {days}",
        f"state  {state}",
    ]
    if told["failed"]:
        lines.append(
            f"note   this drive FAILED on {told['failed']}, as the table says; the state is of what it said itself"
        )
    if told["synthetic"]:
        lines.append("note   this drive is synthetic: it was made up by the generator")
    return lines


def _fields(told: Mapping[str, Any]) -> list[str]:
    rows = [[WORDS[name], name, str(one["value"]), one["origin"] or ""] for name, one in told["fields"].items()]
    lines = table(("", "", "", ""), rows, (False, False, True, False)).splitlines()[1:] if rows else []
    not_told = ", ".join(told["not_told"])
    return [f"  {line}" for line in lines] + ([f"  not told: {not_told}"] if not_told else [])


def _rules(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in rules:
        lines += [f"  {one['severity']}: {one['text']} [{one['rule']}]", f"    do: {one['do']}"]
    return lines


def _probability(told: Mapping[str, Any]) -> list[str]:
    if not told["probabilities"]:
        reasons = dict.fromkeys(text for text in (told["why_no_probability"], told["why_unknown"]) if text)
        return [f"  none: {'; '.join(reasons)}"]
    each = [f"{probability_text(p)} within {horizon} days" for horizon, p in told["probabilities"].items()]
    model = told["scored_by"]
    trained = " (trained on synthetic drives)" if model["synthetic"] else ""
    lines = [f"  {', '.join(each)}, by model {model['digest'][:19]}{trained}"]
    return lines + [f"    {one['text']}" for one in told["reasons"]]


def _date(day: Any) -> str | None:
    return None if day is None else day.isoformat()
