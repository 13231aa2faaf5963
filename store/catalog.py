"""What every read has to know before it reads a page: metrics, versions, when they are valid, floors, labels of series.

A Catalog is one process's memory of it, shared by all its connections. It is never trusted without being asked about:
`view` proves inside the reader's own transaction that what it gives is what the database holds there. First by the
state of the database itself (SQLite's data_version of the connection, PostgreSQL's snapshot), which takes a
microsecond; where that has moved on, by one small statement that reads what may change: which version is valid when,
floors, and how many versions and metrics there are. Plans, metrics and labels never change once they are committed.
"""

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import sqlalchemy as sa

from store.changes import series_changes
from store.errors import UnknownMetricError
from store.levels import BEGINNING_NS, Floors, levels_of
from store.registry import END_NS, MetricRow, RegisteredVersion, ValidRange, load_versions, metrics_of
from store.rows import Row, rows
from store.series_labels import SeriesLabels

Found = TypeVar("Found")

_NUMBER = "number"
_MOST_STATES = 64
_generations = count(1)
_connections = count(1)

# What a catalog is made of, as far as it can change; the first column says which table a row comes from.
_TOKEN = (
    "SELECT 0, query_id, valid_from_ns, version_id FROM validity "
    "UNION ALL SELECT 1, version_id, level, floor_ns FROM level_floors "
    "UNION ALL SELECT 2, count(*), max(id), 0 FROM versions "
    "UNION ALL SELECT 3, count(*), max(id), 0 FROM metrics"
)
_VALIDITY, _FLOORS = 0, 1


@dataclass(frozen=True, slots=True)
class CatalogView:
    """The catalog as one transaction sees it; holds for that transaction only.

    Attributes:
        generation: another one for every other content, within this process.
        state: what the database's state is known by; the same state means that nothing at all was committed between.
        metrics: by name, in order.
    """

    generation: int
    state: tuple[Hashable, Hashable]
    metrics: Mapping[str, MetricRow]
    _ranges: Mapping[int, tuple[ValidRange, ...]]
    _retired: Mapping[int, tuple[tuple[int, int], ...]]
    _floors: Mapping[int, Floors]
    _remembered: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def metric(self, name: str) -> MetricRow:
        """The metric of this name.

        Raises:
            UnknownMetricError: there is none; `.nearest` holds the closest name.
        """
        found = self.metrics.get(name)
        if found is None:
            raise UnknownMetricError("metric", name, self.metrics)
        return found

    def ranges(self, query_id: int) -> tuple[ValidRange, ...]:
        """Which version answers when, in order of time, as registry.valid_ranges."""
        return self._ranges.get(query_id, ())

    def retired(self, query_id: int) -> tuple[tuple[int, int], ...]:
        """[from, to) of each time that the query answers from no version because it was retired."""
        return self._retired.get(query_id, ())

    def floors(self, version_id: int) -> Floors:
        """How far down the version's levels reach."""
        return self._floors[version_id]

    def remembered(self, what: Hashable, find: Callable[[], Found]) -> Found:
        """What `find` finds, asked once for each state of the database; for what is small and asked by most reads."""
        if what not in self._remembered:
            self._remembered[what] = find()
        found: Found = self._remembered[what]
        return found


class Catalog:
    """One process's memory of a database's catalog. Safe to use from any thread, with any connection to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: list[Row] | None = None
        self._view: CatalogView | None = None
        self._at: dict[Hashable, tuple[Hashable, CatalogView]] = {}
        self._labels: dict[int, tuple[int, SeriesLabels]] = {}

    def view(self, connection: sa.Connection) -> CatalogView:
        """The catalog of this connection's transaction, which this begins where it has not begun."""
        who, state = _state(connection)
        known = self._at.get(who)
        if known is not None and known[0] == state:
            return known[1]
        token = sorted(rows(connection, _TOKEN), key=_order)
        with self._lock:
            held = self._view if token == self._token else None
        found = _at_state(held, (who, state)) if held is not None else _loaded(connection, token, (who, state))
        with self._lock:
            self._token, self._view = token, found
            if len(self._at) >= _MOST_STATES:
                self._at.clear()
            self._at[who] = (state, found)
        return found

    def labels(self, connection: sa.Connection, query_id: int) -> SeriesLabels:
        """The labels of all series that the query has in this transaction, and maybe of some made since."""
        changes = series_changes(connection, query_id)
        known = self._labels.get(query_id)
        if known is not None and known[0] == changes:
            return known[1]
        found = SeriesLabels.load(connection, query_id, known[1] if known is not None else None)
        with self._lock:
            # Of two transactions that load at once the one that sees more wins; the other uses its own.
            held = self._labels.get(query_id)
            if held is None or held[0] <= changes:
                self._labels[query_id] = (changes, found)
        return found


