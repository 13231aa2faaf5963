"""The drive that a path names: by its serial number, or by the number that lists show.

The serial number goes first. Some are plain numbers, and an operator who types one off a label must not get the drive
that happens to have that number in this database.
"""

from typing import Annotated

import sqlalchemy as sa
from fastapi import Path
from starlette.requests import Request

from api.errors import UnknownNameError
from store.drives import DriveRow, drive_ids, one_drive
from store.errors import UnknownDriveError

DriveName = Annotated[
    str,
    Path(
        description="Its serial number as lists show it (or host:device), else its number.",
        max_length=1_000,
        examples=["S2R4NX0J512345"],
    ),
]


def drive_named(connection: sa.Connection, name: str) -> DriveRow:
    """The drive.

    Raises:
        UnknownNameError: there is none; names one whose serial number is alike.
    """
    if "\x00" in name:
        raise _unknown(name, None)
    known = drive_ids(connection, [name])
    try:
        return one_drive(connection, known.get(name, name))
    except UnknownDriveError as error:
        raise _unknown(name, error.nearest) from error


def who_asks(request: Request) -> str:
    """The name of the API key; with keys off, where the request comes from."""
    key: str = request.scope.get("tailwatch.key", "")
    client = request.client
    return key or f"somebody at {client.host if client else 'this machine'}"[:256]


def _unknown(name: str, nearest: str | None) -> UnknownNameError:
    hint = (
        f"did you mean {nearest!r}?" if nearest else "GET /api/v1/drives?serial=TEXT finds drives by a part of theirs"
    )
    return UnknownNameError(f"unknown drive {name[:200]!r}; {hint}", parameter="drive", nearest=nearest)
