"""Why attempts failed, as it was last found: one row an attempt, listed for people and counted for series.

A later diagnosis takes the place of an earlier one and counts the revision up where it differs; but what all of a job's
log says, uploaded, does not give way to what the lines say that agents kept of it. Numbers of failures become visible
in their order (store/gpu_counters.py), so whoever follows them misses none, however long a writer takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from store.gpu_checks import check_row
from store.gpu_counters import take_turn
from store.gpu_tables import NAME_MAX, gpu_advice, gpu_failures
from store.gpu_taken_back import note_taken_back, number_before
from store.texts import is_storable, storable_name, storable_text
from store.upsert import batched, insert

Status: TypeAlias = Literal["answered", "abstained"]
Origin: TypeAlias = Literal["agents", "upload"]
_TEXT_MAX: Final = 16_384
_AT_ONCE: Final = 500
#: What the writers of failures take their turns by.
COUNTER: Final = "failures"

_T = gpu_failures


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Why one attempt failed.

    Attributes:
        failed_ns: when it failed; found_ns: when this was found.
        status: `abstained` where no cause is sure enough.
        reason, category, retry, action: None unless answered. guess: the best reason found; None: there is none.
        confidence: of `guess`, in [0, 1].
        node, rank: where the root stands, None where unknown. user: "" where unknown.
        lost_gpu_s: GPU seconds of the attempt up to the failure, None where unknown.
        template: masked text of the last error lines, for those that no rule knows.
        diagnosis: all of it as JSON, as `tailwatch gpu classify` prints it.
        reported: an attempt was reported that failed; else only its log says so.
        id, revision: given by the store.
    """

    job: str
    number: int
    failed_ns: int
    found_ns: int
    status: Status
    reason: str | None = None
    category: str | None = None
    guess: str | None = None
    confidence: float
    retry: str | None = None
    action: str | None = None
    node: str | None = None
    rank: int | None = None
    user: str = ""
    gpus: float | None = None
    lost_gpu_s: float | None = None
    template: str | None = None
    diagnosis: str
    rules_version: str
    origin: Origin = "agents"
    reported: bool = True
    synthetic: bool = False
    id: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failures; what is None does not matter. `start_ns` is included, `end_ns` is not."""

    job: str | None = None
    reason: str | None = None
    category: str | None = None
    user: str | None = None
    node: str | None = None
    status: Status | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    synthetic: bool | None = None


@dataclass(frozen=True, slots=True)
class FailurePlace:
    """Where in the list a failure stands."""

    failed_ns: int
    id: int


@dataclass(frozen=True, slots=True)
class FailurePage:
    """Failures, the newest first; `after` is the place for the next page, None on the last one."""

    rows: tuple[FailureRow, ...]
    after: FailurePlace | None


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many failures of one kind; `lost_gpu_s` is the sum of those that know it."""

    category: str | None
    reason: str | None
    status: Status
    synthetic: bool
    failures: int
    lost_gpu_s: float


def put_failure(connection: sa.Connection, row: FailureRow) -> int:
    """Keep a diagnosis in place of the one before; returns its number. The same again changes nothing.

    One of uploaded logs stays whatever the lines that agents kept say: they know no better than all of the log. One
    that was taken back after it was counted gets its old number. Must come first in its transaction, but for the lease:
    the failures of others wait for its end.

    Raises:
        GpuRowError: the job's name or a number cannot be kept, or the diagnosis is too long.
    """
    values = _values(row)
    take_turn(connection, COUNTER)
    counted = number_before(connection, row.job, row.number)
    given = {"revision": 1} if counted is None else {"revision": 1, "id": counted}
    statement = insert(connection, _T).values(values | given)
    said = [name for name in values if name not in ("job", "number", "found_ns")]
    differs = sa.or_(*(_T.c[name].is_distinct_from(statement.excluded[name]) for name in said))
    knows_more = sa.or_(_T.c.origin == "agents", statement.excluded.origin == "upload")
    changed: dict[str, Any] = {name: statement.excluded[name] for name in (*said, "found_ns")}
    upsert = statement.on_conflict_do_update(
        index_elements=["job", "number"],
        set_=changed | {"revision": _T.c.revision + 1},
        where=sa.and_(differs, knows_more),
    )
    written = connection.execute(upsert.returning(_T.c.id)).scalar_one_or_none()
    if written is not None:
        return int(written)
    query = sa.select(_T.c.id).where(_T.c.job == row.job, _T.c.number == row.number)
    return int(connection.execute(query).scalar_one())


def drop_failure(connection: sa.Connection, job: str, number: int, now_ns: int) -> bool:
    """Take back a diagnosis that agents' lines led to, and what was advised: the attempt did not fail after all.

    What was uploaded stays. Must come first in its transaction, as `put_failure`.
    """
    take_turn(connection, COUNTER)
    found = sa.delete(_T).where(_T.c.job == job, _T.c.number == number, _T.c.origin == "agents")
    gone = connection.execute(found.returning(_T.c.id)).scalar_one_or_none()
    if gone is None:
        return False
    note_taken_back(connection, job, number, gone, now_ns)
    connection.execute(sa.delete(gpu_advice).where(gpu_advice.c.job == job, gpu_advice.c.number == number))
    return True


