"""Questions about GPU jobs, from text in a URL to a filter for the store or to what is known of an uploaded log."""

import re
from dataclasses import dataclass
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

from api.errors import ParameterError
from api.gpu_models import Category, LogSource
from api.pagination import cursor_of, given_cursor
from api.params import PageParameters, read_stretch, split_items
from api.times import parse_time
from api.words import flag, if_given, whole
from store.gpu_failures import FailureFilter, FailurePlace, Status

_Text = Annotated[str, Field(max_length=1_000)]
CATEGORIES: tuple[Category, ...] = get_args(Category)
SOURCES: tuple[LogSource, ...] = get_args(LogSource)
STATUSES: tuple[Status, ...] = get_args(Status)
_PLACE = re.compile(r"([0-9]{1,19})\x1f([0-9]{1,18})", re.ASCII)
_LATEST_NS = 2**63 - 1
_JOB = Field(default=None, description="The scheduler's name of the job.", examples=["train-4711"])
_NUMBER = Field(default=None, description="Of the attempt, from 1; without it the last one.", examples=["2"])


class FailuresParameters(PageParameters):
    """Which failures to list."""

    job: _Text | None = Field(default=None, description="Only those of this job.", examples=["train-4711"])
    reason: _Text | None = Field(default=None, description="Only those with this reason.", examples=["nccl_timeout"])
    category: _Text | None = Field(
        default=None, description="Only infrastructure, ai_engine or user.", examples=["infrastructure"]
    )
    user: _Text | None = Field(default=None, description="Only those of this user's jobs.", examples=["ana"])
    node: _Text | None = Field(default=None, description="Only those whose root stands on this node.")
    status: _Text | None = Field(
        default=None, description="Only answered ones, or those without a cause (abstained).", examples=["abstained"]
    )
    synthetic: _Text | None = Field(
        default=None, description="Only those that were made up (true), or only real ones (false).", examples=["false"]
    )
    start: _Text = Field(default="-7d", description="They failed at or after this time.", examples=["-24h"])
    end: _Text = Field(default="now", description="They failed before this time.", examples=["now"])
    format: _Text | None = Field(
        default=None, description="json or csv; without it the Accept header decides.", examples=["csv"]
    )


class SummaryParameters(BaseModel):
    """Which stretch of time to sum up."""

    model_config = ConfigDict(extra="forbid")

    start: _Text = Field(default="-7d", description="Failures at or after this time.", examples=["-24h"])
    end: _Text = Field(default="now", description="Failures before this time.", examples=["now"])


class NodesParameters(PageParameters):
    """Which nodes to list."""

    stands_out: _Text | None = Field(
        default=None, description="Only those that stand out (true), or only the others (false).", examples=["true"]
    )
    format: _Text | None = Field(
        default=None, description="json or csv; without it the Accept header decides.", examples=["csv"]
    )


class AdviceParameters(BaseModel):
    """Which attempt advice is wanted about."""

    model_config = ConfigDict(extra="forbid")

    job: _Text = Field(description="The scheduler's name of the job.", examples=["train-4711"])
    number: _Text | None = Field(
        default=None, description="Of the attempt, from 1; without it the last one.", examples=["2"]
    )
    fresh: _Text | None = Field(
        default=None, description="true: computed now, whatever was advised before.", examples=["true"]
    )


class ClassifyParameters(BaseModel):
    """Whose logs come, and what is known of them."""

    model_config = ConfigDict(extra="forbid")

    job: _Text | None = _JOB
    number: _Text | None = _NUMBER
    keep: _Text | None = Field(
        default=None, description="true: what is found shows in the lists; needs a job, and the scope ingest."
    )
    name: _Text | None = Field(default=None, description="What to call the log in the answer.", examples=["rank0.log"])
    node: _Text | None = Field(default=None, description="Which node the log comes from.", examples=["gpu-17"])
    rank: _Text | None = Field(default=None, description="Of the process that wrote it.", examples=["0"])
    source: _Text | None = Field(
        default=None, description="stdout, stderr, kernel, scheduler or events; without it each line tells.",
        examples=["kernel"],
    )  # fmt: skip
    nodes: _Text | None = Field(default=None, description="All nodes of the job, separated by commas.")
    start: _Text | None = Field(default=None, description="When the job began.", examples=["2026-11-22T07:00:00Z"])
    end: _Text | None = Field(default=None, description="When it ended.")
    exit_code: _Text | None = Field(
        default=None,
        description="What it exited with. 0 says that it did not fail, whatever its logs say.",
    )
    signal: _Text | None = Field(default=None, description="Number of the signal that ended it.", examples=["9"])


@dataclass(frozen=True, slots=True)
class FailuresQuestion:
    """A checked question for a list."""

    where: FailureFilter
    after: FailurePlace | None


@dataclass(frozen=True, slots=True)
class Known:
    """What a caller knows of a job; None and no nodes: nothing is said."""

    nodes: tuple[str, ...] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    exit_code: int | None = None
    signal: int | None = None

    @property
    def failed(self) -> bool | None:
        """Whether it failed, by exit code and signal."""
        if self.exit_code is None and self.signal is None:
            return None
        return bool(self.exit_code) or bool(self.signal)


def read_failures(given: FailuresParameters, now_ns: int) -> FailuresQuestion:
    """The question that the parameters ask.

    Raises:
        ParameterError: says which parameter, what was seen and what is accepted.
    """
    start_ns, end_ns = read_stretch(given.start, given.end, now_ns)
    where = FailureFilter(
        job=given.job,
        reason=given.reason,
        category=if_given(given.category, CATEGORIES, "category"),
        user=given.user,
        node=given.node,
        status=if_given(given.status, STATUSES, "status"),
        start_ns=start_ns,
        end_ns=end_ns,
        synthetic=flag(given.synthetic, "synthetic"),
    )
    return FailuresQuestion(where, _place(given))


def place_cursor(place: FailurePlace | None) -> str | None:
    """The cursor of the page after this place."""
    return None if place is None else cursor_of(f"{place.failed_ns}\x1f{place.id}")


def read_known(given: ClassifyParameters, now_ns: int) -> Known:
    """What the parameters say of the job.

    Raises:
        ParameterError: one of them cannot be read.
    """
    return Known(
        nodes=() if given.nodes is None else tuple(split_items([given.nodes], "nodes")),
        start_ns=None if given.start is None else parse_time(given.start, now_ns, "start"),
        end_ns=None if given.end is None else parse_time(given.end, now_ns, "end"),
        exit_code=whole(given.exit_code, "exit_code", -(2**31), 2**31 - 1),
        signal=whole(given.signal, "signal", 0, 255),
    )


def _place(given: PageParameters) -> FailurePlace | None:
    text = given_cursor(given)
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    if found is None or int(found[1]) > _LATEST_NS:
        raise ParameterError(
            "cursor is not one that this API gave; take next_cursor of the page before, or leave it out",
            parameter="cursor",
        )
    return FailurePlace(int(found[1]), int(found[2]))
