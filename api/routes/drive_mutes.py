"""Which attributes are not to be looked at: on one drive, on the drives of a model, or on all; and which are not now.

A mute shows at once in the drive's rules; the state follows with the scoring job's next round. The model is not told:
a probability made without a column would not be the one that was calibrated, so it can only be muted whole.
"""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.drive_answers import MUTABLE, action_entry
from api.drive_lookup import DriveName
from api.drive_models import ActionsAnswer, FleetMutePost, MutePost, MutesPage
from api.drive_sayings import ended_answer, made_answer, say_of_drive, saying, take_back_of_drive, taken_back
from api.errors import ParameterError, UnknownNameError
from api.pagination import cursor_of, given_limit, given_number
from api.params import PageParameters
from api.problems import nearest_name
from api.responses import json_answer
from api.service import Parts
from api.writing import Writable
from store.drive_actions import DriveAction, fleet_mutes, mute, mutes_in_force
from store.drive_overview import drive_models_named
from store.drives import DriveRow

router = APIRouter(tags=["drives"])

_MUTED = (
    "rules show as muted at once; the state follows with the next round of the scoring job; the probability still "
    "looks at all columns, unless the column probability is muted"
)

_Text = Annotated[str, Field(max_length=1_000)]


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


@router.get(
    "/api/v1/drives/mute", operation_id="list_drive_mutes", summary="What is not looked at", response_model=MutesPage
)
def list_mutes(request: Request, given: Annotated[PageParameters, Query()], service: Parts) -> Response:
    """Mutes that hold now, of single drives, of models and of the fleet, the newest first."""
    limit, before = given_limit(given, service.config), given_number(given)
    with service.database.reading() as connection:
        found = mutes_in_force(connection, service.now_ns(), limit + 1, before)
    shown = found[:limit]
    next_cursor = cursor_of(str(shown[-1][0].id)) if len(found) > limit else None
    mutes = [action_entry(action, drive) for action, drive in shown]
    return json_answer(request, {"mutes": mutes, "next_cursor": next_cursor})


@router.post(
    "/api/v1/drives/mute", operation_id="mute_drives", summary="Do not look at an attribute, on all drives",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def mute_all(body: FleetMutePost, request: Request, service: Parts, writable: Writable) -> Response:
    """Leave a column out of rules and states: of the whole fleet, or of the drives of a model."""
    _check_column(body.column)
    by = saying(request, service, body.note, body.until)
    with writable.writing() as connection:
        if body.model is not None:
            _check_model(connection, body.model)
        made = mute(connection, body.column, by.who, by.now_ns, model=body.model, until_ns=by.until_ns, note=by.note)
    return made_answer([made], None, _MUTED)


@router.delete(
    "/api/v1/drives/mute", operation_id="unmute_drives", summary="Look at an attribute of all drives again",
    response_model=ActionsAnswer,
)  # fmt: skip
def unmute_all(
    given: Annotated[FleetColumnParameters, Query()], request: Request, service: Parts, writable: Writable
) -> Response:
    """Take mutes of the fleet, or of a model, back. Mutes of single drives stay."""
    by = saying(request, service, "")
    about = "the whole fleet" if given.model is None else f"the model {given.model[:200]!r}"
    with writable.writing() as connection:
        said = [one for one in fleet_mutes(connection, by.now_ns) if one.model == given.model]
        ended = taken_back(connection, said, by, given.column, about, "muted")
    return ended_answer(ended, None, _MUTED)


@router.post(
    "/api/v1/drives/{drive:path}/mute", operation_id="mute_drive", summary="Do not look at an attribute of a drive",
    response_model=ActionsAnswer, status_code=201,
)  # fmt: skip
def mute_one(drive: DriveName, body: MutePost, request: Request, service: Parts, writable: Writable) -> Response:
    """Leave a column of one drive out of rules and states: a cable that is known, a counter that lies."""
    _check_column(body.column)
    by = saying(request, service, body.note, body.until)

    def keep(connection: sa.Connection, row: DriveRow) -> Sequence[DriveAction]:
        return [mute(connection, body.column, by.who, by.now_ns, drive_id=row.id, until_ns=by.until_ns, note=by.note)]

    return say_of_drive(writable, drive, keep, _MUTED)


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
    return take_back_of_drive(writable, drive, saying(request, service, ""), "mute", given.column, _MUTED)


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
