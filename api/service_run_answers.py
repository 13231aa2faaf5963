"""Runs as answers show them, and what to know of them beside their answer."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from api.gpu_answers import times_of
from store.leases import holder_of
from store.tail_alerts import list_alerts
from store.tail_profiles import active_profile
from store.tail_runs import LEASE, RunRow

_UNREACHABLE = "objective_unreachable"


@dataclass(frozen=True, slots=True)
class AtWork:
    """Who has the lease of the job that answers, and until when; renewed with each step.

    A collector that is killed has it until it runs out, and nobody knows of its death before.
    """

    owner: str
    until_ns: int
    now_ns: int

    def text(self, row: RunRow) -> str:
        """What is done on a run, as far as that is known."""
        if row.state == "running" and self.held_until_ns(row) is None:
            return "whoever worked on it is gone; the next collector begins it anew"
        return row.progress_text

    def held_until_ns(self, row: RunRow) -> int | None:
        """Until when a run is another's to take up only if nothing more is heard; None: nobody works on it."""
        is_held = row.state == "running" and row.owner == self.owner and self.until_ns > self.now_ns
        return self.until_ns if is_held else None


def read_at_work(connection: sa.Connection, now_ns: int) -> AtWork:
    """Who answers questions now."""
    return AtWork(*holder_of(connection, LEASE), now_ns)


def run_entry(row: RunRow, at_work: AtWork) -> dict[str, Any]:
    """A run as lists show it."""
    return {
        "id": row.id,
        "service": row.service,
        "kind": row.kind,
        "state": row.state,
        "progress": row.progress,
        "progress_text": at_work.text(row),
        **times_of({"asked": row.asked_ns}),
        "asked_by": row.asked_by,
        **times_of({"started": row.started_ns, "ended": row.ended_ns}),
        **times_of({"held_until": at_work.held_until_ns(row)}),
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
