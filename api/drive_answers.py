"""Drives as lists show them, changes of their states, what operators said, and models: rows of the store as JSON.

One drive in full is in drive_details.py.
"""

import logging
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import msgspec
import polars as pl

from analytics.ssd.columns import COUNTERS, DAYS, FLAGS, GAUGES, SYMPTOMS
from analytics.ssd.verdicts import Assessment, State
from api.drive_models import StateName
from api.times import rfc_3339
from store.drive_actions import DriveAction
from store.drive_models import ModelRow
from store.drives import DriveRow, StateChange

log = logging.getLogger(__name__)

_EPOCH = date(1970, 1, 1)
_NAMES: dict[int, StateName] = {-1: "unknown", 0: "good", 1: "watch", 2: "replace"}
#: Of a drive-day; what stays the same stands above the days.
DAY_COLUMNS: dict[str, pl.DataType] = {
    name: DAYS[name] for name in ("drive", "day", "node", "firmware", *SYMPTOMS, *COUNTERS, *GAUGES, "readings", *FLAGS)
}
#: What can be muted.
MUTABLE: tuple[str, ...] = (*SYMPTOMS, *COUNTERS, *GAUGES, "probability", "wear")
#: What is said of a drive that the job has not come to.
NOT_JUDGED = "not judged yet"
WHY_NO_MODEL = (
    "no model is installed: rules and wear work without one, and no probability is made up; "
    "`tailwatch ssd train` makes one, `tailwatch ssd install` brings it here"
)
_decoder = msgspec.json.Decoder(Assessment)


def said_of(row: DriveRow) -> Assessment | None:
    """The verdict of a drive; None where there is none, or none that this release reads (the log says so)."""
    if row.verdict is None:
        return None
    try:
        return _decoder.decode(row.verdict)
    except msgspec.MsgspecError as error:
        log.warning("verdict of a drive cannot be read id=%d error=%s", row.id, error)
        return None


def entry(row: DriveRow) -> dict[str, object]:
    """A drive as lists show it."""
    assessed = row.scored_ns is not None
    return {
        "id": row.id,
        "drive": row.drive,
        "node": row.node,
        "rack": row.rack,
        "model": row.model,
        "vendor": row.vendor,
        "family": row.family,
        "firmware": row.firmware,
        "kind": row.kind,
        "state": state_name(row.state),
        "since": rfc_3339(row.since_ns) if assessed else None,
        "since_ns": row.since_ns if assessed else None,
        "probability_7d": row.p7,
        "probability_30d": row.p30,
        "wear_used_percent": row.wear_used_pct,
        "wear_ends": day_text(row.wear_ends_day),
        "wear_ends_early": day_text(row.wear_ends_early_day),
        "wear_ends_late": day_text(row.wear_ends_late_day),
        "first_reason": _first_reason(said_of(row)) if assessed else NOT_JUDGED,
        "synthetic": row.synthetic,
        "model_synthetic": row.model_synthetic,
        "first_day": day_text(row.first_day),
        "last_day": day_text(row.last_day),
        "assessed": None if row.scored_ns is None else rfc_3339(row.scored_ns),
        "assessed_ns": row.scored_ns,
        "href": href(row),
    }


def change_entry(change: StateChange) -> dict[str, object]:
    """One change of state."""
    return {
        "at": rfc_3339(change.at_ns),
        "at_ns": change.at_ns,
        "since": rfc_3339(change.since_ns),
        "since_ns": change.since_ns,
        "was": state_name(change.was),
        "state": state_name(change.state),
        "why": change.why,
    }


def action_entry(action: DriveAction, drive: str | None) -> dict[str, object]:
    """What an operator said; `drive` is the name of the drive that it is about."""
    about = {"acknowledge": "cause", "mute": "column", "outcome": "outcome"}[action.kind]
    return {
        "id": action.id,
        "kind": action.kind,
        "drive": None if action.drive_id is None else drive,
        "model": action.model,
        "cause": None,
        "column": None,
        "outcome": None,
        about: action.cause,
        "day": day_text(action.day),
        "level": action.level,
        "note": action.note,
        "who": action.who,
        **_time("created", action.created_ns),
        **_time("until", action.until_ns),
        **_time("ended", action.ended_ns),
    }


def day_rows(days: pl.DataFrame) -> list[dict[str, object]]:
    """Drive-days, newest first, without the drive's name."""
    shown = days.drop("drive").sort("day", descending=True).with_columns(pl.col("day").dt.to_string("%Y-%m-%d"))
    return shown.to_dicts()


def model_entry(row: ModelRow) -> dict[str, object]:
    """The essentials of a model's card; a card that says less leaves them open."""
    card = row.card
    origin = card.get("origin", card.get("data"))
    horizons = card.get("horizons")
    return {
        "digest": row.digest,
        "role": row.role,
        **_time("installed", row.installed_ns),
        **_time("promoted", row.promoted_ns),
        "note": row.note,
        "made": made if isinstance(made := card.get("made"), str) else None,
        "origin": origin if isinstance(origin, str) else None,
        "synthetic": synthetic if isinstance(synthetic := card.get("synthetic"), bool) else None,
        "horizons": [one for one in horizons if type(one) is int] if isinstance(horizons, list | tuple) else [],
    }


def state_name(state: int) -> StateName:
    """unknown, good, watch or replace."""
    return _NAMES.get(state, "unknown")


def href(row: DriveRow) -> str:
    """Where the drive is asked for: by its name, which means the same in every database."""
    return f"/api/v1/drives/{quote(row.drive, safe='')}"


def day_text(day: int | None) -> str | None:
    """A day, given as days since 1970."""
    return None if day is None else (_EPOCH + timedelta(days=day)).isoformat()


def today(now_ns: int) -> date:
    """The UTC day."""
    return datetime.fromtimestamp(now_ns // 10**9, UTC).date()


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def _first_reason(said: Assessment | None) -> str:
    """What speaks most for the state: the worst rule, then wear that is over, then the strongest reason."""
    if said is None:
        return ""
    if said.why_unknown and said.state is State.UNKNOWN:
        return said.why_unknown
    rules = sorted(said.rules, key=lambda rule: rule.severity != "replace")
    if rules:
        return rules[0].text
    if said.reasons and said.state > State.GOOD and "probability" in said.causes:
        return said.reasons[0].text
    if "wear" in said.causes and said.wear.used_pct is not None:
        return f"{said.wear.used_pct:g} % of the rated life used"
    return ""


def _time(name: str, time_ns: int | None) -> dict[str, object]:
    return {name: None if time_ns is None else rfc_3339(time_ns), f"{name}_ns": time_ns}
