"""Why a database refused: SQLite's and PostgreSQL's errors sorted into the same few reasons.

PostgreSQL's come with a five-character code, of which the first two name the class; what never reached the server, and
everything of SQLite, is known by its text only.
"""

from typing import Literal

import sqlalchemy as sa

Reason = Literal["stopping", "locked", "busy", "disk", "schema", "damaged", "unreachable", "other"]

_CODES: dict[str, Reason] = {
    "57014": "stopping",  # a statement was cancelled, or took too long
    "55P03": "locked",
    "40P01": "locked",
    "53300": "busy",
    "53100": "disk",
    "53200": "busy",  # out of memory
    "42P01": "schema",
    "42703": "schema",
    "25006": "unreachable",  # read only: a standby, or a primary that has been demoted
}
_CLASSES: dict[str, Reason] = {
    "08": "unreachable",
    "28": "unreachable",
    "3D": "unreachable",
    "57": "unreachable",  # the server is shutting down, starting, or has crashed
    "40": "locked",
    "53": "busy",
    "58": "disk",
    "XX": "damaged",
}
# Part of the driver's text (lower case) -> reason. The first that fits wins.
_TEXTS: tuple[tuple[str, Reason], ...] = (
    ("interrupted", "stopping"),
    ("locked", "locked"),
    ("queuepool limit", "busy"),
    ("too many clients", "busy"),
    ("too many connections", "busy"),
    ("disk is full", "disk"),
    ("no space left", "disk"),
    ("no such table", "schema"),
    ("no such column", "schema"),
    ("malformed", "damaged"),
    ("not a database", "damaged"),
    ("disk i/o error", "disk"),
    ("unable to open", "unreachable"),
    ("readonly database", "unreachable"),
    ("connection", "unreachable"),
    ("could not translate", "unreachable"),
    ("failed to resolve", "unreachable"),
)
_PASSING: frozenset[Reason] = frozenset({"stopping", "locked", "busy", "disk", "unreachable"})


def reason_of(error: sa.exc.SQLAlchemyError) -> Reason:
    """Why the database refused."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlstate", None)
    if code:
        return _CODES.get(code) or _CLASSES.get(code[:2], "other")
    text = str(original).lower()
    return next((reason for part, reason in _TEXTS if part in text), "other")


def may_pass(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether the same statement may succeed later: the database's state is the reason, not what was said to it."""
    if reason_of(error) in _PASSING or getattr(error, "connection_invalidated", False):
        return True
    # With a code, the reason is known: of what PostgreSQL calls operational, some comes from what was said to it.
    known = getattr(getattr(error, "orig", None), "sqlstate", None) is not None
    return not known and isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError)


def in_short(error: Exception) -> str:
    """The database's own words in one line, without the statement and its parameters."""
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
