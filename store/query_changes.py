"""Changing queries while everything runs: post a version, retire a query. The caller commits, or rolls back.

What is valid now is never changed: every change begins at a window start that lies ahead by the lead, so that all
agents know of it by then. One that was to begin at the same window start has never been valid and is replaced.
"""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from pipeline.errors import PlanError
from pipeline.plan import Plan, decode_plan
from store import tables
from store.errors import UnknownQueryError
from store.registry import hold_query, newest_validity, put_version, set_valid

Outcome = Literal["created", "changed", "revived", "unchanged"]
# The window of a plan that this release cannot read is not known.
_ANY_WINDOW_NS = 10**9


@dataclass(frozen=True, slots=True)
class Posted:
    """What a post has done: `created` a query, `changed` or `revived` one, or nothing; and from when that holds."""

    outcome: Outcome
    valid_from_ns: int


def post_query(connection: sa.Connection, plan: Plan, sql: str, now_ns: int, lead_ns: int) -> Posted:
    """Make the plan the version that its query answers from; what is that already stays untouched.

    Raises:
        MetricTakenError, MetricChangedError: as store.registry.register_queries.
    """
    query_id, version_id = put_version(connection, plan, now_ns, sql)
    hold_query(connection, query_id)
    newest = newest_validity(connection, query_id)
    if newest is not None and newest.version_id == version_id:
        return Posted("unchanged", newest.from_ns)
    valid_from_ns = set_valid(connection, query_id, version_id, newest, now_ns + lead_ns, plan.window_ns, posted=True)
    if newest is None:
        return Posted("created", valid_from_ns)
    return Posted("revived" if newest.version_id is None else "changed", valid_from_ns)


def retire_query(connection: sa.Connection, name: str, now_ns: int, lead_ns: int) -> int:
    """End a query; returns from when on it has no version. Its metrics stay readable, its names stay taken.

    Raises:
        UnknownQueryError: there is no such query; `.nearest` holds the closest name.
    """
    query_id = _id_of(connection, name)
    hold_query(connection, query_id)
    newest = newest_validity(connection, query_id)
    if newest is None:
        raise UnknownQueryError("query", name, [])
    if newest.version_id is None:
        return newest.from_ns
    window_ns = _window_ns(connection, newest.version_id)
    return set_valid(connection, query_id, None, newest, now_ns + lead_ns, window_ns, posted=True)


def _id_of(connection: sa.Connection, name: str) -> int:
    known = dict(connection.execute(sa.select(tables.queries.c.name, tables.queries.c.id)).all())
    if name not in known:
        raise UnknownQueryError("query", name, known)
    return int(known[name])


def _window_ns(connection: sa.Connection, version_id: int) -> int:
    plan = connection.execute(sa.select(tables.versions.c.plan).where(tables.versions.c.id == version_id)).scalar_one()
    try:
        return decode_plan(plan).window_ns
    except PlanError:
        return _ANY_WINDOW_NS
