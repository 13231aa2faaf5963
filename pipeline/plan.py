"""A query as data: the chain of stages that agents and collectors run, with one version for both.

Stages are numbered: cut 0 lies before every stage (source rows), cut i after stages[0..i-1]; the last stage is the
windowed aggregate. Expressions are Polars SQL that `pipeline.sql` wrote and typed: quoted names, explicit casts.
`version` hashes the plan's content, so whoever compiles the same query against the same tables gets the same version
without talking. White space and comments of the SQL are not part of a plan.
"""

from functools import cached_property
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import msgspec

from pipeline.errors import PlanError
from pipeline.schema import COLUMN_TYPES, TIME_COLUMN, Schema

Function: TypeAlias = Literal["sketch", "count", "sum", "min", "max", "avg", "first_lines", "last_lines"]

FUNCTIONS: Final[tuple[Function, ...]] = (
    "sketch", "count", "sum", "min", "max", "avg", "first_lines", "last_lines",
)  # fmt: skip
# Those whose answer is one number per group, and those whose answer is text.
NUMBER_FUNCTIONS: Final = frozenset({"count", "sum", "min", "max", "avg"})
LINE_FUNCTIONS: Final = frozenset({"first_lines", "last_lines"})
# Suffix of a metric's name -> its unit as answers show it. `_total` counts things unless a unit stands before it.
UNIT_SUFFIXES: Final[dict[str, str]] = {
    "ns": "ns",
    "us": "us",
    "ms": "ms",
    "s": "s",
    "bytes": "bytes",
    "bits": "bits",
    "ratio": "ratio",
    "probability": "ratio",
    "percent": "percent",
    "celsius": "celsius",
    "watts": "watts",
    "joules": "joules",
    "volts": "volts",
    "amperes": "amperes",
    "hertz": "hertz",
    "rpm": "rpm",
    "cores": "cores",
    "state": "state",
    "lines": "lines",
    "count": "count",
    "total": "count",
}


class FilterStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="filter"):
    """Keeps the rows for which `predicate` is true; false and NULL are filtered out."""

    predicate: str


class JoinStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="join"):
    """Adds columns of a static table; its keys are unique, so rows never multiply.

    `columns` maps the new column ("s.tor") to the table's. A row without a match is filtered out, or with `outer`
    kept with NULLs. A NULL key matches nothing.
    """

    table: str
    left_key: str
    right_key: str
    columns: dict[str, str]
    outer: bool


class Extraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a text column: what `group` of the regular expression matched first; 0 is the whole match.

    NULL where the text is NULL, where nothing matches, and where the group took no part in the match.
    """

    source: str
    pattern: str
    group: int


class ExtractStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="extract"):
    """Adds the text columns that regular expressions take out of others."""

    columns: dict[str, Extraction]


class ProjectStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="project"):
    """Replaces the columns by expressions over them; `ts` is always kept."""

    columns: dict[str, str]


class Aggregate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One metric: `function` over `column` (None: count(*)); `integer` when the values are int64.

    `weight` is the column that says how many times a value of a sketch counts; None: once. `place` is the column that
    puts lines of one time in order; None: their texts do. What is not said is not encoded, so that plans from before
    there were weights or places keep their versions.
    """

    alias: str
    function: Function
    column: str | None
    integer: bool
    weight: str | None = None
    place: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(column for column in (self.column, self.weight, self.place) if column is not None)


class AggregateStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="aggregate"):
    """Groups by tumbling window and labels. Windows start at floor(ts / window_ns) * window_ns."""

    window_ns: int
    labels: list[str]
    aggregates: list[Aggregate]


RowStage: TypeAlias = FilterStage | JoinStage | ExtractStage | ProjectStage
Stage: TypeAlias = FilterStage | JoinStage | ExtractStage | ProjectStage | AggregateStage


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a plan offers to readers: an aggregate under its alias. `unit` follows from the name's suffix."""

    name: str
    function: Function
    integer: bool
    unit: str
    scale: int


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A compiled query. `dict=True` only gives the cached properties below a place; they are never encoded.

    source_schema holds the columns of the stream that the query reads, `ts` first; tables maps each static table to
    its content hash.
    """

    query: str
    source: str
    source_schema: Schema
    scale: int
    tables: dict[str, str]
    stages: list[Stage]

    @cached_property
    def version(self) -> str:
        """16 hex digits of SHA-256 over the canonical encoding (dicts sorted)."""
        return sha256(msgspec.msgpack.encode(self, order="deterministic")).hexdigest()[:16]

    @property
    def aggregate(self) -> AggregateStage:
        """The last stage."""
        stage = self.stages[-1]
        if not isinstance(stage, AggregateStage):
            raise PlanError(f"query {self.query!r}: the last stage is {type(stage).__name__}, want AggregateStage")
        return stage

    @property
    def row_stages(self) -> list[RowStage]:
        """All stages but the last."""
        return [stage for stage in self.stages if not isinstance(stage, AggregateStage)]

    @property
    def window_ns(self) -> int:
        """Length of the tumbling window."""
        return self.aggregate.window_ns

    @property
    def labels(self) -> list[str]:
        """Names of the group keys beside the window, in the order of GROUP BY."""
        return self.aggregate.labels

    @property
    def aggregates(self) -> list[Aggregate]:
        """In the order of SELECT."""
        return self.aggregate.aggregates

    @cached_property
    def metrics(self) -> list[Metric]:
        """In the order of SELECT."""
        units = [unit_of(a.alias) or ("count" if a.function == "count" else "") for a in self.aggregates]
        return [
            Metric(a.alias, a.function, a.integer, unit, self.scale)
            for a, unit in zip(self.aggregates, units, strict=True)
        ]


def unit_of(metric: str) -> str:
    """Unit named by a metric's suffix: `rtt_us` -> us, `sent_bytes_total` -> bytes, `probes_total` -> count."""
    words = metric.split("_")
    if words[-1] == "total" and len(words) > 2 and words[-2] in UNIT_SUFFIXES:
        return UNIT_SUFFIXES[words[-2]]
    return UNIT_SUFFIXES.get(words[-1], "")


def encode_plan(plan: Plan) -> bytes:
    """Msgpack, dicts in their own order."""
    return msgspec.msgpack.encode(plan)


def decode_plan(data: bytes) -> Plan:
    """The plan in `data`.

    Raises:
        PlanError: not a plan of this release, or stages in an impossible order.
    """
    try:
        plan = msgspec.msgpack.decode(data, type=Plan, strict=True)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PlanError(
            f"cannot read the plan ({len(data)} bytes): {error}; agent and collector need one release"
        ) from error
    aggregates = [i for i, stage in enumerate(plan.stages) if isinstance(stage, AggregateStage)]
    if aggregates != [len(plan.stages) - 1]:
        raise PlanError(
            f"plan of query {plan.query!r} has its aggregate at {aggregates}; want exactly one, the last stage"
        )
    if plan.window_ns <= 0:
        raise PlanError(f"plan of query {plan.query!r} has window_ns {plan.window_ns}; want more than 0")
    if plan.source_schema.get(TIME_COLUMN) != "int64" or not set(plan.source_schema.values()) <= set(COLUMN_TYPES):
        raise PlanError(
            f"plan of query {plan.query!r} has source columns {plan.source_schema}; want ts: int64 and known types"
        )
    return plan
