"""The answers' shapes as pydantic models: what OpenAPI shows and what the tests hold every answer against.

They describe; they do not run. Answers are built as plain dicts and written by orjson, because validating and
re-encoding 20,000 groups costs more than merging them. Numbers may be null (no value, NaN) or, where the data holds
infinities, the strings "Infinity" and "-Infinity": JSON has no word for either.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[
    int | float | Literal["Infinity", "-Infinity"] | None,
    Field(description='A number; null when there is none (or NaN), "Infinity" or "-Infinity" when it is not finite.'),
]
_Time = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-22T07:00:10Z"])]
_TimeNs = Annotated[int, Field(description="Nanoseconds since 1970, UTC.", examples=[1795330810000000000])]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CoverageModel(_Model):
    """How complete the answer is."""

    ratio: float = Field(description="Share of the expected data that is in the answer; 1 is all.", examples=[1.0])
    agents_reported: int = Field(description="Agents whose data for the range has arrived.")
    agents_expected: int = Field(description="Agents seen in the last 24 h and not retired.")
    records_known: int = Field(description="Records that agents say they took in.")
    records_merged: int = Field(description="Of those, the ones in the answer or filtered out by the query.")
    interrupted: bool = Field(description="An agent ended uncleanly in the range; some of its records may be missing.")


class QuantileValue(_Model):
    """One quantile."""

    q: float = Field(description="The level, as asked.", examples=[0.99])
    value: Number


class _Group(_Model):
    labels: dict[str, str] = Field(description="Values of the labels in `by`.", examples=[{"src_tor": "7"}])
    start: _Time
    end: _Time
    start_ns: _TimeNs
    end_ns: _TimeNs


class QuantileGroup(_Group):
    """The distribution of one group in one window."""

    values: list[QuantileValue]
    error_bound: float = Field(
        description="Each value is within this relative distance of the exact quantile.", examples=[0.005415]
    )
    count: int = Field(description="Values in the window, NaN not counted.")
    nan_count: int = Field(description="NaN among the values; they have no rank and are counted apart.")
    min: Number
    max: Number
    mean: Number
    coverage: CoverageModel


class BelowLimit(_Model):
    """How many values lie at or below a limit. The exact count and fraction lie between low and high."""

    below: float = Field(description="The limit, as asked.", examples=[200.0])
    count: int = Field(description="Values at or below it, exact for a limit within `error_bound` of it.")
    count_low: int = Field(description="So many are certainly at or below it.")
    count_high: int = Field(description="Not more than so many are.")
    fraction: float | None = Field(description="count / all values of the group; null when it has none.")
    fraction_low: float | None
    fraction_high: float | None


class DistributionGroup(_Group):
    """All values of one group in one window, by bucket."""

    buckets: list[tuple[Number, Number, int]] = Field(
        description="[low end, high end, count] of each bucket that holds anything, ascending. Above zero a bucket "
        "holds low < x <= high, below zero low <= x < high; [0, 0, n] counts zeros.",
        examples=[[[90.50966799187809, 92.0, 12], [1.7976931348623157e308, "Infinity", 1]]],
    )
    below: list[BelowLimit] = Field(description="One entry per limit in `below`, in that order.")
    error_bound: float = Field(
        description="Relative distance of a bucket's middle, at the metric's own scale, from any value in it.",
        examples=[0.005415],
    )
    count: int = Field(description="Values in the window, NaN not counted: the sum over all buckets.")
    nan_count: int
    min: Number
    max: Number
    mean: Number
    coverage: CoverageModel


class ValueGroup(_Group):
    """One aggregate of one group in one window."""

    value: Number
    count: int | None = Field(description="How many values an avg is the mean of; null for other aggregates.")
    coverage: CoverageModel


class _Answer(_Model):
    metric: str = Field(examples=["hiccup_us"])
    query: str = Field(description="The query that produces the metric.", examples=["hiccups"])
    function: Literal["sketch", "count", "sum", "min", "max", "avg"]
    unit: str = Field(description="Unit of the values, named by the metric's suffix.", examples=["us"])
    by: list[str]
    start: _Time
    end: _Time
    start_ns: _TimeNs
    end_ns: _TimeNs
    window_ns: int = Field(description="The metric's own window: start and end are whole multiples of it.")
    step_ns: int | None = Field(description="The step answered with: as asked, rounded up to whole windows.")
    coverage: CoverageModel


class QuantilesAnswer(_Answer):
    """Quantiles of merged sketches, by group and step."""

    rule: Literal["nearest-rank"] = Field(description="The value at rank max(1, ceil(q * count)).")
    groups: list[QuantileGroup]


class DistributionAnswer(_Answer):
    """Buckets of merged sketches, by group and step."""

    scale: int = Field(description="Bins per octave of these buckets are 2**scale, in all groups.", examples=[6])
    groups: list[DistributionGroup]


class ValuesAnswer(_Answer):
    """Merged counts, sums, minima, maxima or averages, by group and step."""

    groups: list[ValueGroup]


class MetricEntry(_Model):
    """A metric that can be asked for."""

    name: str = Field(examples=["hiccup_us"])
    query: str = Field(examples=["hiccups"])
    function: Literal["sketch", "count", "sum", "min", "max", "avg"]
    unit: str = Field(examples=["us"])
    labels: list[str] = Field(description="What `by` and `where` can name.", examples=[["host"]])
    window_ns: int = Field(examples=[10000000000])
    scale: int | None = Field(description="Bins per octave are 2**scale; null unless function is sketch.", examples=[6])
    href: str = Field(description="Where to ask for it.", examples=["/api/v1/quantiles?metric=hiccup_us"])


class MetricsPage(_Model):
    """One page of metrics, by name."""

    metrics: list[MetricEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class AgentEntry(_Model):
    """An agent as its last heartbeat showed it."""

    agent: str = Field(examples=["rack7-host12"])
    host: str
    shared_by: list[str] = Field(
        description="Hosts that use this agent id at once, where there are two; give one of them another agent.id."
    )
    state: Literal["alive", "silent", "retired"]
    first_seen: _Time
    last_seen: _Time
    last_seen_ns: _TimeNs
    silent_s: float = Field(description="Seconds since the last heartbeat arrived.")
    incarnation: str = Field(description="Random name of the agent's current run.")
    started: _Time
    clock_ahead_s: float | None = Field(
        description="How far the agent's clock is ahead of its collector's, at least; negative: behind by at most "
        "that. Heartbeats take time, so a right clock shows a little below 0. Null: not known.",
        examples=[-0.12],
    )
    lag_s: float | None = Field(
        description="How long ago the event time is up to which all of its live records are in the database: a few "
        "seconds where all is well. Null: it has no live query.",
        examples=[4.2],
    )
    spool_oldest_age_s: int | None = Field(
        description="Age of the oldest frame that waits in its spool, as of the last heartbeat; null: it does not say."
    )
    counters: dict[str, int] = Field(description="The agent's own counters, since its start.")


class AgentQueryEntry(_Model):
    """How far an agent's records of one query have come."""

    query: str = Field(examples=["hiccups"])
    version: str = Field(description="Content hash of the version that it computes.", examples=["8d5f0c2b7a11e94f"])
    live: bool = Field(description="False for replays, whose event time is not the clock's.")
    first: _Time
    first_ns: int
    watermark: _Time = Field(description="All of its records from `first` up to here are in the database.")
    watermark_ns: int
    lag_s: float | None = Field(description="How long ago that was; null for replays.")


