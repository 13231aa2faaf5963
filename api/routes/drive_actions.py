"""What operators say of one drive: its causes are known, or what became of it. Nothing said is ever deleted.

The state of a drive is the scoring job's alone. An acknowledgement shows at once in the drive's causes; the state
follows with the job's next round, and answers say so. Mutes are in drive_mutes.py.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.drive_answers import day_number, said_of, today
from api.drive_lookup import DriveName
from api.drive_models import AcknowledgePost, ActionsAnswer, OutcomePost
from api.drive_sayings import say_of_drive, saying, take_back_of_drive
from api.errors import ConflictError, ParameterError
from api.problems import nearest_name
from api.service import Parts
from api.writing import Writable
from store.drive_actions import DriveAction, acknowledge, record_outcome
from store.drives import DriveRow

router = APIRouter(tags=["drives"])

#: Drives were read before that by nobody.
_FIRST_DAY = date(2000, 1, 1)
_ACKNOWLEDGED = "causes show as acknowledged at once; the state follows with the next round of the scoring job"
_RECORDED = "the next training learns from it; the state does not change"

_Text = Annotated[str, Field(max_length=1_000)]


class CauseParameters(BaseModel):
    """What of a drive is to be heard of again."""

    model_config = ConfigDict(extra="forbid")

    cause: _Text | None = Field(
        default=None, description="Only this cause; without it all that are acknowledged.", examples=["probability"]
    )


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
    by = saying(request, service, body.note, body.until)

    def keep(connection: sa.Connection, row: DriveRow) -> Sequence[DriveAction]:
        levels = _causes(row)
        chosen = list(dict.fromkeys(body.causes)) or list(levels)
        for cause in chosen:
            _check_cause(cause, levels)
        return [
            acknowledge(connection, row.id, cause, levels[cause], by.who, by.now_ns, until_ns=by.until_ns, note=by.note)
            for cause in chosen
        ]

    return say_of_drive(writable, drive, keep, _ACKNOWLEDGED)


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
    by = saying(request, service, "")
    return take_back_of_drive(writable, drive, by, "acknowledge", given.cause, _ACKNOWLEDGED)


@router.post(
    "/api/v1/drives/{drive:path}/outcome", operation_id="record_drive_outcome", summary="Say what became of a drive",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def outcome_one(drive: DriveName, body: OutcomePost, request: Request, service: Parts, writable: Writable) -> Response:
    """What retraining learns from: failed, replaced_healthy or back. An outcome of the same day is replaced.

    The newest outcome counts, so a drive that was called failed by mistake is `back`.
    """
    by = saying(request, service, body.note)
    number = day_number(_day(body.day, by.now_ns))

    def keep(connection: sa.Connection, row: DriveRow) -> Sequence[DriveAction]:
        return [record_outcome(connection, row.id, body.outcome, number, by.who, by.now_ns, note=by.note)]

    return say_of_drive(writable, drive, keep, _RECORDED)


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
