"""The rules for Prometheus' own rule evaluators, in two forms, because what they can see differs.

Evaluators that ask Tailwatch (vmalert, Thanos' ruler) see sketches as native histograms and get the same values as
Grafana. A Prometheus that scrapes /prometheus/federate only has gauges of windows: it gets the expressions over those,
and the rules that have none are named at the top of the file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.promql.number_text import number_text
from tailwatch.grafana.alert_rules import rule_labels, runbook
from tailwatch.grafana.declared import Rule, RuleGroup

_WORD: Final = re.compile(r"[a-zA-Z0-9]+")
#: What of an expression is no name of a metric: texts, matchers, ranges, lists of labels, functions, words.
_NO_NAMES: Final = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(?:\b\w+\s+)?\b(?:by|without)\s*\([^)]*\)|\b(?:on|ignoring)\s*\([^)]*\)|\b\w+\s*(?=\()|'
    r"\b(?:offset \w+|bool|and|or|unless|Inf)\b|\b[0-9][\w.]*"
)
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def rules_on_tailwatch(groups: Sequence[RuleGroup], labels: Mapping[str, str], runbooks: str) -> dict[str, Any]:
    """A rules file for evaluators whose data source is /prometheus of the API."""
    return {"groups": [_group(group, labels, runbooks, federated=False) for group in groups]}


def rules_on_federated(groups: Sequence[RuleGroup], labels: Mapping[str, str], runbooks: str) -> dict[str, Any]:
    """A rules file for a Prometheus that scrapes /prometheus/federate; without rules that need sketches."""
    rendered = [_group(group, labels, runbooks, federated=True) for group in groups]
    return {"groups": [group for group in rendered if group["rules"]]}


def left_out(groups: Sequence[RuleGroup]) -> list[tuple[str, str]]:
    """(alert, why) of each rule that has no expression over federated gauges."""
    return [(alert_name(rule), rule.not_federated) for group in groups for rule in group.rules if not rule.federated]


def metric_names(text: str) -> set[str]:
    """The metrics that one of our expressions reads."""
    return set(_NAME.findall(_NO_NAMES.sub(" ", text)))


def alert_name(rule: Rule) -> str:
    """The rule's identifier as alerts of Prometheus are called: TailwatchAgentSilent."""
    return "Tailwatch" + "".join(word[:1].upper() + word[1:] for word in _WORD.findall(rule.id))


def expression(rule: Rule, *, federated: bool = False) -> str:
    """The whole condition; where no data is itself the alarm, it fires on that, too."""
    value = rule.federated if federated else rule.value
    limit = rule.federated_limit if federated else rule.limit
    compared = f"({value}) {rule.sign} {number_text(limit)}"
    return f"{compared} or absent({value})" if rule.no_data == "Alerting" else compared


def _group(group: RuleGroup, labels: Mapping[str, str], runbooks: str, *, federated: bool) -> dict[str, Any]:
    rules = [rule for rule in group.rules if rule.federated or not federated]
    return {
        "name": f"tailwatch-{group.name}",
        "interval": f"{group.interval_s}s",
        "rules": [_rule(rule, labels, runbooks, federated) for rule in rules],
    }


def _rule(rule: Rule, labels: Mapping[str, str], runbooks: str, federated: bool) -> dict[str, Any]:
    name, text = runbook(rule, runbooks)
    return {
        "alert": alert_name(rule),
        "expr": expression(rule, federated=federated),
        **({"for": f"{rule.wait_s}s"} if rule.wait_s else {}),
        "labels": rule_labels(rule, labels),
        "annotations": {
            "title": rule.title,
            "summary": rule.summary,
            "description": f"{rule.federated_meaning if federated else rule.meaning} {rule.todo}",
            name: text,
        },
    }
