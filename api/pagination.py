"""Cursor pagination over lists kept in order of a unique name.

A cursor is the last name of the page before, so entries that come or go in between neither repeat nor hide others.
"""

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar

from api.config import ApiConfig
from api.errors import LimitError, ParameterError
from api.params import CURSOR_MAX, PageParameters

Entry = TypeVar("Entry")


def page_of(
    entries: Sequence[Entry], name_of: Callable[[Entry], str], given: PageParameters, config: ApiConfig
) -> tuple[list[Entry], str | None]:
    """The entries after the cursor, and the next cursor (None on the last page).

    Args:
        entries: in ascending order of name_of, names unique.

    Raises:
        ParameterError, LimitError: a cursor that is none, or a limit outside 1 to config.max_page.
    """
    if not 1 <= given.limit <= config.max_page:
        raise LimitError(
            f"limit={given.limit} is not between 1 and {config.max_page}; ask for more pages instead",
            parameter="limit",
            limit=config.max_page,
        )
    after = None if given.cursor is None else _decode(given.cursor)
    rest = [entry for entry in entries if after is None or name_of(entry) > after]
    n = given.limit
    while n < len(rest) and len(_encode(name_of(rest[n - 1]))) > CURSOR_MAX:
        n += 1  # a name too long for a cursor cannot end a page
    return list(rest[:n]), _encode(name_of(rest[n - 1])) if len(rest) > n else None


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise ParameterError(
            "cursor is not one that this API gave; take next_cursor of the page before, or leave it out",
            parameter="cursor",
        ) from error
