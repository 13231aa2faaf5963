"""The shapes of questions that take long, what-ifs, searches and learnings, and of the runs that answer them.

Only the *Post models run: they are what bodies are checked against. A policy is checked by analytics, which names the
field that is wrong.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from analytics.tail.policies import Metric
from api.models import Model, Time, TimeNs
from store.tail_runs import Kind, State

_Text = Annotated[str, Field(max_length=1_000)]
_Stretch = Field(default="-6h", description="Requests that came at or after this time.", examples=["-6h"])
_Whole = Annotated[int, Field(strict=True)]
_Number = Annotated[float, Field(strict=True)]
_Threads = Annotated[int, Field(strict=True, ge=1, le=4_096)]


class _Post(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PredictorPost(_Post):
    """A predictor with modelled errors in place of what was predicted."""

    sigma: _Number = Field(default=0.25, ge=0, le=5, description="Of the logarithm of its ratio to the truth.")
    mistaken: _Number = Field(
        default=0.08, ge=0, le=1, description="Share of the longer requests that it takes for another one."
    )
    from_ms: _Number = Field(default=30.0, ge=0, le=86_400_000, description="From where on a request is longer.")


class StretchPost(_Post):
    """Which recorded requests to use."""

    start: _Text = _Stretch
    end: _Text = Field(default="now", description="Requests that came before this time.", examples=["now"])
    instance: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Only those that ran on this instance; without it those of all.", examples=["web-7"]
    )


class WhatIfPost(StretchPost):
    """What the tail would be otherwise: exactly one of `candidate` and `table_version` says how degrees are chosen."""

    candidate: dict[str, Any] | _Text | None = Field(
        default=None,
        description="A policy as a document, or in words such as fixed:3.",
        examples=[{"kind": "predictive", "degree": 3, "long_ms": 80}],
    )
    table_version: _Whole | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Of a target table of the service."
    )
    load_multiplier: _Number = Field(default=1.0, ge=0.01, le=100, description="Requests come so many times as often.")
    threads: _Threads | None = Field(default=None, description="Hardware threads instead of the service's.")
    workers: _Threads | None = Field(default=None, description="Worker threads instead of the service's.")
    max_degree: _Threads | None = Field(default=None, description="The most threads of one request instead.")
    predictor: PredictorPost | None = None
    fan_out: _Whole | None = Field(
        default=None, ge=1, le=100_000, description="Servers that one answer waits for; without it the objective's."
    )


class SearchPost(StretchPost):
    """A search for a table of targets that suits what was recorded."""

    metric: Metric = Field(default="threads_and_queue", description="What the table is read by.")
    width: _Number | None = Field(
        default=None, gt=0, le=1e6, description="Of a bucket; without it the metric's usual one."
    )
    p999_weight: _Number = Field(default=0.5, ge=0, le=100, description="Beside p99, which counts once.")
    mean_weight: _Number = Field(default=1.0, ge=0, le=100)
    mean_over_sequential: _Number = Field(
        default=1.08, ge=1, le=100, description="How much longer than on one thread each the mean may become."
    )
    note: str = Field(default="", max_length=1_000, description="Stands with the drafted table.")


class LearnPost(StretchPost):
    """Learning speed-ups anew from what was recorded."""

    class_edges_ms: list[_Number] | None = Field(
        default=None,
        max_length=15,
        description="Where the next class of predicted time begins; without it the objective's, or learned.",
        examples=[[15, 62]],
    )


class RunEntry(Model):
    """A question that takes long, and how far its answer is."""

    id: str = Field(examples=["5f0c2b7a11e94f3d"])
    service: str = Field(examples=["search"])
    kind: Kind
    state: State = Field(description="refused: it was worked on, and what was recorded does not bear an answer.")
    progress: float = Field(ge=0, le=1, examples=[0.4])
    progress_text: str = Field(description="What is done now, as far as is known; empty before and after.")
    asked: Time
    asked_ns: TimeNs
    asked_by: str = Field(examples=["ana"])
    started: Time | None
    started_ns: int | None
    ended: Time | None
    ended_ns: int | None
    held_until: Time | None = Field(
        description="While it is worked on, a time that moves on with each step. One that does not: whoever worked on "
        "it died or hangs, and another collector begins it anew then."
    )
    held_until_ns: int | None
    error: str | None = Field(description="Why there is no answer, in words.")
    request: dict[str, Any] = Field(description="What was asked, with times and what was left out filled in.")
    href: str = Field(examples=["/api/v1/services/search/runs/5f0c2b7a11e94f3d"])


class RunAsked(RunEntry):
    """The run that answers a question."""

    new: bool = Field(description="False: an equal question waits or is being worked on, and this is its run.")
    notes: list[str] = Field(description="What to know before waiting for it.")


class RunDetail(RunEntry):
    """A run with its answer."""

    answer: dict[str, Any] | None = Field(
        description="Null until it is done; of a refused one, how far it came. What is in it hangs on the kind."
    )
    notes: list[str] = Field(description="What to know of the answer.")


class RunsPage(Model):
    """One page of a service's runs."""

    runs: list[RunEntry] = Field(description="The newest first.")
    next_cursor: str | None
