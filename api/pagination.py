"""Cursor pagination over lists kept in order of a unique name.

A cursor is the last name of the page before, so entries that come or go in between neither repeat nor hide others.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from api.config import ApiConfig
from api.errors import LimitError, ParameterError
from api.params import CURSOR_MAX, PageParameters

Entry = TypeVar("Entry")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


def page_of(
    entries: Sequence[Entry], name_of: Callable[[Entry], str], given: PageParameters, config: ApiConfig
) -> tuple[list[Entry], str | None]:
    """The entries after the cursor, and the next cursor (None on the last page).

    Args:
        entries: in ascending order of name_of, names unique.

    Raises:
        ParameterError, LimitError: a cursor that is none, or a limit outside 1 to config.max_page.
    """
    limit, after = given_limit(given, config), given_cursor(given)
    rest = [entry for entry in entries if after is None or name_of(entry) > after]
    n = limit
    while n < len(rest) and len(cursor_of(name_of(rest[n - 1]))) > CURSOR_MAX:
        n += 1  # a name too long for a cursor cannot end a page
    return list(rest[:n]), cursor_of(name_of(rest[n - 1])) if len(rest) > n else None


def given_limit(given: PageParameters, config: ApiConfig) -> int:
    """How many entries the page may have.

    Raises:
        LimitError: not between 1 and config.max_page.
    """
    if not 1 <= given.limit <= config.max_page:
        raise LimitError(
            f"limit={str(given.limit)[:60]} is not between 1 and {config.max_page}; ask for more pages instead",
            parameter="limit",
            limit=config.max_page,
        )
    return given.limit


def given_cursor(given: PageParameters) -> str | None:
    """The name after which the page begins; None for the first page.

    Raises:
        ParameterError: a cursor that is none.
    """
    if given.cursor is None:
        return None
    try:
        return base64.b64decode(given.cursor + "=" * (-len(given.cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise no_cursor() from error


def given_number(given: PageParameters) -> int | None:
    """As `given_cursor`, of lists whose names are numbers.

    Raises:
        ParameterError: a cursor that is none.
    """
    name = given_cursor(given)
    if name is not None and _NUMBER.fullmatch(name) is None:
        raise no_cursor()
    return None if name is None else int(name)


def cursor_of(name: str) -> str:
    """The cursor of the page after the one that ends with this name."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def no_cursor() -> ParameterError:
    """The cursor is not one of this list."""
    return ParameterError(
        "cursor is not one that this API gave; take next_cursor of the page before, or leave it out",
        parameter="cursor",
    )