class AgentDetail(AgentEntry):
    """One agent and its queries."""

    machine_id: str
    queries: list[AgentQueryEntry] = Field(description="What its newest heartbeat speaks of, by query.")


class AgentsPage(_Model):
    """One page of agents, by name."""

    agents: list[AgentEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class SeriesRowModel(_Model):
    """One label set, and the newest window in which it has data."""

    labels: dict[str, str] = Field(examples=[{"host": "web-7"}])
    start: _Time
    end: _Time
    start_ns: _TimeNs
    end_ns: _TimeNs


class SeriesPage(_Model):
    """One page of a metric's series, in the order in which they were first stored."""

    metric: str
    series: list[SeriesRowModel]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class LabelEntry(_Model):
    """A label of some series."""

    label: str = Field(examples=["request_id"])
    values: int = Field(description="How many distinct values it has.", examples=[99_871])


class LabelsPage(_Model):
    """One page of labels, by name."""

    labels: list[LabelEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class LabelValuesPage(_Model):
    """One page of a label's values."""

    label: str
    values: list[str]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class RefusedAgentEntry(_Model):
    """What an agent was refused because its query had no room for new series."""

    agent: str = Field(examples=["rack7-host12"])
    records: int = Field(description="Records left out, since the database was made.")
    groups: int = Field(description="Groups left out: one per window, label set and frame.")
    last_refused: _Time
    last_refused_ns: _TimeNs
    example: dict[str, str] = Field(
        description="Labels of one of the groups last left out; values are cut after 200 characters.",
        examples=[{"request_id": "8f14e45f", "route": "/pay"}],
    )


class CardinalityEntry(_Model):
    """A query's series beside its limit."""

    query: str = Field(examples=["requests"])
    series: int = Field(description="Series it has: label sets ever stored.", examples=[100_000])
    series_max: int | None = Field(
        description="collector.series_max as the collector that started last applies it; null when none has said so."
    )
    labels: list[LabelEntry] = Field(description="Its labels, the one with the most values first.")
    refused_records: int = Field(description="Records left out, since the database was made; coverage misses them.")
    refused_groups: int
    last_refused: _Time | None = Field(description="When something was left out last; null: never.")
    last_refused_ns: int | None
    refused_agents: list[RefusedAgentEntry] = Field(description="The ten agents with the most refused records.")


class CardinalityPage(_Model):
    """One page of queries, by name."""

    queries: list[CardinalityEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class DeadLetterEntry(_Model):
    """A frame that can never be used."""

    agent: str | None = Field(description="Whose it is; null where the frame is damaged, or none at all.")
    reason: str
    received: _Time
    received_ns: _TimeNs
    topic: str
    partition: int
    offset: int = Field(description="Where it stands in the transport.")
    bytes: int = Field(description="Size of the whole frame.")
    first_bytes: str = Field(description="Base64 of its first 1,024 bytes.")


class QuarantineEntry(DeadLetterEntry):
    """A frame that waits until the collectors know its version of a query."""

    query_version: str = Field(description="The version that it waits for; wire:N for a newer wire format.")


class DeadLettersPage(_Model):
    """One page of dead letters, newest first."""

    dead_letters: list[DeadLetterEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class QuarantinePage(_Model):
    """One page of quarantined frames, newest first."""

    quarantine: list[QuarantineEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class KeptReasonEntry(_Model):
    """Frames that were kept for the same reason."""

    reason: str = Field(description="Its numbers are written as #.")
    frames: int
    bytes: int
    first: _Time
    first_ns: _TimeNs
    last: _Time
    last_ns: _TimeNs


class KeptReasonsAnswer(_Model):
    """How many frames are kept, and for which reasons."""

    frames: int = Field(description="Frames kept, of all reasons.")
    bytes: int
    reasons: list[KeptReasonEntry] = Field(description="The hundred reasons with the most frames, most first.")


class AgentCounts(_Model):
    """Agents by state."""

    alive: int
    silent: int
    retired: int


class SpoolState(_Model):
    """The oldest frame that waits at an agent, over all agents alive, as their last heartbeats said."""

    oldest_age_s: int | None = Field(description="Its age; null when no agent alive says so.")
    agent: str | None = Field(description="The agent where it waits.")


class CollectorEntry(_Model):
    """A collector by the partitions that it claimed last."""

    collector: str
    partitions: int
    last_flush: _Time | None = Field(description="When it last wrote anything, by its clock; null: not yet.")
    last_flush_s: float | None = Field(description="Seconds since then. Partitions without agents are not written.")


class SchemaState(_Model):
    """Whether the database has the tables of this release."""

    ok: bool
    detail: str


class StatusAnswer(_Model):
    """The pipeline at a glance."""

    time: _Time
    time_ns: _TimeNs
    version: str = Field(description="Release of this API.", examples=["0.1.0"])
    database_schema: SchemaState
    agents: AgentCounts
    spool: SpoolState
    collectors: list[CollectorEntry] = Field(
        description="By name; a dead one keeps partitions until another claims them."
    )
    totals: dict[str, int] = Field(
        description="Cumulative since the database was made: frames, bytes, records, groups, duplicates, windows, …",
        examples=[{"frames": 120, "bytes": 81234, "records": 120000, "windows": 12}],
    )


class KeptLevelEntry(_Model):
    """One width of a query's windows."""

    width_ns: int = Field(examples=[10000000000])
    kept_from: _Time | None = Field(description="Nothing that starts earlier is left in this width; null: all is.")
    kept_from_ns: int | None
    oldest: _Time | None = Field(description="Start of the oldest window with data; null: there is none.")
    oldest_ns: int | None


class RetentionEntry(_Model):
    """What retention has left of a query."""

    query: str
    levels: list[KeptLevelEntry] = Field(description="Finest first.")


class RetentionPage(_Model):
    """One page of queries, by name."""

    queries: list[RetentionEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class Health(_Model):
    """The process answers."""

    status: Literal["ok"]


class Check(_Model):
    """One readiness check."""

    ok: bool
    detail: str
    ms: float = Field(description="How long the check took.")


class Readiness(_Model):
    """The process can answer questions."""

    status: Literal["ready"]
    checks: dict[str, Check]


class Problem(BaseModel):
    """An RFC 9457 problem document; the last members appear only where they help."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(examples=["urn:tailwatch:problem:unknown-name"])
    title: str = Field(examples=["No such name"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["unknown metric 'hicup_us'; did you mean 'hiccup_us'?"])
    parameter: str | None = Field(default=None, description="The query parameter at fault.")
    nearest: str | None = Field(default=None, description="The known name closest to an unknown one.")
    limit: float | None = Field(default=None, description="The largest number that would have been taken.")
    instead: str | None = Field(default=None, description="A request that would answer.")
    estimate: dict[str, int] | None = Field(
        default=None, description="What answering would have to read: pages, summaries, bytes."
    )
    scope: str | None = Field(default=None, description="The scope that the API key would need.")
    line: int | None = Field(default=None, description="Where in a posted query's SQL, from 1.")
    column: int | None = Field(default=None, description="Where in the line, from 1.")
    caret: str | None = Field(default=None, description="The line and, below it, a sign at the place.")
    allowed: str | None = Field(default=None, description="What would be right there.")
    owners: dict[str, str] | None = Field(default=None, description="Whose the metrics are that were asked for.")
    checks: dict[str, Check] | None = Field(default=None, description="On /readyz: every check and its result.")