def failures_of(connection: sa.Connection, job: str) -> list[FailureRow]:
    """What was found of a job's attempts, by number."""
    if not is_storable(job, NAME_MAX):
        return []
    query = _rows().where(_T.c.job == job).order_by(_T.c.number)
    return [FailureRow(**row._asdict()) for row in connection.execute(query)]


def unreported_of(connection: sa.Connection, jobs: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Job -> (number, when it failed) of its failures that only lines tell of, by number; only jobs with any."""
    found: dict[str, list[tuple[int, int]]] = {}
    for some in batched(sorted({job for job in jobs if is_storable(job, NAME_MAX)}), _AT_ONCE):
        query = sa.select(_T.c.job, _T.c.number, _T.c.failed_ns).order_by(_T.c.job, _T.c.number)
        query = query.where(_T.c.job.in_(some), _T.c.reported.is_(False), _T.c.origin == "agents")
        for job, number, failed_ns in connection.execute(query):
            found.setdefault(job, []).append((int(number), int(failed_ns)))
    return found


def list_failures(
    connection: sa.Connection,
    where: FailureFilter,
    *,
    limit: int,
    after: FailurePlace | None = None,
    with_diagnosis: bool = False,
) -> FailurePage:
    """A page of the list, newest first: the first one, or the one after a place.

    Pages neither repeat nor leave out a failure whose time stays. Without `with_diagnosis` these long texts are not
    read, and "" stands in their place.
    """
    wanted = {name: value for name in _EQUAL if (value := getattr(where, name)) is not None}
    wanted |= {name: storable_name(wanted[name], NAME_MAX) for name in _OUTSIDE if name in wanted}
    if not all(is_storable(value, NAME_MAX) for value in wanted.values() if isinstance(value, str)):
        return FailurePage((), None)  # nothing is called so; PostgreSQL would refuse to look for it
    conditions = [_T.c[name] == value for name, value in wanted.items()]
    if where.start_ns is not None:
        conditions.append(_T.c.failed_ns >= where.start_ns)
    if where.end_ns is not None:
        conditions.append(_T.c.failed_ns < where.end_ns)
    if after is not None:
        place = sa.tuple_(sa.literal(after.failed_ns), sa.literal(after.id))
        conditions.append(sa.tuple_(_T.c.failed_ns, _T.c.id) < place)
    query = _rows(with_diagnosis=with_diagnosis).where(*conditions)
    query = query.order_by(_T.c.failed_ns.desc(), _T.c.id.desc()).limit(limit + 1)
    rows = [FailureRow(**row._asdict()) for row in connection.execute(query)]
    last = rows[limit - 1] if len(rows) > limit else None
    return FailurePage(tuple(rows[:limit]), None if last is None else FailurePlace(last.failed_ns, last.id))


def failure_counts(connection: sa.Connection, start_ns: int, end_ns: int) -> list[FailureCount]:
    """Failures with `failed_ns` in [start_ns, end_ns), counted by category, reason, status and whether made up."""
    kinds = _T.c.category, _T.c.reason, _T.c.status, _T.c.synthetic
    query = sa.select(*kinds, sa.func.count(), sa.func.coalesce(sa.func.sum(_T.c.lost_gpu_s), 0.0))
    query = query.where(_T.c.failed_ns >= start_ns, _T.c.failed_ns < end_ns).group_by(*kinds)
    counts = [FailureCount(*row) for row in connection.execute(query)]
    return sorted(counts, key=lambda one: (one.category or "", one.reason or "", one.status, one.synthetic))


_EQUAL = ("job", "reason", "category", "user", "node", "status", "synthetic")
_OUTSIDE = ("node", "user")  # names that nobody may refuse: they come with logs
_COLUMNS = tuple(FailureRow.__slots__)


def _rows(*, with_diagnosis: bool = True) -> "sa.Select[Any]":
    without = {} if with_diagnosis else {"diagnosis": sa.literal("").label("diagnosis")}
    return sa.select(*(without.get(name, _T.c[name]) for name in _COLUMNS))


def _values(row: FailureRow) -> dict[str, Any]:
    """As the columns take it; of texts that are there to be read, what does not fit is cut."""
    values = {name: getattr(row, name) for name in _COLUMNS if name not in ("id", "revision")}
    for name in _OUTSIDE:
        if values[name] is not None:
            values[name] = storable_name(values[name], NAME_MAX)
    for name in ("action", "template"):
        if values[name] is not None:
            values[name] = storable_text(values[name], _TEXT_MAX)
    check_row(_T, values)
    return values
