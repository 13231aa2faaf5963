"""What is wrong with the tails of services, as the collectors' job last found it, and when that changed."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.gpu_answers import times_of
from api.pagination import cursor_of, given_cursor, given_limit, given_number, no_cursor
from api.params import read_stretch
from api.responses import json_answer, number
from api.service import Parts, Service
from api.service_lookup import ServiceName
from api.service_tail_models import AlertHistoryPage, ServiceAlertsPage
from api.service_tail_params import (
    SEVERITIES,
    AlertHistoryParameters,
    FleetAlertsParameters,
    ServiceAlertsParameters,
)
from api.words import flag, if_given
from store.tail_alerts import AlertRow, alert_changes, list_alerts
from store.tail_services import known_service

router = APIRouter(tags=["services"])

_SEPARATOR = "\x1f"


@router.get(
    "/api/v1/services/{service}/alerts", operation_id="list_service_alerts", summary="What is wrong with one service",
    response_model=ServiceAlertsPage,
)  # fmt: skip
def of_service(
    service: ServiceName, request: Request, given: Annotated[ServiceAlertsParameters, Query()], parts: Parts
) -> Response:
    """Alerts of one service, firing and not, each with what was seen and what to do."""
    return _page(request, given, parts, service)


@router.get(
    "/api/v1/alerts/services", operation_id="list_alerts_of_services", summary="What is wrong with services",
    response_model=ServiceAlertsPage,
)  # fmt: skip
def of_all(request: Request, given: Annotated[FleetAlertsParameters, Query()], parts: Parts) -> Response:
    """Alerts of all services; `firing=true` has what is wrong now."""
    return _page(request, given, parts, given.service)


@router.get(
    "/api/v1/services/{service}/alerts/history", operation_id="list_service_alert_changes",
    summary="What a service's alerts did", response_model=AlertHistoryPage,
)  # fmt: skip
def history(
    service: ServiceName, request: Request, given: Annotated[AlertHistoryParameters, Query()], parts: Parts
) -> Response:
    """Each time that an alert of the service began, ended, or changed its severity or cause, the newest first."""
    stretch = read_stretch(given.start, given.end, parts.now_ns())
    limit, before = given_limit(given, parts.config), given_number(given)
    with parts.database.reading() as connection:
        known_service(connection, service)
        rows = alert_changes(connection, service, *stretch, limit + 1, before_id=before)
    shown = rows[:limit]
    changes = [
        {
            "id": row.id,
            "name": row.name,
            "severity": row.severity,
            "firing": row.firing,
            **times_of({"changed": row.changed_ns}),
            "cause": row.cause or None,
            "text": row.text,
        }
        for row in shown
    ]
    next_cursor = cursor_of(str(shown[-1].id)) if len(rows) > limit else None
    return json_answer(request, {"changes": changes, "next_cursor": next_cursor})


def _page(request: Request, given: ServiceAlertsParameters, parts: Service, service: str | None) -> Response:
    firing, severity = flag(given.firing, "firing"), if_given(given.severity, SEVERITIES, "severity")
    limit, after = given_limit(given, parts.config), _after(given)
    with parts.database.reading() as connection:
        if service is not None:
            known_service(connection, service)
        rows = list_alerts(connection, service, firing=firing, severity=severity, limit=limit + 1, after=after)
    return json_answer(request, _shown(rows, limit))


def _shown(rows: Sequence[AlertRow], limit: int) -> dict[str, object]:
    shown = rows[:limit]
    alerts = [
        {
            "service": row.service,
            "name": row.name,
            "severity": row.severity,
            "firing": row.firing,
            **times_of({"since": row.since_ns, "changed": row.changed_ns}),
            "cause": row.cause or None,
            "text": row.text,
            "figures": {name: number(value) for name, value in row.figures.items()},
        }
        for row in shown
    ]
    more = len(rows) > limit
    return {
        "alerts": alerts,
        "next_cursor": cursor_of(f"{shown[-1].service}{_SEPARATOR}{shown[-1].name}") if more else None,
    }


def _after(given: ServiceAlertsParameters) -> tuple[str, str] | None:
    """(service, name) after which the page begins."""
    text = given_cursor(given)
    if text is None:
        return None
    service, separator, name = text.partition(_SEPARATOR)
    if not separator or not service or not name or "\x00" in text:
        raise no_cursor()
    return service, name
