"""Dashboards as they are declared in dashboards/*.yaml, and as Grafana's classic JSON.

A file says what is shown; what all panels have in common (data source, grid, identifiers, links between dashboards) is
added here, so that no dashboard can get it wrong. Panels stand from left to right and wrap at 24 columns.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from tailwatch.config_check import checked
from tailwatch.errors import DeclarationError
from tailwatch.grafana.alert_rules import SOURCE_UID
from tailwatch.grafana.declared import one_line
from tailwatch.grafana.panels import DeclaredPanel, panel_json
from tailwatch.yaml_tree import read_file

DASHBOARDS_FOLDER: Final = Path(__file__).with_name("dashboards")
TAG: Final = "tailwatch"
#: The tag that says who owns a dashboard, as the label of that name does for rules.
OWNER_TAG: Final = "managed_by=tailwatch"
#: Of the classic model; Grafana brings older ones up to date by itself, newer ones it would not know.
SCHEMA_VERSION: Final = 39
_GRID: Final = 24
_ROW_HEIGHT: Final = 1
_REFRESH_ON_TIME_RANGE: Final = 2
_SORT_BY_NAME: Final = 1


class DeclaredVariable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice at the top of a dashboard: names of a query, or free text with a default.

    Raises:
        ValueError: it has neither a query nor a text.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]
    label: str
    description: Annotated[str, msgspec.Meta(min_length=1)]
    #: label_values(metric, label) or metrics(regular expression).
    query: str = ""
    #: Several, or all, may be chosen.
    multi: bool = False
    #: Chosen at first.
    default: str = ""

    def __post_init__(self) -> None:
        """There has to be something to choose from."""
        if not self.query and not self.default:
            raise ValueError(f"variable {self.name}: want a query, or a default for a field of free text")


class DeclaredRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A heading and the panels below it."""

    title: str
    panels: tuple[DeclaredPanel, ...]


class DashboardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of dashboards/; its name behind `tailwatch-` is the dashboard's uid."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
    description: Annotated[str, msgspec.Meta(min_length=1)]
    variables: tuple[DeclaredVariable, ...] = ()
    rows: tuple[DeclaredRow, ...]


@cache
def declared_dashboards() -> tuple[tuple[str, DashboardFile], ...]:
    """(uid, dashboard) by uid.

    Raises:
        ConfigError: a file is not what DashboardFile says; with the line.
    """
    paths = sorted(DASHBOARDS_FOLDER.glob("*.yaml"))
    return tuple((f"tailwatch-{path.stem}", checked(read_file(path), DashboardFile)) for path in paths)


def rendered_dashboards() -> tuple[dict[str, Any], ...]:
    """All dashboards in the classic model."""
    return tuple(_rendered(uid, dashboard) for uid, dashboard in declared_dashboards())


def panel_places() -> dict[str, tuple[str, int]]:
    """(uid of the dashboard, id of the panel) by "uid/panel title".

    Raises:
        DeclarationError: two panels of a dashboard have one title.
    """
    places: dict[str, tuple[str, int]] = {}
    for uid, dashboard in declared_dashboards():
        for number, item in enumerate(_items(dashboard), start=1):
            if isinstance(item, DeclaredPanel):
                if f"{uid}/{item.title}" in places:
                    raise DeclarationError(f"dashboard {uid}: two panels are called {item.title!r}")
                places[f"{uid}/{item.title}"] = (uid, number)
    return places


def _items(dashboard: DashboardFile) -> Iterator[DeclaredRow | DeclaredPanel]:
    """Rows and panels in the order of their identifiers."""
    for row in dashboard.rows:
        yield row
        yield from row.panels


def _rendered(uid: str, dashboard: DashboardFile) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": dashboard.title,
        "description": one_line(dashboard.description),
        "tags": [TAG, OWNER_TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "",
        "weekStart": "",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "annotations": {"list": []},
        "links": [_links()],
        "templating": {"list": [_variable(variable) for variable in dashboard.variables]},
        "panels": list(_placed(dashboard)),
    }


def _links() -> dict[str, Any]:
    """A menu of all dashboards with our tag, which keeps time range and choices."""
    return {
        "type": "dashboards", "title": "Tailwatch", "tags": [TAG], "asDropdown": True, "includeVars": True,
        "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "", "url": "",
    }  # fmt: skip


def _variable(variable: DeclaredVariable) -> dict[str, Any]:
    shown = {
        "name": variable.name,
        "label": variable.label,
        "description": one_line(variable.description),
        "hide": 0,
        "skipUrlSync": False,
    }
    if not variable.query:
        value = variable.default
        chosen = {"selected": True, "text": value, "value": value}
        return {**shown, "type": "textbox", "query": value, "current": chosen, "options": [chosen]}
    first = "All" if variable.multi else variable.default
    value = "$__all" if variable.multi else variable.default
    return {
        **shown,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": SOURCE_UID},
        "definition": variable.query,
        "query": {"query": variable.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": _REFRESH_ON_TIME_RANGE,
        "sort": _SORT_BY_NAME,
        "regex": "",
        "multi": variable.multi,
        "includeAll": variable.multi,
        # Not a list of all names, which would be as long as the fleet is large.
        **({"allValue": ".*"} if variable.multi else {}),
        "current": {"selected": True, "text": [first] if variable.multi else first,
                    "value": [value] if variable.multi else value} if first else {},
        "options": [],
    }  # fmt: skip


def _placed(dashboard: DashboardFile) -> Iterator[dict[str, Any]]:
    """Rows and panels with identifiers and places."""
    x = y = tallest = 0
    for number, item in enumerate(_items(dashboard), start=1):
        if isinstance(item, DeclaredRow):
            y, x, tallest = y + tallest, 0, 0
            place = {"h": _ROW_HEIGHT, "w": _GRID, "x": 0, "y": y}
            yield {
                "id": number, "type": "row", "title": item.title, "collapsed": False, "gridPos": place, "panels": [],
            }  # fmt: skip
            y += _ROW_HEIGHT
            continue
        if x + item.width > _GRID:
            y, x, tallest = y + tallest, 0, 0
        yield panel_json(item, number, {"h": item.height, "w": item.width, "x": x, "y": y})
        x, tallest = x + item.width, max(tallest, item.height)
