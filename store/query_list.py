"""All queries with their versions and when each is valid, for lists and for what agents are told to run."""

from dataclasses import dataclass

import sqlalchemy as sa

from pipeline.plan import Plan
from store import tables
from store.errors import UnknownQueryError
from store.registry import END_NS, load_versions


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a query. `plan` is None where a newer release wrote it."""

    version: str
    version_id: int
    plan: Plan | None
    encoded: bytes
    sql: str | None
    created_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """Windows that start in [from_ns, to_ns) answer from `version`; None: the query is retired."""

    version: VersionRow | None
    from_ns: int
    to_ns: int
    posted: bool


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query, its versions in the order they were made, and its spans in order of time, neighbours not alike."""

    name: str
    versions: tuple[VersionRow, ...]
    spans: tuple[Span, ...]

    def at(self, time_ns: int) -> Span | None:
        """The span in force at a time; None of a query without any."""
        return next((span for span in self.spans if span.from_ns <= time_ns < span.to_ns), None)


def list_queries(connection: sa.Connection) -> list[QueryRow]:
    """All queries, by name. One that has no version yet, for a post of it was refused, is left out."""
    table = tables.validity
    # Validity first: each statement may see what was committed since the one before, and a version is committed with
    # what makes it valid, or earlier.
    validity = connection.execute(sa.select(table).order_by(table.c.query_id, table.c.valid_from_ns)).all()
    plans = {version.version_id: version.plan for version in load_versions(connection).values()}
    t = tables.versions
    versions: dict[int, dict[int, VersionRow]] = {}
    columns = (t.c.id, t.c.query_id, t.c.version, t.c.plan, t.c.sql, t.c.created_ns)
    for row in connection.execute(sa.select(*columns).order_by(t.c.id)):
        of_query = versions.setdefault(row.query_id, {})
        of_query[row.id] = VersionRow(row.version, row.id, plans.get(row.id), bytes(row.plan), row.sql, row.created_ns)
    spans: dict[int, list[Span]] = {}
    for row in validity:
        version = None if row.version_id is None else versions[row.query_id][row.version_id]
        _append(spans.setdefault(row.query_id, []), Span(version, row.valid_from_ns, END_NS, row.posted))
    names = connection.execute(sa.select(tables.queries.c.name, tables.queries.c.id)).all()
    return [
        QueryRow(row.name, tuple(versions[row.id].values()), tuple(spans[row.id]))
        for row in sorted(names)
        if row.id in spans
    ]


def query_named(connection: sa.Connection, name: str) -> QueryRow:
    """One query.

    Raises:
        UnknownQueryError: there is none; `.nearest` holds the closest name.
    """
    known = {row.name: row for row in list_queries(connection)}
    if name not in known:
        raise UnknownQueryError("query", name, known)
    return known[name]


def _append(spans: list[Span], span: Span) -> None:
    """Add what begins where the last one ends; the same version twice is one span."""
    if spans:
        last = spans[-1]
        if last.version == span.version:
            spans[-1] = Span(last.version, last.from_ns, END_NS, span.posted)
            return
        spans[-1] = Span(last.version, last.from_ns, span.from_ns, last.posted)
    spans.append(span)
