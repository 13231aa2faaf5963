"""What operators say of drives, on its way in and out: who says it, until when, with which note; and the answers.

Routes differ in what is said of which drives; all that they have in common is here, so that an acknowledgement and a
mute cannot come to differ in what they accept or how they answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from api.drive_answers import action_entry
from api.drive_lookup import drive_named, who_asks
from api.errors import ParameterError, UnknownNameError
from api.responses import JSON, live_answer
from api.service import Service
from api.times import SECOND_NS, parse_time
from api.writing import WritableDatabase
from store.drive_actions import DriveAction, Kind, actions_of, take_back
from store.drives import DriveRow

_DONE: dict[Kind, str] = {"acknowledge": "acknowledged", "mute": "muted"}


@dataclass(frozen=True, slots=True)
class Saying:
    """Who says something, when, until when it is to hold (None: until it is taken back), and what they noted."""

    who: str
    now_ns: int
    until_ns: int | None
    note: str


def saying(request: Request, service: Service, note: str, until: str | None = None) -> Saying:
    """What of a body is alike whatever is said.

    Raises:
        ParameterError: a time that is none or has passed, or a note that no database keeps.
    """
    now_ns = service.now_ns()
    return Saying(who_asks(request), now_ns, _until(until, now_ns), _text(note, "note"))


def say_of_drive(
    writable: WritableDatabase,
    drive: str,
    keep: Callable[[sa.Connection, DriveRow], Sequence[DriveAction]],
    effect: str,
) -> Response:
    """Keep what is said of one drive, and answer with it."""
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        made = keep(connection, row)
    return made_answer(made, row, effect)


def take_back_of_drive(
    writable: WritableDatabase, drive: str, by: Saying, kind: Kind, what: str | None, effect: str
) -> Response:
    """End what holds of one drive, all of it or one cause or column, and answer with that.

    Raises:
        UnknownNameError: nothing of the kind holds.
    """
    with writable.writing() as connection:
        row = drive_named(connection, drive)
        said = [one for one in actions_of(connection, row.id) if one.kind == kind and one.holds(by.now_ns)]
        ended = taken_back(connection, said, by, what, f"drive {row.drive!r}", _DONE[kind])
    return ended_answer(ended, row, effect)


def taken_back(
    connection: sa.Connection, said: Sequence[DriveAction], by: Saying, what: str | None, about: str, done: str
) -> list[DriveAction]:
    """End those of these entries that are about `what` (None: all).

    Raises:
        UnknownNameError: there is none; names those there are.
    """
    chosen = [one for one in said if what in (None, one.cause)]
    if chosen:
        return [take_back(connection, one.id, by.who, by.now_ns) for one in chosen]
    there = ", ".join(dict.fromkeys(one.cause for one in said))[:300]
    seen = f"; what is: {there}" if there else ""
    where = "GET /api/v1/drives/mute lists all that is" if done == "muted" else "GET /api/v1/drives/SERIAL says what is"
    is_done = f"nothing is {done}" if what is None else f"{what[:100]!r} is not {done}"
    raise UnknownNameError(f"{is_done} of {about} now{seen or f'; {where}'}")


def made_answer(actions: Sequence[DriveAction], row: DriveRow | None, effect: str) -> Response:
    """201, with what was written down."""
    return Response(
        orjson.dumps(_content(actions, row, effect)), 201, headers={"Cache-Control": "no-store"}, media_type=JSON
    )


def ended_answer(actions: Sequence[DriveAction], row: DriveRow | None, effect: str) -> Response:
    """200, with what was taken back."""
    return live_answer(_content(actions, row, effect))


def _content(actions: Sequence[DriveAction], row: DriveRow | None, effect: str) -> dict[str, object]:
    entries = [action_entry(one, None if row is None else row.drive) for one in actions]
    return {"actions": entries, "takes_effect": effect}


def _until(text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    try:
        until_ns = parse_time(text, now_ns, "until")
    except ParameterError as error:
        raise ParameterError(
            f"until={text[:60]!r} is no time to come; write it as now+30d (units w d h m s), 2026-12-24T07:00:00Z, or "
            "Unix seconds",
            parameter="until",
        ) from error
    if until_ns <= now_ns:
        raise ParameterError(f"until={text[:60]!r} has passed; give a time to come, such as now+30d", parameter="until")
    return -(-until_ns // SECOND_NS) * SECOND_NS  # nobody means a part of a second


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
