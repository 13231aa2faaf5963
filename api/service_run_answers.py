"""Runs as answers show them, and what to know of them beside their answer."""

from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from api.gpu_answers import times_of
from store.tail_alerts import list_alerts
from store.tail_profiles import active_profile
from store.tail_runs import RunRow

_UNREACHABLE = "objective_unreachable"


def run_entry(row: RunRow) -> dict[str, Any]:
    """A run as lists show it."""
    return {
        "id": row.id,
        "service": row.service,
        "kind": row.kind,
        "state": row.state,
        "progress": row.progress,
        "progress_text": row.progress_text,
        **times_of({"asked": row.asked_ns}),
        "asked_by": row.asked_by,
        **times_of({"started": row.started_ns, "ended": row.ended_ns}),
        "error": row.error,
        "request": row.request,
        "href": run_href(row),
    }


def run_href(row: RunRow) -> str:
    """Where a run is asked for."""
    return f"/api/v1/services/{quote(row.service, safe='')}/runs/{row.id}"


def run_notes(connection: sa.Connection, row: RunRow) -> list[str]:
    """What is known of the service that bears on this run: a promise that no policy can keep, speed-ups that lack."""
    notes = [alert.text for alert in list_alerts(connection, row.service, firing=True) if alert.name == _UNREACHABLE]
    if row.kind != "learn" and active_profile(connection, row.service) is None:
        notes.append(
            "no speed-ups of this service are in use yet; the run learns them from the requests of its stretch, and is "
            "refused where these do not bear it"
        )
    return notes
