"""What operators say about drives: seen, mute, what became of it. Everything can be taken back, nothing is deleted.

The state of a drive is the scoring job's alone. An acknowledgement shows at once in the drive's causes, a mute in its
rules; the state follows with the job's next round, and answers say so.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated

import orjson
import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.drive_answers import MUTABLE, action_entry, day_number, said_of, today
from api.drive_lookup import DriveName, drive_named, who_asks
from api.drive_models import AcknowledgePost, ActionsAnswer, FleetMutePost, MutePost, OutcomePost
from api.errors import ConflictError, ParameterError, UnknownNameError
from api.problems import nearest_name
from api.responses import JSON, live_answer
from api.service import Parts
from api.times import SECOND_NS, parse_time
from api.writing import Writable
from store.drive_actions import (
    DriveAction,
    Kind,
    acknowledge,
    actions_of,
    fleet_mutes,
    mute,
    record_outcome,
    take_back,
)
from store.drive_overview import drive_models_named
from store.drives import DriveRow

router = APIRouter(tags=["drives"])

#: Drives were read before that by nobody.
_FIRST_DAY = date(2000, 1, 1)
_ACKNOWLEDGED = "causes show as acknowledged at once; the state follows with the next round of the scoring job"
_MUTED = "rules show as muted at once; states and probabilities follow with the next round of the scoring job"
_RECORDED = "the next training learns from it; the state does not change"

_Text = Annotated[str, Field(max_length=1_000)]


class CauseParameters(BaseModel):
    """What of a drive is to be heard of again."""

    model_config = ConfigDict(extra="forbid")

    cause: _Text | None = Field(
        default=None, description="Only this cause; without it all that are acknowledged.", examples=["probability"]
    )


class ColumnParameters(BaseModel):
    """What of a drive is to be looked at again."""

    model_config = ConfigDict(extra="forbid")

    column: _Text | None = Field(
        default=None, description="Only this column; without it all that are muted.", examples=["crc_total"]
    )


class FleetColumnParameters(ColumnParameters):
    """What is to be looked at again, and on which drives."""

    model: _Text | None = Field(
        default=None, description="Mutes of drives of this model; without it those of the whole fleet."
    )


@router.post(
    "/api/v1/drives/mute", operation_id="mute_drives", summary="Do not look at an attribute, on all drives",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def mute_all(body: FleetMutePost, request: Request, service: Parts, writable: Writable) -> Response:
    """Leave a column out of rules, states and reasons: of the whole fleet, or of the drives of a model."""
    now_ns = service.now_ns()
    _check_column(body.column)
    until_ns = _until(body.until, now_ns)
    note = _text(body.note, "note")
    with writable.writing() as connection:
        if body.model is not None:
            _check_model(connection, body.model)
        who = who_asks(request)
        made = mute(connection, body.column, who, now_ns, model=body.model, until_ns=until_ns, note=note)
    return _made([made], None, _MUTED)


@router.delete(
    "/api/v1/drives/mute", operation_id="unmute_drives", summary="Look at an attribute of all drives again",
    response_model=ActionsAnswer,
)  # fmt: skip
def unmute_all(
    given: Annotated[FleetColumnParameters, Query()], request: Request, service: Parts, writable: Writable
) -> Response:
    """Take mutes of the fleet, or of a model, back. Mutes of single drives stay."""
    now_ns = service.now_ns()
    with writable.writing() as connection:
        held = [
            one
            for one in fleet_mutes(connection, now_ns)
            if one.model == given.model and given.column in (None, one.cause)
        ]
        about = "the whole fleet" if given.model is None else f"the model {given.model[:200]!r}"
        ended = _taken_back(connection, held, request, now_ns, "muted", given.column, about)
    return _answer(ended, None, _MUTED)


@router.post(
    "/api/v1/drives/{drive:path}/acknowledge", operation_id="acknowledge_drive", summary="Say that a cause is known",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def acknowledge_one(
    drive: DriveName, body: AcknowledgePost, request: Request, service: Parts, writable: Writable
) -> Response:
    """Keep causes out of a drive's state until a day, unless they get worse than they are now.

    Without `causes` all are meant that are there now. A drive of which nothing is wrong is a 409.
    """
    now_ns = service.now_ns()
    until_ns = _until(body.until, now_ns)
    note = _text(body.note, "note")
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        levels = _causes(row)
        chosen = list(dict.fromkeys(body.causes)) or list(levels)
        for cause in chosen:
            _check_cause(cause, levels)
        who = who_asks(request)
        made = [
            acknowledge(connection, row.id, cause, levels[cause], who, now_ns, until_ns=until_ns, note=note)
            for cause in chosen
        ]
    return _made(made, row, _ACKNOWLEDGED)


@router.delete(
    "/api/v1/drives/{drive:path}/acknowledge", operation_id="unacknowledge_drive",
    summary="Hear of a cause again", response_model=ActionsAnswer,
)  # fmt: skip
def unacknowledge_one(
    drive: DriveName,
    given: Annotated[CauseParameters, Query()],
    request: Request,
    service: Parts,
    writable: Writable,
) -> Response:
    """Take acknowledgements of a drive back."""
    now_ns = service.now_ns()
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        held = _held(connection, row, "acknowledge", given.cause, now_ns)
        ended = _taken_back(connection, held, request, now_ns, "acknowledged", given.cause, f"drive {row.drive!r}")
    return _answer(ended, row, _ACKNOWLEDGED)


@router.post(
    "/api/v1/drives/{drive:path}/mute", operation_id="mute_drive", summary="Do not look at an attribute of a drive",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def mute_one(drive: DriveName, body: MutePost, request: Request, service: Parts, writable: Writable) -> Response:
    """Leave a column of one drive out of rules, states and reasons: a cable that is known, a counter that lies."""
    now_ns = service.now_ns()
    _check_column(body.column)
    until_ns = _until(body.until, now_ns)
    note = _text(body.note, "note")
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        who = who_asks(request)
        made = mute(connection, body.column, who, now_ns, drive_id=row.id, until_ns=until_ns, note=note)
    return _made([made], row, _MUTED)


@router.delete(
    "/api/v1/drives/{drive:path}/mute", operation_id="unmute_drive", summary="Look at an attribute of a drive again",
    response_model=ActionsAnswer,
)  # fmt: skip
def unmute_one(
    drive: DriveName,
    given: Annotated[ColumnParameters, Query()],
    request: Request,
    service: Parts,
    writable: Writable,
) -> Response:
    """Take mutes of this drive back; those of its model or of the fleet stay."""
    now_ns = service.now_ns()
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        held = _held(connection, row, "mute", given.column, now_ns)
        ended = _taken_back(connection, held, request, now_ns, "muted", given.column, f"drive {row.drive!r}")
    return _answer(ended, row, _MUTED)


@router.post(
    "/api/v1/drives/{drive:path}/outcome", operation_id="record_drive_outcome", summary="Say what became of a drive",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def outcome_one(drive: DriveName, body: OutcomePost, request: Request, service: Parts, writable: Writable) -> Response:
    """What retraining learns from: failed, replaced_healthy or back. An outcome of the same day is replaced.

    The newest outcome counts, so a drive that was called failed by mistake is `back`.
    """
    now_ns = service.now_ns()
    day = _day(body.day, now_ns)
    note = _text(body.note, "note")
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        made = record_outcome(connection, row.id, body.outcome, day_number(day), who_asks(request), now_ns, note=note)
    return _made([made], row, _RECORDED)


def _held(connection: sa.Connection, row: DriveRow, kind: Kind, cause: str | None, now_ns: int) -> list[DriveAction]:
    return [
        one
        for one in actions_of(connection, row.id)
        if one.kind == kind and one.holds(now_ns) and cause in (None, one.cause)
    ]


def _taken_back(
    connection: sa.Connection,
    held: Sequence[DriveAction],
    request: Request,
    now_ns: int,
    done: str,
    what: str | None,
    about: str,
) -> list[DriveAction]:
    if not held:
        named = "nothing" if what is None else f"{what[:100]!r} not"
        raise UnknownNameError(f"{named} is {done} of {about} now; GET /api/v1/drives/SERIAL lists what is")
    return [take_back(connection, one.id, who_asks(request), now_ns) for one in held]


def _causes(row: DriveRow) -> dict[str, float]:
    """What is wrong with a drive, with its level.

    Raises:
        ConflictError: nothing is.
    """
    said = said_of(row)
    if said is None or not said.causes:
        raise ConflictError(
            f"nothing speaks against drive {row.drive[:200]!r} as it was last judged; there is nothing to acknowledge"
        )
    return dict(said.causes)


def _check_cause(cause: str, levels: dict[str, float]) -> None:
    if cause not in levels:
        raise ParameterError(
            f"cause {cause[:100]!r} is not there; what speaks against the drive: {', '.join(levels)[:500]}",
            parameter="causes",
            nearest=nearest_name(cause, levels),
        )


def _check_column(column: str) -> None:
    if column not in MUTABLE:
        raise ParameterError(
            f"column {column[:100]!r} cannot be muted; these can: {', '.join(MUTABLE)}",
            parameter="column",
            nearest=nearest_name(column, MUTABLE),
        )


def _check_model(connection: sa.Connection, model: str) -> None:
    known = drive_models_named(connection)
    if model not in known:
        nearest = nearest_name(model, known)
        hint = f"did you mean {nearest!r}?" if nearest else "GET /api/v1/drives/summary lists those there are"
        raise UnknownNameError(f"no drive is of the model {model[:200]!r}; {hint}", parameter="model", nearest=nearest)


def _until(text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    until_ns = parse_time(text, now_ns, "until")
    if until_ns <= now_ns:
        raise ParameterError(f"until={text[:60]!r} has passed; give a time to come, such as now+30d", parameter="until")
    return -(-until_ns // SECOND_NS) * SECOND_NS  # nobody means a part of a second


def _day(text: str | None, now_ns: int) -> date:
    """The day of an outcome; a clock in the east of UTC may be in tomorrow already."""
    last = today(now_ns) + timedelta(days=1)
    if text is None:
        return today(now_ns)
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(f"day={text[:40]!r} is no day; write it as 2026-11-22", parameter="day") from error
    if not _FIRST_DAY <= day <= last:
        raise ParameterError(f"day={text[:40]!r} is not between {_FIRST_DAY} and {last}", parameter="day")
    return day


def _text(text: str, parameter: str) -> str:
    """Text that every database keeps.

    Raises:
        ParameterError: a zero byte, or half a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = False
    else:
        whole = "\x00" not in text
    if not whole:
        raise ParameterError(f"{parameter} holds a zero byte or half a character; leave it out", parameter=parameter)
    return text


def _made(actions: Sequence[DriveAction], row: DriveRow | None, effect: str) -> Response:
    content = {"actions": _entries(actions, row), "takes_effect": effect}
    return Response(orjson.dumps(content), 201, headers={"Cache-Control": "no-store"}, media_type=JSON)


def _answer(actions: Sequence[DriveAction], row: DriveRow | None, effect: str) -> Response:
    return live_answer({"actions": _entries(actions, row), "takes_effect": effect})


def _entries(actions: Sequence[DriveAction], row: DriveRow | None) -> list[dict[str, object]]:
    return [action_entry(one, None if row is None else row.drive) for one in actions]