def _state(connection: sa.Connection) -> tuple[Hashable, Hashable]:
    """(who is asked, the state of the database in this transaction); equal pairs: nothing was committed between."""
    if connection.dialect.name == "sqlite":
        who = connection.info.get(_NUMBER)
        if who is None:
            who = connection.info[_NUMBER] = next(_connections)
        # A connection's own commits do not count here, so a writer never trusts it.
        ((version,),) = rows(connection, "PRAGMA data_version")
        return (who, version) if _only_reads(connection) else (object(), version)
    ((snapshot, standby),) = rows(connection, "SELECT pg_current_snapshot()::text, pg_is_in_recovery()")
    # What is under way on the primary stands in no snapshot of a standby: there equal ones may be different states.
    if not standby and connection.get_execution_options().get("isolation_level") == "REPEATABLE READ":
        return "snapshot", snapshot
    return object(), snapshot  # every statement sees another state


def _only_reads(connection: sa.Connection) -> bool:
    known = connection.info.get("only reads")
    if known is None:
        ((only,),) = rows(connection, "PRAGMA query_only")
        known = connection.info["only reads"] = bool(only)
    return bool(known)


def _order(row: Row) -> tuple[Any, ...]:
    return tuple(-1 if value is None else value for value in row)


def _at_state(view: CatalogView, state: tuple[Hashable, Hashable]) -> CatalogView:
    return CatalogView(view.generation, state, view.metrics, view._ranges, view._retired, view._floors)


def _loaded(connection: sa.Connection, token: list[Row], state: tuple[Hashable, Hashable]) -> CatalogView:
    versions = {version.version_id: version for version in load_versions(connection).values()}
    valid: dict[int, list[tuple[int, int | None]]] = {}
    for kind, query_id, from_ns, version_id in token:
        if kind == _VALIDITY:
            valid.setdefault(query_id, []).append((from_ns, version_id))
    kept = {(version_id, level): floor_ns for kind, version_id, level, floor_ns in token if kind == _FLOORS}
    return CatalogView(
        next(_generations),
        state,
        {row.name: row for row in metrics_of(versions.values())},
        {query_id: _ranges_of(since, versions) for query_id, since in valid.items()},
        {query_id: _holes_of(since) for query_id, since in valid.items()},
        {version_id: _floors_of(version, kept) for version_id, version in versions.items()},
    )


def _ranges_of(
    since: list[tuple[int, int | None]], versions: Mapping[int, RegisteredVersion]
) -> tuple[ValidRange, ...]:
    """A version of a newer release leaves a hole, as does retirement."""
    return tuple(
        ValidRange(versions[version_id], from_ns, to_ns)
        for from_ns, to_ns, version_id in _stretches(since)
        if version_id is not None and version_id in versions
    )


def _holes_of(since: list[tuple[int, int | None]]) -> tuple[tuple[int, int], ...]:
    return tuple((from_ns, to_ns) for from_ns, to_ns, version_id in _stretches(since) if version_id is None)


def _stretches(since: list[tuple[int, int | None]]) -> list[tuple[int, int, int | None]]:
    """(from, to, version) in order of time; the token's rows come in that order."""
    ends = [from_ns for from_ns, _ in since[1:]] + [END_NS]
    return [(from_ns, to_ns, version_id) for (from_ns, version_id), to_ns in zip(since, ends, strict=True)]


def _floors_of(version: RegisteredVersion, kept: Mapping[tuple[int, int], int]) -> Floors:
    levels = levels_of(version.plan.window_ns)
    return Floors(levels, tuple(kept.get((version.version_id, level.number), BEGINNING_NS) for level in levels))
