"""What has to be in Grafana: data source, folder, dashboards and groups of alert rules, as its HTTP API has them.

`tailwatch grafana apply` compares it with what is there, `tailwatch grafana export` writes the same as files. Secrets
are not in it: the header that carries the API key is named in the data source, whoever sends it adds the value.
"""

from dataclasses import dataclass

from tailwatch.grafana.alert_rules import FOLDER_UID, SOURCE_UID, Json, grafana_rule
from tailwatch.grafana.config import GrafanaSettings
from tailwatch.grafana.dashboards import panel_places, rendered_dashboards
from tailwatch.grafana.declared import RuleGroup, declared_groups
from tailwatch.grafana.objectives import objective_groups
from tailwatch.grafana.soundness import check

FOLDER_TITLE = "Tailwatch"


@dataclass(frozen=True, slots=True)
class WantedGroup:
    """A group of alert rules in the folder; its rules are those of the provisioning API."""

    name: str
    interval_s: int
    rules: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that Tailwatch owns in a Grafana.

    Attributes:
        datasource: for POST /api/datasources; where jsonData has httpHeaderName1, secureJsonData needs
            httpHeaderValue1: "Bearer " and the API key.
        folder: uid and title.
        dashboards: in the classic model, each with its uid and without an id.
    """

    datasource: Json
    folder: Json
    dashboards: tuple[Json, ...]
    rule_groups: tuple[WantedGroup, ...]


def wanted(settings: GrafanaSettings) -> Wanted:
    """Everything for these settings.

    Raises:
        ConfigError, DeclarationError: what is declared cannot be rendered; only a changed package can bring this.
    """
    dashboards = rendered_dashboards()
    places = panel_places()
    return Wanted(
        datasource(settings),
        {"uid": FOLDER_UID, "title": FOLDER_TITLE},
        dashboards,
        tuple(
            WantedGroup(
                group.name,
                group.interval_s,
                tuple(
                    grafana_rule(rule, group.name, settings.labels, settings.runbook_url, places.get(rule.panel))
                    for rule in group.rules
                ),
            )
            for group in all_groups(settings)
        ),
    )


def all_groups(settings: GrafanaSettings) -> tuple[RuleGroup, ...]:
    """The declared groups and those of the objectives, checked."""
    groups = (*objective_groups(settings), *declared_groups(settings.settle_s))
    check(groups, set(panel_places()))
    return groups


def datasource(settings: GrafanaSettings) -> Json:
    """The data source for the HTTP API."""
    options: Json = {
        "httpMethod": "POST",
        "timeInterval": f"{settings.interval_s}s",  # $__rate_interval is then at least four windows
        "queryTimeout": "60s",
        "prometheusType": "Prometheus",
        "prometheusVersion": "3.0.0",
        "cacheLevel": "Low",
        "disableRecordingRules": True,
        "manageAlerts": False,
    }
    if settings.api_key_path:
        options["httpHeaderName1"] = "Authorization"
    return {
        "uid": SOURCE_UID,
        "name": "Tailwatch",
        "type": "prometheus",
        "access": "proxy",
        "url": settings.source_url,
        "isDefault": False,
        "jsonData": options,
    }
