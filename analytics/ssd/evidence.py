"""From what is known of a drive on a day to evidence for its state: rules, probability and wear, cause by cause.

Rules enter the state of their severity. A probability enters at the thresholds of its model and is held down to half of
them. Wear enters when its end is near.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from analytics.ssd.hard_rules import rules_by_id
from analytics.ssd.states import Evidence, Memory
from analytics.ssd.verdicts import FiredRule, Scorer, State

#: Causes beside the ids of rules; both can be acknowledged, and muted as if they were columns.
PROBABILITY: Final = "probability"
WEAR: Final = "wear"
#: A probability, once over a threshold, holds the state down to this share of it.
HOLD_SHARE: Final = 0.5
#: A probability is news when it passes the acknowledged one by a third: that is how much it wavers from day to day.
_PROBABILITY_SLACK: Final = 0.25
#: Days before the forecast end of the rated life at which a drive is to be watched, and up to which it is held there.
WEAR_ENDS_WITHIN_D: Final = 60
WEAR_HELD_WITHIN_D: Final = 90
_WEAR_SLACK_PCT: Final = 5.0


def evidence_of(
    row: Mapping[str, Any],
    rules: Sequence[FiredRule],
    probabilities: Mapping[int, float],
    model: Scorer | None,
    silent: Collection[str],
) -> dict[str, Evidence]:
    """Cause -> evidence; `row` is one of Assessments.frame, `silent` what is muted for the drive."""
    evidence: dict[str, Evidence] = {}
    for one in rules:
        rule = rules_by_id()[one.rule]
        state = State.REPLACE if one.severity == "replace" else State.WATCH
        evidence[one.rule] = Evidence(state, state, rule.level(one.value), rule.news - 1.0)
    if model is not None and probabilities and PROBABILITY not in silent:
        evidence[PROBABILITY] = _of_probability(probabilities, model)
    worn = row["used_pct"] is not None and row["used_pct"] >= 100  # then the rule wear_used_up speaks
    if row["ends"] is not None and not worn and not {WEAR, "wear_used_pct"} & set(silent):
        left_d = (row["ends"] - row["day"]).days
        enter = State.WATCH if left_d <= WEAR_ENDS_WITHIN_D else State.GOOD
        hold = State.WATCH if left_d <= WEAR_HELD_WITHIN_D else State.GOOD
        evidence[WEAR] = Evidence(enter, hold, row["used_pct"], _WEAR_SLACK_PCT)
    return evidence


def _of_probability(probabilities: Mapping[int, float], model: Scorer) -> Evidence:
    """The worst of all horizons; its level is the largest probability."""
    enter = hold = State.GOOD
    least_replace = 1.0
    for horizon, p in probabilities.items():
        watch, replace = model.thresholds[horizon]
        enter = max(enter, _reached(p, watch, replace))
        hold = max(hold, _reached(p, watch * HOLD_SHARE, replace * HOLD_SHARE))
        if p >= replace:
            least_replace = min(least_replace, replace)
    level = max(probabilities.values())
    slack = level * _PROBABILITY_SLACK
    if enter == State.REPLACE:  # what was acknowledged below that threshold is news above it, however little
        slack = min(slack, max(level - least_replace, 0.0))
    return Evidence(enter, hold, level, slack)


def _reached(p: float, watch: float, replace: float) -> State:
    if p >= replace:
        return State.REPLACE
    return State.WATCH if p >= watch else State.GOOD


def forgotten_causes(previous: Memory | None, silent: Collection[str], *, has_model: bool) -> set[str]:
    """Causes in memory whose column is muted, whose rule is gone, or which no model stands behind any more."""
    if previous is None:
        return set()
    rules = rules_by_id()
    names = {*previous.causes, *previous.today, *(previous.before.causes if previous.before else ())}
    gone = set()
    for name in names:
        column = rules[name].column if name in rules else "wear_used_pct" if name == WEAR else name
        unheard = name not in rules and name not in (PROBABILITY, WEAR)
        if unheard or name in silent or column in silent or (name == PROBABILITY and not has_model):
            gone.add(name)
    return gone
