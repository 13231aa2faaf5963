"""Streaming SQL to a plan: reads each clause, then lays the stages out.

Order of stages: filters that need only the stream, then per join its table and the filters that become possible with
it, then what regular expressions extract (before the first filter that needs it), then the projection, then the
windowed aggregate. So rows are dropped before they cost a look-up or a match, and each stage carries only the columns
that later ones read. docs/reference/queries.md is the language as users see it.
"""

import re
from collections.abc import Mapping

from sqlglot import exp

from pipeline.chain import ONES, Chain
from pipeline.errors import PlanError, QueryError
from pipeline.plan import Aggregate, AggregateStage, FilterStage, JoinStage, Plan, ProjectStage, Stage
from pipeline.schema import TIME_COLUMN, Schema
from pipeline.sql_expressions import Expressions, Typed
from pipeline.sql_extracts import Extracts
from pipeline.sql_groups import Groups
from pipeline.sql_joins import JoinClause, read_from, read_joins
from pipeline.sql_text import SqlText
from pipeline.tables import StaticTable

DEFAULT_SCALE = 6
# A frame's header holds the name; half of what fits there leaves room for names that are derived from it.
MAX_QUERY_NAME = 128
_QUERY_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")


def compile_query(
    name: str,
    sql: str,
    schemas: Mapping[str, Schema],
    tables: Mapping[str, StaticTable],
    scale: int = DEFAULT_SCALE,
) -> Plan:
    """The plan of a query.

    Args:
        name: [a-z_][a-z0-9_]*, at most MAX_QUERY_NAME characters.
        schemas: columns of each stream; `ts` and `host` are implied.
        tables: static tables by name.
        scale: of the sketches, 0..8.
    Raises:
        QueryError: with line, column, the place and what is allowed there.
    """
    text = SqlText(name if len(name) <= MAX_QUERY_NAME else f"{name[:40]}...", sql)
    if len(name) > MAX_QUERY_NAME:
        raise text.error(0, f"the query name has {len(name)} characters; want at most {MAX_QUERY_NAME}", "shorten it")
    if not _QUERY_NAME.match(name):
        raise text.error(0, f"query name {name!r}; want [a-z_][a-z0-9_]*", "use lower case, digits and _")
    if not 0 <= scale <= 8:
        raise text.error(0, f"scale {scale}; want 0..8", "6 is the default: quantiles within 0.54 %")
    select = text.parse()
    source, names = read_from(text, select, schemas)
    joins = read_joins(text, select, names, tables)
    expressions = Expressions(names)
    where = select.args.get("where")
    conditions = [expressions.condition(part) for part in _conjuncts(where.this)] if where else []
    groups = Groups(select, expressions)
    project, aggregate = _last_stages(groups)
    read = expressions.extracts.sources(_read_by(conditions, groups)) | {join.left_key for join in joins}
    stages = [*_row_stages(joins, conditions, read, expressions.extracts), project, aggregate]
    kinds = names.readable
    plan = Plan(
        query=name,
        source=source,
        source_schema={TIME_COLUMN: "int64"} | {c: kinds[c] for c in sorted(read) if c in kinds and c != TIME_COLUMN},
        scale=scale,
        tables={join.table: tables[join.table].content_hash for join in sorted(joins, key=lambda join: join.table)},
        stages=stages,
    )
    _try_out(text, plan, tables, groups)
    return plan


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a AND b AND c: each may be filtered by as soon as its columns are there."""
    if isinstance(node, exp.Paren):
        return _conjuncts(node.this)
    if isinstance(node, exp.And):
        return [part for operand in node.flatten() for part in _conjuncts(operand)]
    return [node]


def _row_stages(joins: list[JoinClause], conditions: list[Typed], read: set[str], extracts: Extracts) -> list[Stage]:
    """Filters, joins and extractions. A condition stands behind the last join whose columns it reads."""
    aliases = [join.alias for join in joins]
    behind: dict[int, list[Typed]] = {}
    for condition in conditions:
        owners = [_owner(column) for column in extracts.sources(condition.columns)]
        level = max((aliases.index(owner) + 1 for owner in owners if owner is not None), default=0)
        behind.setdefault(level, []).append(condition)
    stages: list[Stage | None] = []
    made: set[str] = set()
    for level, join in enumerate([None, *joins]):
        if join is not None:
            mine = sorted(c for c in read if _owner(c) == join.alias)
            columns = {c: c.removeprefix(f"{join.alias}.") for c in mine}
            stages.append(JoinStage(join.table, join.left_key, join.right_key, columns, join.outer))
        here = behind.get(level, [])
        ready = [condition for condition in here if extracts.made_of(condition.columns) <= made]
        stages.append(_filter(ready))
        later = [condition for condition in here if condition not in ready]
        stages.append(extracts.stage({column for condition in later for column in condition.columns}, made))
        stages.append(_filter(later))
    stages.append(extracts.stage_of_rest(made))
    return [stage for stage in stages if stage is not None]


def _filter(conditions: list[Typed]) -> FilterStage | None:
    return FilterStage(" AND ".join(condition.sql for condition in conditions)) if conditions else None


def _last_stages(groups: Groups) -> tuple[ProjectStage, AggregateStage]:
    """The projection to labels and aggregated values (each expression once), and the aggregate over it."""
    values: dict[str, str] = {}  # expression -> column, called like the first metric over it
    aggregates = []
    for metric in groups.metrics:
        column = None if metric.argument is None else values.setdefault(metric.argument.sql, metric.name)
        # No metric has a name with a point in it.
        weight = None if metric.weight is None else values.setdefault(metric.weight.sql, f"{metric.name}.weight")
        place = None if metric.place is None else values.setdefault(metric.place.sql, f"{metric.name}.place")
        integer = metric.argument is None or metric.function == "count" or metric.argument.kind == "int64"
        aggregates.append(Aggregate(metric.name, metric.function, column, integer, weight, place))
    columns = {label: typed.sql for label, typed in groups.labels.items()}
    columns |= {column: sql for sql, column in values.items()}
    return ProjectStage(columns), AggregateStage(groups.window_ns, list(groups.labels), aggregates)


def _read_by(conditions: list[Typed], groups: Groups) -> set[str]:
    arguments = [typed for metric in groups.metrics for typed in metric.arguments]
    parts = [*conditions, *groups.labels.values(), *arguments]
    return {column for part in parts for column in part.columns} - {ONES}


def _owner(column: str) -> str | None:
    """Alias of the table a row's column comes from; None for the stream's."""
    alias, dot, _ = column.rpartition(".")
    return alias if dot else None


def _try_out(text: SqlText, plan: Plan, tables: Mapping[str, StaticTable], groups: Groups) -> None:
    """Runs the chain on no rows: Polars must agree that it can run, and with every type."""
    try:
        chain = Chain(plan, tables)
    except (PlanError, RecursionError) as error:
        raise _unrunnable(text, error) from error
    found = chain.schema_at(chain.row_stages)
    for name, label in groups.labels.items():
        if found[name] != label.kind:
            raise text.error(
                0, f"label {name!r} came out as {found[name]}, typed {label.kind}", "please report this query"
            )
    for metric, aggregate in zip(groups.metrics, plan.aggregates, strict=True):
        for column, typed in zip(aggregate.columns, metric.arguments, strict=True):
            if found[column] != typed.kind:
                what = f"metric {metric.name!r}: {column!r} came out as {found[column]}, typed {typed.kind}"
                raise text.error(0, what, "please report this query")


def _unrunnable(text: SqlText, error: Exception) -> QueryError:
    reason = str(error).split("\n", maxsplit=1)[0]
    if "unable to parse" in reason or isinstance(error, RecursionError):
        return text.error(0, "an expression is nested too deeply; write it flatter (some 40 levels of brackets work)")
    return text.error(0, f"the query cannot run: {reason}", "please report this query")
