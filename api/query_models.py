"""The shapes of queries, static tables and retirement as pydantic models; see api/models.py for how they are used.

Only QueryPost runs: it is what a body is checked against.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.plan import Function

State = Annotated[
    Literal["running", "changing", "retiring", "retired", "reviving"],
    Field(description="`changing` and `retiring` run what they did until `next.valid_from`, `reviving` nothing yet."),
]
_Time = Annotated[str | None, Field(description="RFC 3339, UTC; null: for all time.")]
_TimeNs = Annotated[int | None, Field(description="The same in nanoseconds since 1970.")]


_SQL = "SELECT host, max(late_ns) AS late_max_ns FROM hiccups GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), host"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TablePin(_Model):
    """A static table in one content."""

    name: Annotated[str, Field(max_length=256, examples=["hosts"])]
    content_hash: Annotated[str, Field(max_length=64, examples=["5c2e4d0f9a1b7e63"])]


class QueryPost(_Model):
    """A query to run on all agents."""

    sql: str = Field(
        description="Streaming SQL, see docs/reference/queries.md.",
        examples=[_SQL],
    )
    name: str | None = Field(default=None, description="Without one it is called after its first metric.")
    tables: list[TablePin] = Field(
        default=[], description="Contents to join instead of those uploaded last.", max_length=100
    )
    streams: dict[str, dict[str, str]] = Field(
        default={}, description="Columns of streams that this API's configuration does not name.", max_length=100
    )
    scale: int = Field(default=6, description="Of the sketches, 0 to 8; 6 is within 0.54 %.")


class MetricOfQuery(_Model):
    """A metric that the query produces."""

    name: str = Field(examples=["probe_rtt_us"])
    function: Function
    unit: str


class StageOfQuery(_Model):
    """One stage of the chain, in words."""

    kind: Literal["filter", "join", "extract", "project", "aggregate"]
    text: str = Field(examples=["err = 0"])


class _Version(_Model):
    version: str = Field(description="A hash of what the query means, its tables included.")
    created: str = Field(description="When it was first known here.")
    readable: bool = Field(description="False when a newer release wrote it; the fields below are empty then.")
    source: str = Field(description="The stream it reads.")
    window_ns: int
    labels: list[str]
    scale: int
    metrics: list[MetricOfQuery]
    tables: list[TablePin]
    stages: list[StageOfQuery]
    sql: str | None = Field(description="As posted; null of a query from a configuration file.")


class NextOfQuery(_Model):
    """A change that lies ahead; version null: the query ends then."""

    version: str | None
    valid_from: _Time
    valid_from_ns: _TimeNs


class QueryEntry(_Version):
    """A query as it runs now; of one that is retired, its last version."""

    name: str
    state: State
    posted: bool = Field(description="Changed over the API: configuration files no longer decide.")
    valid_from: _Time
    valid_from_ns: _TimeNs
    next: NextOfQuery | None
    href: str


class QueriesPage(_Model):
    """One page of queries, by name."""

    queries: list[QueryEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class SpanOfQuery(_Model):
    """Which version answers for which windows; null: none, the query is retired."""

    valid_from: _Time
    valid_from_ns: _TimeNs
    valid_to: _Time
    valid_to_ns: _TimeNs
    version: str | None


class VersionOfQuery(_Version):
    """One version."""


class QueryVersions(_Model):
    """All versions of a query, in the order they were made, and when each is valid, in order of time."""

    name: str
    spans: list[SpanOfQuery]
    versions: list[VersionOfQuery]


class QueryAnswer(QueryEntry):
    """A query with its history."""

    spans: list[SpanOfQuery]
    versions: list[VersionOfQuery]


class PostedQuery(_Version):
    """What a post has done, or with `check` would do."""

    name: str
    outcome: Literal["created", "changed", "revived", "unchanged"]
    valid_from: _Time
    valid_from_ns: _TimeNs
    href: str


class RetiredQuery(_Model):
    """From when on agents do not run the query."""

    name: str
    valid_until: _Time
    valid_until_ns: _TimeNs


class TableEntry(_Model):
    """One content of a static table."""

    name: str = Field(examples=["hosts"])
    content_hash: str
    current: bool = Field(description="What queries posted from now on join.")
    rows: int
    columns: dict[str, str]
    size_bytes: int = Field(description="As it is kept, in Parquet.")
    uploaded: str
    href: str


class TablesPage(_Model):
    """One page of static tables, by name, newest content first."""

    tables: list[TableEntry]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class RetiredAgent(_Model):
    """An agent that nothing is expected of any more."""

    agent: str
    state: Literal["retired"]


class PlannedTableModel(_Model):
    """A table of a planned version; without url the agent must have it itself."""

    name: str
    content_hash: str
    url: str | None


class PlannedVersionModel(_Model):
    """A version that an agent is to run on records of [valid_from_ns, valid_to_ns); null: no bound."""

    query: str
    version: str
    plan: str = Field(description="Base64 of the plan's msgpack.")
    valid_from_ns: int | None
    valid_to_ns: int | None
    tables: list[PlannedTableModel]


class AgentPlanModel(_Model):
    """All versions that an agent is to run."""

    format: int
    queries: list[PlannedVersionModel]
    retired: list[str] = Field(description="Queries that are not to be run from the agent's own file either.")
