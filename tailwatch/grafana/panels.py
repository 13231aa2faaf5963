"""Panels as they are declared, and as Grafana's classic JSON has them.

A sketch metric is a native histogram to Grafana, whose cells a heat map draws as they come. It asks with the format
"time_series": "heatmap" means buckets with the label `le`, and older Grafanas took cells of native ones apart as if
they were those (grafana#77289).
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from tailwatch.grafana.alert_rules import SOURCE_UID
from tailwatch.grafana.declared import one_line

Kind = Literal["timeseries", "stat", "table", "heatmap", "text"]
Json = dict[str, Any]
#: Points that a panel asks for at most; a heat map has a histogram at each.
_HEATMAP_POINTS: Final = 240
#: The narrowest column of a heat map. Grafana would make those of an hour 15 s wide: by turns they have one and two
#: windows of 10 s in them, and a steady load has stripes. All wider ones that it chooses are multiples of 10 s.
_HEATMAP_STEP: Final = "20s"
_SOURCE: Final = {"type": "prometheus", "uid": SOURCE_UID}


class DeclaredQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One expression of a panel."""

    expr: Annotated[str, msgspec.Meta(min_length=1)]
    #: What its series are called, for example {{host}}.
    legend: str = ""


class DeclaredLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From this value on, another colour."""

    value: float
    color: Literal["green", "yellow", "orange", "red"]


class DeclaredPanel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One panel.

    Raises:
        ValueError: a text without words, or figures without a unit or a query.
    """

    title: Annotated[str, msgspec.Meta(min_length=1)]
    #: What it shows, and what to make of it.
    description: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Kind = "timeseries"
    #: A unit of Grafana: µs, s, bytes, percentunit, short, cps, Bps, suffix:cores. None of a text.
    unit: Annotated[str, msgspec.Meta(min_length=1)] = ""
    width: Annotated[int, msgspec.Meta(ge=2, le=24)] = 12
    height: Annotated[int, msgspec.Meta(ge=2, le=40)] = 8
    queries: Annotated[tuple[DeclaredQuery, ...], msgspec.Meta(min_length=1)] = ()
    #: What a panel of the kind text says, in Markdown; it asks for nothing.
    text: str = ""
    #: The colour below the first limit.
    color: Literal["green", "red"] = "green"
    limits: tuple[DeclaredLimit, ...] = ()
    min: float | None = None
    max: float | None = None
    #: Areas on top of each other.
    stacked: bool = False
    log_scale: bool = False

    def __post_init__(self) -> None:
        """Words or figures, not both."""
        if self.kind == "text" and (not self.text or self.queries or self.unit):
            raise ValueError(f"panel {self.title}: a text has `text` and neither queries nor a unit")
        if self.kind != "text" and (self.text or not self.queries or not self.unit):
            raise ValueError(f"panel {self.title}: want queries and a unit; `text` is for the kind text")


def panel_json(panel: DeclaredPanel, number: int, place: Json) -> Json:
    """The panel at its place of the grid."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": one_line(panel.description),
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
        **_KINDS[panel.kind](panel),
    }


def _target(panel: DeclaredPanel, query: DeclaredQuery, ref: str) -> Json:
    instant = panel.kind in ("stat", "table")
    return {
        "refId": ref,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": one_line(query.expr),
        "legendFormat": query.legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": "table" if panel.kind == "table" else "time_series",
        **({"interval": _HEATMAP_STEP} if panel.kind == "heatmap" else {}),
    }


def _timeseries(panel: DeclaredPanel) -> Json:
    drawn = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 15 if panel.stacked else 5,
        "showPoints": "auto", "pointSize": 4, "spanNulls": False, "axisPlacement": "auto",
        "scaleDistribution": {"type": "log", "log": 10} if panel.log_scale else {"type": "linear"},
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
    }  # fmt: skip
    return {
        "fieldConfig": _fields(panel, custom=drawn),
        "options": {
            "legend": {
                "displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }  # fmt: skip


def _stat(panel: DeclaredPanel) -> Json:
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    return {
        "fieldConfig": _fields(panel),
        "options": {
            "reduceOptions": reduced, "orientation": "auto", "textMode": "auto", "colorMode": "value",
            "graphMode": "none", "justifyMode": "auto",
        },
    }  # fmt: skip


def _table(panel: DeclaredPanel) -> Json:
    return {
        "fieldConfig": _fields(panel, custom={"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}),
        "options": {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "Value", "desc": True}]},
        "transformations": [{"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True}}}],
    }


def _heatmap(panel: DeclaredPanel) -> Json:
    return {
        "maxDataPoints": _HEATMAP_POINTS,
        "fieldConfig": {
            "defaults": {"custom": {"scaleDistribution": {"type": "linear"}, "hideFrom": _nowhere()}},
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 0,
            "color": {"mode": "scheme", "scheme": "Spectral", "reverse": True, "scale": "exponential", "exponent": 0.5,
                      "steps": 64, "fill": "dark-orange"},
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": panel.unit},
        },
    }  # fmt: skip


def _text(panel: DeclaredPanel) -> Json:
    options = {"mode": "markdown", "content": panel.text.strip(), "code": {"language": "plaintext"}}
    return {"fieldConfig": {"defaults": {}, "overrides": []}, "options": options}


def _nowhere() -> Json:
    return {"legend": False, "tooltip": False, "viz": False}


def _fields(panel: DeclaredPanel, custom: Json | None = None) -> Json:
    steps: list[Json] = [{"color": panel.color, "value": None}]
    steps += [{"color": limit.color, "value": limit.value} for limit in panel.limits]
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    defaults |= {key: value for key, value in (("min", panel.min), ("max", panel.max)) if value is not None}
    if custom is not None:
        defaults["custom"] = {**custom, "hideFrom": _nowhere()} if panel.kind == "timeseries" else custom
    return {"defaults": defaults, "overrides": []}


_KINDS: Final = {"timeseries": _timeseries, "stat": _stat, "table": _table, "heatmap": _heatmap, "text": _text}
