"""A rule as Grafana's provisioning API has it: query A, its last value B, threshold C.

The query is instant. B drops NaN and infinities, which a threshold would take for values, and makes Grafana say
nothing about a needless reduction. Labels say who owns the rule, so that `tailwatch grafana apply` touches no other.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from tailwatch.grafana.declared import Rule

Json = dict[str, Any]
SOURCE_UID: Final = "tailwatch"
FOLDER_UID: Final = "tailwatch"
OWNER: Final = ("managed_by", "tailwatch")
_EXPRESSIONS: Final = {"type": "__expr__", "uid": "__expr__"}
#: In texts of rules, the value; Prometheus and Grafana know it under different names.
_VALUE: Final = re.compile(r"\$value\b")
#: How far back the query may look; the expression's own ranges decide, this is only shown in the editor.
_SHOWN_S: Final = 600


def grafana_rule(
    rule: Rule, group: str, labels: Mapping[str, str], runbooks: str, shown: tuple[str, int] | None
) -> Json:
    """The rule as POST /api/v1/provisioning/alert-rules takes it.

    Args:
        labels: further labels from the settings.
        runbooks: address before the anchors of runbooks, "" for none.
        shown: uid of the dashboard and id of the panel that show the value.
    """
    return {
        "uid": rule.uid,
        "orgID": 1,
        "folderUID": FOLDER_UID,
        "ruleGroup": group,
        "title": rule.title,
        "condition": "C",
        "data": [_query(rule.value), _last_value(), _threshold(rule)],
        "noDataState": rule.no_data,
        "execErrState": rule.on_error,
        "for": f"{rule.wait_s}s",
        "isPaused": False,
        "labels": rule_labels(rule, labels),
        "annotations": _annotations(rule, runbooks, shown),
    }


def rule_labels(rule: Rule, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of the rule's alerts in every form."""
    return {**labels, "severity": rule.severity, OWNER[0]: OWNER[1]}


def runbook(rule: Rule, runbooks: str) -> tuple[str, str]:
    """(annotation, text) that leads to what to do."""
    if runbooks:
        return "runbook_url", f"{runbooks}#{rule.anchor}"
    return "runbook", f"docs/reference/grafana.md#{rule.anchor}"


def _annotations(rule: Rule, runbooks: str, shown: tuple[str, int] | None) -> dict[str, str]:
    name, text = runbook(rule, runbooks)
    links = {} if shown is None else {"__dashboardUid__": shown[0], "__panelId__": str(shown[1])}
    return {
        "summary": _VALUE.sub("$values.B.Value", rule.summary),
        "description": _VALUE.sub("$values.B.Value", f"{rule.meaning} {rule.todo}"),
        name: text,
        **links,
    }


def _query(expression: str) -> Json:
    source = {"type": "prometheus", "uid": SOURCE_UID}
    model = {
        "refId": "A", "datasource": source, "editorMode": "code", "expr": expression, "instant": True, "range": False,
        "intervalMs": 1_000, "maxDataPoints": 43_200,
    }  # fmt: skip
    return _node("A", SOURCE_UID, {"from": _SHOWN_S, "to": 0}, model)


def _last_value() -> Json:
    model = {
        "refId": "B", "datasource": _EXPRESSIONS, "type": "reduce", "expression": "A", "reducer": "last",
        "settings": {"mode": "dropNN"},
    }  # fmt: skip
    return _node("B", "__expr__", {"from": 0, "to": 0}, model)


def _threshold(rule: Rule) -> Json:
    evaluator = {"type": "gt" if rule.sign == ">" else "lt", "params": [rule.limit]}
    model = {
        "refId": "C", "datasource": _EXPRESSIONS, "type": "threshold", "expression": "B",
        "conditions": [{"evaluator": evaluator}],
    }  # fmt: skip
    return _node("C", "__expr__", {"from": 0, "to": 0}, model)


def _node(ref: str, source: str, time_range: Json, model: Json) -> Json:
    return {"refId": ref, "queryType": "", "datasourceUid": source, "relativeTimeRange": time_range, "model": model}
