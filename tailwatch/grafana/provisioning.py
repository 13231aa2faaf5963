"""Files from which Grafana provisions itself at its start: the data source, the dashboards' folder, the alert rules.

They differ from the HTTP API: groups name their folder by title, intervals are durations, and Grafana replaces
variables in titles, labels and names, so that a dollar there has to be doubled; not so in annotations, whose templates
have dollars of their own, and not in models. Contact points and policies are examples, which Grafana does not read by
that name: an address has to be filled in, and policies replace the whole notification tree of an organisation.
"""

from typing import Any, Final

from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.wanted import FOLDER_TITLE, Wanted, WantedGroup

Json = dict[str, Any]
_ORGANISATION: Final = 1
_OF_THE_API: Final = ("orgID", "folderUID", "ruleGroup")


def datasources_file(wanted: Wanted, settings: GrafanaSettings) -> Json:
    """provisioning/datasources: the key comes from a file where Grafana runs, so no secret is written here."""
    source = {**wanted.datasource, "orgId": _ORGANISATION, "editable": False}
    source["url"] = doubled(source["url"])
    if settings.api_key_path:
        source["secureJsonData"] = {"httpHeaderValue1": f"Bearer $__file{{{settings.api_key_path}}}"}
    return {"apiVersion": 1, "datasources": [source]}


def dashboards_file(wanted: Wanted, settings: GrafanaSettings) -> Json:
    """provisioning/dashboards: all files of a folder, which can only be changed there."""
    provider = {
        "name": "tailwatch",
        "orgId": _ORGANISATION,
        "type": "file",
        "folder": doubled(wanted.folder["title"]),
        "folderUid": wanted.folder["uid"],
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": doubled(settings.dashboards_dir), "foldersFromFilesStructure": False},
    }
    return {"apiVersion": 1, "providers": [provider]}


def rules_file(wanted: Wanted) -> Json:
    """provisioning/alerting: every group of rules."""
    return {"apiVersion": 1, "groups": [_group(group) for group in wanted.rule_groups]}


def contact_points_example() -> Json:
    """A contact point that posts to an address from the environment of Grafana's process."""
    receiver = {
        "uid": "tailwatch-webhook",
        "type": "webhook",
        "settings": {"url": "$ALERT_WEBHOOK_URL", "httpMethod": "POST"},
        "disableResolveMessage": False,
    }
    point = {"orgId": _ORGANISATION, "name": "tailwatch-webhook", "receivers": [receiver]}
    return {"apiVersion": 1, "contactPoints": [point]}


def policies_example() -> Json:
    """A notification tree with the default receiver at its root and a branch for our alerts."""
    branch = {
        "receiver": "tailwatch-webhook",
        "object_matchers": [["managed_by", "=", "tailwatch"]],
        "group_by": ["grafana_folder", "alertname"],
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "4h",
        "routes": [{"receiver": "tailwatch-webhook", "object_matchers": [["severity", "=", "info"]],
                    "group_wait": "5m", "repeat_interval": "24h"}],
    }  # fmt: skip
    root = {"orgId": _ORGANISATION, "receiver": "grafana-default-email", "routes": [branch]}
    return {"apiVersion": 1, "policies": [root]}


def doubled(text: str) -> str:
    """Text in which Grafana's replacement of variables leaves every dollar as it is."""
    return text.replace("$", "$$")


def _group(group: WantedGroup) -> Json:
    return {
        "orgId": _ORGANISATION,
        "name": doubled(group.name),
        "folder": doubled(FOLDER_TITLE),
        "interval": f"{group.interval_s}s",
        "rules": [_rule(rule) for rule in group.rules],
    }


def _rule(rule: Json) -> Json:
    kept = {key: value for key, value in rule.items() if key not in _OF_THE_API}
    kept["title"] = doubled(rule["title"])
    kept["labels"] = {name: doubled(value) for name, value in rule["labels"].items()}
    annotations = rule["annotations"]
    if "__dashboardUid__" in annotations:
        kept["dashboardUid"] = annotations["__dashboardUid__"]
        kept["panelId"] = int(annotations["__panelId__"])
    return kept
