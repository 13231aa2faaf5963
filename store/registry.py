"""Which queries, versions and metrics the database knows, and which version a window answers from.

A metric name belongs to one query for good. A query's versions each begin to be valid at a window start; a version
may come back later, so validity is a list of its own.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipeline.errors import PlanError
from pipeline.plan import LINE_FUNCTIONS, Metric, Plan, decode_plan, encode_plan
from store import tables
from store.errors import MetricChangedError, MetricTakenError, UnknownMetricError
from store.upsert import insert, insert_missing

log = logging.getLogger(__name__)

# Plans never change once they are stored, and every read needs them: decoding is done once per process.
_decoded = lru_cache(maxsize=4096)(decode_plan)

BEGINNING_NS = -(2**63)
END_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A plan and the ids that the tables know it by."""

    version_id: int
    query_id: int
    plan: Plan
    metric_ids: dict[str, int]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric, as the newest version that has it describes it; its labels are those of all its versions."""

    name: str
    query: str
    function: str
    integer: bool
    unit: str
    labels: tuple[str, ...]
    scale: int
    window_ns: int
    metric_id: int
    query_id: int


@dataclass(frozen=True, slots=True)
class ValidRange:
    """Windows that start in [from_ns, to_ns) answer from `version`."""

    version: RegisteredVersion
    from_ns: int
    to_ns: int


def register_queries(connection: sa.Connection, plans: Sequence[Plan], now_ns: int, lead_ns: int = 0) -> None:
    """Make these the current versions of their queries, as a configuration file says.

    A query's first version is valid for all time; a later one from the first window that starts `lead_ns` after
    `now_ns` (three poll intervals of the agents, so that all of them have it by then). Of a query that was changed or
    retired over the API (store/query_changes.py) the version becomes known, and what is valid stays.

    The caller commits; after an error it must roll back.

    Raises:
        MetricTakenError: a metric name already belongs to another query.
        MetricChangedError: the query computed a metric of that name in another way before.
    """
    for plan in plans:
        query_id, version_id = put_version(connection, plan, now_ns)
        hold_query(connection, query_id)
        newest = newest_validity(connection, query_id)
        if newest is not None and newest.posted:
            if newest.version_id != version_id:
                log.warning("query in the file is not what was posted, which stays valid query=%s", plan.query)
        elif newest is None or newest.version_id != version_id:
            set_valid(connection, query_id, version_id, newest, now_ns + lead_ns, plan.window_ns)


@dataclass(frozen=True, slots=True)
class Validity:
    """From `from_ns` on a query answers from this version, or from none."""

    from_ns: int
    version_id: int | None
    posted: bool


def put_version(connection: sa.Connection, plan: Plan, now_ns: int, sql: str | None = None) -> tuple[int, int]:
    """Make a version and its metrics known; returns (query id, version id). Nothing is valid by it yet.

    Raises:
        MetricTakenError, MetricChangedError: as register_queries.
    """
    query_id = _query_id(connection, plan.query)
    _claim_metrics(connection, plan, query_id)
    _refuse_changed(connection, plan, query_id)
    row = {"query_id": query_id, "version": plan.version, "plan": encode_plan(plan), "created_ns": now_ns, "sql": sql}
    insert_missing(connection, tables.versions, [row])
    mine = tables.versions.c.version == plan.version
    if sql is not None:
        connection.execute(sa.update(tables.versions).where(mine, tables.versions.c.sql.is_(None)).values(sql=sql))
    return query_id, int(connection.execute(sa.select(tables.versions.c.id).where(mine)).scalar_one())


def hold_query(connection: sa.Connection, query_id: int) -> None:
    """Wait for others that change what is valid of this query; SQLite lets one transaction write anyway."""
    connection.execute(sa.select(tables.queries.c.id).where(tables.queries.c.id == query_id).with_for_update())


def newest_validity(connection: sa.Connection, query_id: int) -> Validity | None:
    """What the query answers from in the end; it may begin in the future. None of one that never had a version."""
    table = tables.validity
    row = connection.execute(
        sa.select(table.c.valid_from_ns, table.c.version_id, table.c.posted)
        .where(table.c.query_id == query_id)
        .order_by(table.c.valid_from_ns.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Validity(*row)


def set_valid(
    connection: sa.Connection,
    query_id: int,
    version_id: int | None,
    newest: Validity | None,
    not_before_ns: int,
    window_ns: int,
    *,
    posted: bool = False,
) -> int:
    """Let the query answer from this version (None: from none) for good; returns from when on.

    That is for all time where there is no `newest`, else a window start not before `not_before_ns` and not before
    `newest` begins; if both begin at one time, `newest` never becomes valid.
    """
    begin_ns = BEGINNING_NS
    if newest is not None:
        begin_ns = max(not_before_ns, newest.from_ns)
        begin_ns = -(-begin_ns // window_ns) * window_ns
    row = {"query_id": query_id, "valid_from_ns": begin_ns, "version_id": version_id, "posted": posted}
    statement = insert(connection, tables.validity)
    changed = {name: statement.excluded[name] for name in ("version_id", "posted")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["query_id", "valid_from_ns"], set_=changed), [row]
    )
    return begin_ns


def load_versions(connection: sa.Connection) -> dict[str, RegisteredVersion]:
    """Every version the database knows and this release can read, by its hash."""
    # The versions first: each statement may see what was committed since the one before, and a version's metrics are
    # committed with it or earlier.
    rows = connection.execute(sa.select(tables.versions).order_by(tables.versions.c.id)).all()
    metric_ids: dict[int, dict[str, int]] = {}
    for metric_id, name, query_id in connection.execute(
        sa.select(tables.metrics.c.id, tables.metrics.c.name, tables.metrics.c.query_id)
    ):
        metric_ids.setdefault(query_id, {})[name] = metric_id
    found: dict[str, RegisteredVersion] = {}
    for row in rows:
        try:
            plan = _decoded(row.plan)
        except PlanError as error:
            # Written by a newer release: it must not stop this one from serving all other queries.
            log.warning("query version skipped version=%s error=%s", row.version, error)
            continue
        of_query = metric_ids.get(row.query_id, {})
        ids = {metric.name: of_query[metric.name] for metric in plan.metrics}
        found[row.version] = RegisteredVersion(row.id, row.query_id, plan, ids)
    return found


def known_contents(connection: sa.Connection) -> tuple[int, ...]:
    """A few numbers that change when a version or a static table is added; cheap to ask for often."""
    versions, uploaded = tables.versions, tables.static_tables
    row = connection.execute(
        sa.select(
            sa.select(sa.func.coalesce(sa.func.max(versions.c.id), 0)).scalar_subquery(),
            sa.select(sa.func.count()).select_from(versions).scalar_subquery(),
            sa.select(sa.func.count()).select_from(uploaded).scalar_subquery(),
        )
    ).one()
    return tuple(int(number) for number in row)


def metrics(connection: sa.Connection) -> list[MetricRow]:
    """All metrics by name."""
    return metrics_of(load_versions(connection).values())


def metrics_of(versions: Iterable[RegisteredVersion]) -> list[MetricRow]:
    """All metrics by name; the versions stand in the order in which they were made."""
    rows: dict[str, MetricRow] = {}
    for version in versions:
        for metric in version.plan.metrics:
            # Labels of older versions stay: their windows have them still, and a version may come back.
            known = rows[metric.name].labels if metric.name in rows else ()
            rows[metric.name] = MetricRow(
                name=metric.name,
                query=version.plan.query,
                function=metric.function,
                integer=metric.integer,
                unit=metric.unit,
                labels=tuple(dict.fromkeys([*version.plan.labels, *known])),
                scale=metric.scale,
                window_ns=version.plan.window_ns,
                metric_id=version.metric_ids[metric.name],
                query_id=version.query_id,
            )
    return sorted(rows.values(), key=lambda row: row.name)


def metric(connection: sa.Connection, name: str) -> MetricRow:
    """The metric of this name.

    Raises:
        UnknownMetricError: there is none; `.nearest` holds the closest name.
    """
    rows = {row.name: row for row in metrics(connection)}
    if name not in rows:
        raise UnknownMetricError("metric", name, rows)
    return rows[name]


def valid_ranges(connection: sa.Connection, query_id: int) -> list[ValidRange]:
    """Which version answers when, in order of time; a version of a newer release leaves a hole, as does retirement."""
    versions = {version.version_id: version for version in load_versions(connection).values()}
    rows = connection.execute(
        sa.select(tables.validity.c.valid_from_ns, tables.validity.c.version_id)
        .where(tables.validity.c.query_id == query_id)
        .order_by(tables.validity.c.valid_from_ns)
    ).all()
    ends = [row.valid_from_ns for row in rows[1:]] + [END_NS]
    return [
        ValidRange(versions[row.version_id], row.valid_from_ns, end)
        for row, end in zip(rows, ends, strict=True)
        if row.version_id in versions
    ]


def is_valid(
    connection: sa.Connection, version: RegisteredVersion, windows: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """bool[n]: whether the version answers for each of these windows of its query."""
    valid = np.zeros(windows.size, bool)
    for known in valid_ranges(connection, version.query_id):
        if known.version.version_id == version.version_id:
            valid |= (windows >= known.from_ns) & (windows < known.to_ns)
    return valid


def _query_id(connection: sa.Connection, name: str) -> int:
    insert_missing(connection, tables.queries, [{"name": name}])
    found = connection.execute(sa.select(tables.queries.c.id).where(tables.queries.c.name == name)).scalar_one()
    return int(found)


def _claim_metrics(connection: sa.Connection, plan: Plan, query_id: int) -> None:
    names = [metric.name for metric in plan.metrics]
    insert_missing(connection, tables.metrics, [{"name": name, "query_id": query_id} for name in names])
    taken = connection.execute(
        sa.select(tables.metrics.c.name, tables.queries.c.name.label("owner"))
        .join(tables.queries, tables.queries.c.id == tables.metrics.c.query_id)
        .where(tables.metrics.c.name.in_(names), tables.metrics.c.query_id != query_id)
    ).all()
    if taken:
        listed = ", ".join(f"{row.name} (of query {row.owner})" for row in taken)
        raise MetricTakenError(
            f"query {plan.query!r} wants metrics that belong to other queries: {listed}; rename them",
            {row.name: row.owner for row in taken},
        )


def _refuse_changed(connection: sa.Connection, plan: Plan, query_id: int) -> None:
    wanted = {metric.name: metric for metric in plan.metrics}
    for version in load_versions(connection).values():
        if version.query_id != query_id:
            continue
        for metric in version.plan.metrics:
            now = wanted.get(metric.name, metric)
            if now != metric:
                raise MetricChangedError(
                    f"query {plan.query!r}: metric {metric.name} was {_described(metric)} and would become "
                    f"{_described(now)}, which cannot be merged with stored windows; give the new one another name"
                )


def _described(metric: Metric) -> str:
    if metric.function in LINE_FUNCTIONS:
        return metric.function
    return f"{metric.function} of {'integers' if metric.integer else 'floats'} at scale {metric.scale}"
