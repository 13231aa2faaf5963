"""Questions about drives, from text in a URL to a filter for the store, and cursors of lists sorted by a value.

A cursor is the place of the page's last drive: how the list is sorted, the value there and the drive's number. Drives
that come or go in between neither repeat nor hide others; one whose value changes may be met again, or missed.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

from analytics.ssd.verdicts import State
from api.drive_models import StateName
from api.errors import LimitError, ParameterError
from api.pagination import cursor_of, given_cursor
from api.params import PageParameters, split_items
from api.words import flag, if_given, one_of
from store.drive_list import DriveFilter, Place, Sort

_Text = Annotated[str, Field(max_length=1_000)]
STATES: tuple[StateName, ...] = get_args(StateName)
SORTS: tuple[Sort, ...] = get_args(Sort)
#: So many days and changes of state are shown of one drive at most.
MOST_DAYS = 400
MOST_CHANGES = 1_000
_NUMBER = re.compile(r"[0-9]{0,4}(?:\.[0-9]{0,20})?(?:[eE]-?[0-9]{1,3})?")
_SEPARATOR = "\x1f"


class DrivesParameters(PageParameters):
    """Which drives to list, and in which order."""

    state: _Text | None = Field(
        default=None, description="Only drives in one of these states, separated by commas.", examples=["replace,watch"]
    )
    model: _Text | None = Field(
        default=None, description="Only drives of exactly this model.", examples=["SSD 850 PRO"]
    )
    vendor: _Text | None = Field(default=None, description="Only drives of this vendor.", examples=["Samsung"])
    node: _Text | None = Field(default=None, description="Only drives in this host.", examples=["web-7"])
    rack: _Text | None = Field(default=None, description="Only drives in this rack.", examples=["r12"])
    firmware: _Text | None = Field(
        default=None, description="Only drives with exactly this firmware.", examples=["EXM02B6Q"]
    )
    min_probability: _Text | None = Field(
        default=None, description="Only drives that fail within 30 days with at least this probability.",
        examples=["0.1"],
    )  # fmt: skip
    serial: _Text | None = Field(
        default=None, description="Only drives with this text in their serial numbers, in any case.", examples=["S2R4"]
    )
    acknowledged: _Text | None = Field(
        default=None, description="Only drives of which something is acknowledged (true), or nothing (false).",
        examples=["false"],
    )  # fmt: skip
    synthetic: _Text | None = Field(
        default=None, description="Only drives that were made up (true), or only real ones (false).", examples=["false"]
    )
    sort: _Text = Field(
        default="state",
        description="state (worst first, among equals the most probable to fail), probability, wear, since or drive.",
        examples=["probability"],
    )
    order: _Text | None = Field(
        default=None, description="desc or asc; without it desc, for drive asc. Unknown values are always last."
    )
    format: _Text | None = Field(
        default=None, description="json or csv; without it the Accept header decides.", examples=["csv"]
    )


class DriveParameters(BaseModel):
    """How much of one drive to show."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(default=30, description=f"Days of what it said of itself, 0 to {MOST_DAYS}.", examples=[30])
    changes: int = Field(default=50, description=f"Changes of state and actions, 0 to {MOST_CHANGES:,}.", examples=[50])


@dataclass(frozen=True, slots=True)
class DriveQuestion:
    """A checked question for a list."""

    where: DriveFilter
    sort: Sort
    descending: bool
    after: Place | None


def read_drives(given: DrivesParameters) -> DriveQuestion:
    """The question that the parameters ask.

    Raises:
        ParameterError: says which parameter, what was seen and what is accepted.
    """
    sort = one_of(given.sort, SORTS, "sort")
    order = if_given(given.order, ("asc", "desc"), "order")
    descending = (sort != "drive") if order is None else order == "desc"
    states = [] if given.state is None else split_items([given.state], "state")
    for state in states:
        one_of(state, STATES, "state")
    where = DriveFilter(
        states=[int(State[state.upper()]) for state in states],
        model=given.model,
        vendor=given.vendor,
        node=given.node,
        rack=given.rack,
        firmware=given.firmware,
        min_probability=_probability(given.min_probability),
        text=given.serial or "",
        acknowledged=flag(given.acknowledged, "acknowledged"),
        synthetic=flag(given.synthetic, "synthetic"),
    )
    return DriveQuestion(where, sort, descending, _place(given, sort))


def check_shown(given: DriveParameters) -> None:
    """Return when so much may be shown.

    Raises:
        LimitError: more than is kept, or less than nothing.
    """
    for name, value, most in (("days", given.days, MOST_DAYS), ("changes", given.changes, MOST_CHANGES)):
        if not 0 <= value <= most:
            raise LimitError(
                f"{name}={str(value)[:60]} is not between 0 and {most}; ask for less", parameter=name, limit=most
            )


def place_cursor(place: Place | None, sort: Sort) -> str | None:
    """The cursor of the page after this place."""
    if place is None:
        return None
    value = "" if place.value is None else repr(place.value) if isinstance(place.value, float) else str(place.value)
    kind = "n" if place.value is None else "v"
    return cursor_of(_SEPARATOR.join((sort, str(place.drive_id), kind, value)))


def _place(given: DrivesParameters, sort: Sort) -> Place | None:
    text = given_cursor(given)
    if text is None:
        return None
    parts = text.split(_SEPARATOR, 3)
    if len(parts) == 4 and parts[0] in SORTS and parts[0] != sort:
        raise ParameterError(
            f"cursor is of a list sorted by {parts[0]}, not by {sort}; give the same parameters for every page",
            parameter="cursor",
        )
    if len(parts) != 4 or parts[0] != sort or not re.fullmatch(r"[0-9]{1,18}", parts[1], re.ASCII):
        raise _no_cursor()
    return Place(_place_value(sort, parts[2], parts[3]), int(parts[1]))


def _place_value(sort: Sort, kind: str, text: str) -> float | int | str | None:
    if kind == "n" and not text and sort in ("probability", "wear"):
        return None
    if kind != "v" or "\x00" in text:
        raise _no_cursor()
    if sort == "drive":
        return text
    try:
        value = int(text) if sort == "since" else float(text)
    except ValueError as error:
        raise _no_cursor() from error
    if not math.isfinite(value) or abs(value) >= 2**63:
        raise _no_cursor()
    return value


def _no_cursor() -> ParameterError:
    return ParameterError(
        "cursor is not one that this API gave; take next_cursor of the page before, or leave it out",
        parameter="cursor",
    )


def _probability(text: str | None) -> float | None:
    if text is None:
        return None
    digits = re.search(r"[0-9]", text) is not None
    value = float(text) if digits and _NUMBER.fullmatch(text) else math.nan
    if not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else "; want a probability such as 0.1"
        raise ParameterError(f"min_probability={text[:60]!r} is no number in [0, 1]{hint}", parameter="min_probability")
    return value
