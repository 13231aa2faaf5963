"""Questions about services' tails, from text in a URL to stretches of whole minutes, levels and filters."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from api.config import ApiConfig
from api.errors import ParameterError
from api.pagination import cursor_of, given_cursor, no_cursor
from api.params import PageParameters, check_steps, read_levels, read_stretch, split_items
from api.times import SECOND_NS, parse_duration
from store.tail_runs import Kind, State

_Text = Annotated[str, Field(max_length=1_000)]
AlertSeverity = Literal["page", "ticket", "info"]
RUN_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
RUN_STATES: Final[tuple[State, ...]] = get_args(State)
SEVERITIES: Final[tuple[AlertSeverity, ...]] = get_args(AlertSeverity)
MINUTE_NS: Final = 60 * SECOND_NS
DEFAULT_TAIL_LEVELS: Final = "0.5,0.9,0.95,0.99,0.999"
#: Of the slow requests that one answer lists.
MOST_SLOWEST: Final = 1_000
#: The longest stretch that minutes are added up over: as long as they are kept, and some.
_LONGEST_NS: Final = 62 * 86_400 * SECOND_NS
_PLACE: Final = re.compile(r"([0-9]{1,19})\x1f([0-9A-Za-z_-]{1,64})", re.ASCII)
_LATEST_NS: Final = 2**63 - 1
_START = Field(default="-1h", description="Requests that came at or after this time.", examples=["-1h"])
_END = Field(default="now", description="Requests that came before this time.", examples=["now"])


class TailParameters(BaseModel):
    """Which stretch of a service's tail to show, and how it is cut."""

    model_config = ConfigDict(extra="forbid")

    start: _Text = Field(default="-1h", description="Begin, aligned down to a whole minute.", examples=["-24h"])
    end: _Text = Field(default="now", description="End, exclusive, aligned up to a whole minute.", examples=["now"])
    step: _Text | None = Field(
        default=None,
        description="Length of one answer's window, rounded up to whole minutes; without it all is one.",
        examples=["10m"],
    )
    by: list[_Text] = Field(
        default=[], description="load: one group for each level of the hardware's load.", examples=[["load"]]
    )
    q: list[_Text] = Field(
        default=[DEFAULT_TAIL_LEVELS],
        description="Quantile levels in [0, 1], separated by commas or repeated; p99 is 0.99.",
        examples=[["0.5,0.99,0.999"]],
    )


class CausesParameters(BaseModel):
    """Which slow requests are to be explained."""

    model_config = ConfigDict(extra="forbid")

    start: _Text = _START
    end: _Text = _END
    slowest: _Text = Field(
        default="20", description=f"So many of the slowest requests are listed, 0 to {MOST_SLOWEST:,}.", examples=["20"]
    )


class ProfileParameters(BaseModel):
    """Which of the learned speed-ups to show."""

    model_config = ConfigDict(extra="forbid")

    version: _Text | None = Field(
        default=None, description="Of the profile; without it the one in use.", examples=["3"]
    )


class RunsParameters(PageParameters):
    """Which runs to list."""

    kind: _Text | None = Field(default=None, description="Only what_if, search or learn.", examples=["what_if"])
    state: _Text | None = Field(
        default=None, description="Only waiting, running, done, refused, failed or cancelled ones.", examples=["done"]
    )


class RunPostParameters(BaseModel):
    """Whether an equal run may answer."""

    model_config = ConfigDict(extra="forbid")

    fresh: _Text | None = Field(
        default=None,
        description="true: a run of its own, even where an equal one waits or is being worked on.",
        examples=["true"],
    )


class ServiceAlertsParameters(PageParameters):
    """Which alerts of one service to list."""

    firing: _Text | None = Field(
        default=None, description="Only those that fire (true), or only the others (false).", examples=["true"]
    )
    severity: _Text | None = Field(default=None, description="Only page, ticket or info.", examples=["page"])


class FleetAlertsParameters(ServiceAlertsParameters):
    """Which alerts of all services to list."""

    service: _Text | None = Field(default=None, description="Only those of this service.", examples=["search"])


class AlertHistoryParameters(PageParameters):
    """Which changes of alerts to list."""

    start: _Text = Field(default="-7d", description="Changes at or after this time.", examples=["-24h"])
    end: _Text = Field(default="now", description="Changes before this time.", examples=["now"])


@dataclass(frozen=True, slots=True)
class TailQuestion:
    """A checked question for a tail; times are multiples of a minute, step_ns None: all is one window."""

    start_ns: int
    end_ns: int
    step_ns: int | None
    by_load: bool
    levels: tuple[float, ...]


def read_tail(given: TailParameters, config: ApiConfig, now_ns: int) -> TailQuestion:
    """The question that the parameters ask.

    Raises:
        ParameterError, LimitError: it cannot be asked; says which parameter, and what is accepted.
    """
    start_ns, end_ns = read_minutes_stretch(given.start, given.end, now_ns)
    items = split_items(given.by, "by")
    if items not in ([], ["load"]):
        raise ParameterError(
            f"by={','.join(items)[:60]} cannot be grouped by; want by=load, or nothing", parameter="by"
        )
    step_ns = None
    if given.step is not None:
        step_ns = -(-parse_duration(given.step, "step") // MINUTE_NS) * MINUTE_NS
        check_steps(start_ns, end_ns, step_ns, config)
    return TailQuestion(start_ns, end_ns, step_ns, bool(items), tuple(read_levels(given.q, config)))


def read_minutes_stretch(start: str, end: str, now_ns: int) -> tuple[int, int]:
    """(start, end) in ns UTC, outwards to whole minutes.

    Raises:
        ParameterError: unreadable, the wrong way round, or longer than minutes are ever kept.
    """
    start_ns, end_ns = read_stretch(start, end, now_ns)
    start_ns, end_ns = start_ns // MINUTE_NS * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS
    if end_ns - start_ns > _LONGEST_NS:
        days = (end_ns - start_ns) / (86_400 * SECOND_NS)
        raise ParameterError(
            f"start={start[:60]} and end={end[:60]} are {days:,.0f} days apart; want at most "
            f"{_LONGEST_NS // (86_400 * SECOND_NS)} days",
            parameter="start",
        )
    return start_ns, end_ns


def place_cursor(time_ns: int, name: str) -> str:
    """The cursor of the page after an entry that is listed by time and then by name."""
    return cursor_of(f"{time_ns}\x1f{name}")


def given_place(given: PageParameters) -> tuple[int, str] | None:
    """(time in ns, name) after which the page begins; None for the first page.

    Raises:
        ParameterError: a cursor that is none.
    """
    text = given_cursor(given)
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    if found is None or int(found[1]) > _LATEST_NS:
        raise no_cursor()
    return int(found[1]), found[2]
