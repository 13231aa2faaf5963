"""One drive in full: the three outputs apart, what makes its state, and what the shadow model says beside it.

The verdict is the scoring job's JSON. What of it this release cannot read is left open, and the drive's row speaks.
What is acknowledged or muted is looked up when somebody asks, so it shows at once; the state itself is the job's, and
follows with its next round.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import msgspec

from analytics.errors import DataError
from analytics.ssd.states import Cause, load_memory
from analytics.ssd.verdicts import FiredRule, WearForecast
from api.drive_answers import MUTABLE, NOT_JUDGED, day_text, entry, said_of
from store.drive_actions import DriveAction
from store.drives import DriveRow


class _Shadow(msgspec.Struct, frozen=True):
    """What the shadow model says of a drive; horizons are days."""

    digest: str
    probabilities: dict[int, float]


class _BesideVerdict(msgspec.Struct, frozen=True):
    """What stands in a verdict beside the assessment."""

    shadow: _Shadow | None = None


_beside = msgspec.json.Decoder(_BesideVerdict)


def detail(row: DriveRow, actions: Sequence[DriveAction], now_ns: int) -> dict[str, object]:
    """Everything but histories: the three outputs apart, and what was said of them."""
    holding = [one for one in actions if one.holds(now_ns)]
    muted = {one.cause for one in holding if one.kind == "mute"}
    shown = entry(row)
    said = said_of(row)
    remembered = _remembered(row)
    return {
        **shown,
        "day": day_text(row.scored_day) if said is None else said.day.isoformat(),
        "rules": [] if said is None else [_rule(rule, muted) for rule in said.rules],
        "wear": _plain_wear(row) if said is None else _wear(said.wear),
        "why_no_probability": _why_no_probability(row) if said is None else said.why_no_probability,
        "reasons": [
            {"feature": one.feature, "column": one.column, "contribution": one.contribution, "text": one.text}
            for one in (() if said is None else said.reasons)
        ],
        "why_unknown": said.why_unknown if said is not None else "" if row.state >= 0 else str(shown["first_reason"]),
        "causes": [
            {
                "cause": cause,
                "level": level,
                "acknowledged": is_acknowledged(
                    cause, level, holding, remembered[cause].slack if cause in remembered else 0.0
                ),
            }
            for cause, level in ({} if said is None else said.causes).items()
        ],
        "model_digest": row.model_digest,
        "shadow": _shadow(row),
        "muted": [column for column in MUTABLE if column in muted],
    }


def is_acknowledged(cause: str, level: float, holding: Sequence[DriveAction], slack: float = 0.0) -> bool:
    """Whether somebody has seen this cause, at this level (or up to `slack` below it) or a worse one."""
    return any(
        one.kind == "acknowledge" and one.cause == cause and (one.level is None or level <= one.level + slack)
        for one in holding
    )


def _rule(rule: FiredRule, muted: Collection[str]) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "severity": rule.severity,
        "column": rule.column,
        "value": rule.value,
        "before": rule.before,
        "days": rule.days,
        "text": rule.text,
        "muted": rule.column in muted,
    }


def _wear(wear: WearForecast) -> dict[str, object]:
    return {
        "used_percent": wear.used_pct,
        "percent_per_day": wear.pct_per_day,
        "ends": _iso(wear.ends),
        "ends_early": _iso(wear.ends_early),
        "ends_late": _iso(wear.ends_late),
        "confidence": wear.confidence,
        "basis": wear.basis,
        "why_not": wear.why_not,
    }


def _plain_wear(row: DriveRow) -> dict[str, object] | None:
    """What the row knows of the wear of a drive that nothing speaks against, and that has no verdict for that."""
    if row.wear_used_pct is None:
        return None
    return {
        "used_percent": row.wear_used_pct,
        "percent_per_day": None,
        "ends": day_text(row.wear_ends_day),
        "ends_early": day_text(row.wear_ends_early_day),
        "ends_late": day_text(row.wear_ends_late_day),
        "confidence": 0.9,
        "basis": None,
        "why_not": "" if row.wear_ends_day is not None else "wear grows too slowly, or too little of it was seen",
    }


def _remembered(row: DriveRow) -> Mapping[str, Cause]:
    """The causes as the job remembers them: with how much worse they may get before that is news to it."""
    if row.memory is None:
        return {}
    try:
        return load_memory(row.memory).causes
    except DataError:
        return {}  # the job says so, and judges the drive afresh


def _shadow(row: DriveRow) -> dict[str, object] | None:
    """What the shadow model says; a verdict that this release cannot read is spoken of by `said_of`."""
    if row.verdict is None:
        return None
    try:
        shadow = _beside.decode(row.verdict).shadow
    except msgspec.MsgspecError:
        return None
    if shadow is None or not shadow.probabilities:
        return None
    said = shadow.probabilities
    return {"digest": shadow.digest, "probability_7d": said.get(7), "probability_30d": said.get(30)}


def _why_no_probability(row: DriveRow) -> str:
    if row.scored_ns is None:
        return NOT_JUDGED
    return "" if row.p30 is not None or row.p7 is not None else "no model gave one; see GET /api/v1/drives/summary"


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
