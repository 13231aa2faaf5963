"""GET /api/v1/drives: which drives should be replaced, which are worth a look, and why; one drive with its history.

What operators say about drives is in drive_actions.py. Summary and card come before the route that takes any name.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.csv_answers import CSV_RESPONSE, csv_answer, read_format
from api.drive_answers import (
    DAY_COLUMNS,
    WHY_NO_MODEL,
    action_entry,
    change_entry,
    day_rows,
    day_text,
    entry,
    model_entry,
    state_name,
    today,
)
from api.drive_details import detail
from api.drive_lookup import DriveName, drive_named
from api.drive_models import DriveDetail, DrivesPage, DrivesSummary, ModelCards
from api.drive_params import STATES, DriveParameters, DrivesParameters, check_shown, place_cursor, read_drives
from api.pagination import given_limit
from api.responses import json_answer
from api.service import Parts
from api.times import rfc_3339
from store.drive_actions import actions_of
from store.drive_days import read_days
from store.drive_list import list_drives
from store.drive_models import ModelRow, in_role
from store.drive_overview import drives_overview
from store.drives import states_of

router = APIRouter(tags=["drives"])

_TEXTS = ("drive", "node", "rack", "model", "vendor", "family", "firmware", "kind", "state", "first_reason")
_FIGURES = (
    "id", "since", "probability_7d", "probability_30d", "wear_used_percent", "wear_ends", "wear_ends_early",
    "wear_ends_late", "synthetic", "model_synthetic", "first_day", "last_day", "assessed",
)  # fmt: skip


@router.get(
    "/api/v1/drives", operation_id="list_drives", summary="Drives, the worst first", response_model=DrivesPage,
    responses=CSV_RESPONSE,
)  # fmt: skip
def list_all(request: Request, given: Annotated[DrivesParameters, Query()], service: Parts) -> Response:
    """Drives with their state, the three outputs and the first reason, filtered and sorted, page by page."""
    wanted = read_format(request, given.format)
    question, limit = read_drives(given), given_limit(given, service.config)
    with service.database.reading() as connection:
        page = list_drives(
            connection,
            question.where,
            service.now_ns(),
            sort=question.sort,
            descending=question.descending,
            limit=limit,
            after=question.after,
        )
    entries = [entry(row) for row in page.rows]
    next_cursor = place_cursor(page.after, question.sort)
    if wanted == "csv":
        answer = csv_answer(request, _TEXTS, _FIGURES, _rows(entries), 0)
        if next_cursor is not None:
            answer.headers["Tailwatch-Next-Cursor"] = next_cursor
        return answer
    return json_answer(request, {"drives": entries, "next_cursor": next_cursor})


@router.get(
    "/api/v1/drives/summary", operation_id="get_drives_summary", summary="The drives at a glance",
    response_model=DrivesSummary,
)  # fmt: skip
def summary(request: Request, service: Parts) -> Response:
    """Drives by state and model, when they were last judged, and which model gives probabilities, or why none does."""
    with service.database.reading() as connection:
        known = drives_overview(connection)
        active = in_role(connection, "active")
    states = dict.fromkeys(STATES, 0)
    models: dict[str | None, dict[str, int]] = {}
    for (model, state), n in known.counts.items():
        name = state_name(state)
        states[name] += n
        models.setdefault(model, dict.fromkeys(STATES, 0))[name] += n
    shown = None if active is None else model_entry(active)
    content = {
        "drives": sum(states.values()),
        "states": states,
        "models": [{"model": model, **models[model]} for model in sorted(models, key=lambda name: name or "")],
        "synthetic_drives": known.synthetic,
        "synthetic": known.synthetic > 0 or bool(shown and shown["synthetic"]),
        "last_round": None if known.round_ns is None else rfc_3339(known.round_ns),
        "last_round_ns": known.round_ns,
        "last_assessed": None if known.scored_ns is None else rfc_3339(known.scored_ns),
        "last_assessed_ns": known.scored_ns,
        "last_day": day_text(known.last_day),
        "scoring_model": shown,
        "why_no_model": WHY_NO_MODEL if active is None else "",
    }
    return json_answer(request, content)


@router.get(
    "/api/v1/drives/model", operation_id="get_drives_model", summary="The card of the model",
    response_model=ModelCards,
)  # fmt: skip
def model(request: Request, service: Parts) -> Response:
    """What the model that gives probabilities learned from, how good it is and where it is not; and its shadow's."""
    with service.database.reading() as connection:
        active, shadow = in_role(connection, "active"), in_role(connection, "shadow")
    content = {"active": _card(active), "shadow": _card(shadow), "why_no_model": WHY_NO_MODEL if active is None else ""}
    return json_answer(request, content)


@router.get(
    "/api/v1/drives/{drive:path}", operation_id="get_drive", summary="One drive, and why", response_model=DriveDetail
)
def show(request: Request, drive: DriveName, given: Annotated[DriveParameters, Query()], service: Parts) -> Response:
    """The state of a drive, rules, wear and probability apart with their reasons, its history, and who said what."""
    check_shown(given)
    now_ns = service.now_ns()
    with service.database.reading() as connection:
        row = drive_named(connection, drive)
        actions = actions_of(connection, row.id, row.model or "")  # "": of no model, but of the fleet
        changes = states_of(connection, row.id, given.changes)
        last = today(now_ns)
        first = last - timedelta(days=given.days)
        days = read_days(connection, row.chunk, first, last, DAY_COLUMNS, [row.id]) if given.days else None
    content = {
        **detail(row, actions, now_ns),
        "states": [change_entry(change) for change in changes],
        "days": [] if days is None else day_rows(days),
        "actions": [action_entry(action, row.drive) for action in actions[: given.changes]],
    }
    return json_answer(request, content)


def _card(row: ModelRow | None) -> dict[str, object] | None:
    return None if row is None else {**model_entry(row), "card": row.card}


def _rows(entries: Iterable[Mapping[str, object]]) -> Iterator[list[object]]:
    """Texts are never None: an empty field says the same."""
    for one in entries:
        yield [*("" if one[name] is None else one[name] for name in _TEXTS), *(one[name] for name in _FIGURES)]
