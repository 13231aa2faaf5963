"""Attempts of jobs on GPUs, as schedulers tell of them: put together report by report, read by job, time or change.

Reports come late, twice and in parts: a start, an end, the same page of accounting every minute. What a report does not
say stays as it was, and one that says nothing new writes nothing. Whoever follows the changes misses none, whoever
reports meanwhile (store/gpu_counters.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from store.errors import GpuRowError
from store.gpu_checks import check_row, check_text
from store.gpu_counters import take_numbers
from store.gpu_tables import NAME_MAX, gpu_attempts
from store.texts import is_storable
from store.upsert import batched, insert

RUNNING: Final = "running"
OUTCOMES: Final = ("passed", "failed", "killed", "preempted", "timeout", "node_failure", RUNNING)
#: An attempt on more nodes than there are in the largest clusters is a mistake.
NODES_MAX: Final = 65_536

_T = gpu_attempts
_AT_ONCE = 500
_READ_AT_ONCE = 5_000
#: What the writers of attempts take their turns by.
COUNTER: Final = "attempts"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt as the reports told of it so far; a report is one itself.

    Attributes:
        number: from 1.
        user, queue: "" where unknown. nodes: empty where unknown.
        gpus: over all nodes, None where unknown. submitted_ns, start_ns, end_ns: None where unknown or not yet.
        outcome: one of OUTCOMES; `running` until a report says how it ended.
        synthetic: a generator made it up.
        reported_ns: when the newest report came that said something new.
        id, changed: given by the store: its number, and where its newest change stands among those of all attempts.
        damaged: given by the store: why its nodes cannot be read, and so are not known; "" where they can.
    """

    job: str
    number: int
    user: str = ""
    queue: str = ""
    nodes: tuple[str, ...] = ()
    gpus: float | None = None
    submitted_ns: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    outcome: str = RUNNING
    exit_code: int | None = None
    signal: int | None = None
    synthetic: bool = False
    reported_ns: int
    id: int = 0
    changed: int = 0
    damaged: str = ""

    @property
    def latest_ns(self) -> int:
        """The latest that is known of it: its end, else its start, else when it was submitted, else reported."""
        known = (time_ns for time_ns in (self.end_ns, self.start_ns, self.submitted_ns) if time_ns is not None)
        return next(known, self.reported_ns)


def put_attempts(connection: sa.Connection, rows: Sequence[AttemptRow]) -> int:
    """Take in reports, in this order; returns how many attempts are new or told of otherwise than before.

    A later report fills in and overrides what earlier ones said; what it does not know (None, "", no nodes) stays, and
    `running` never overrides how an attempt has ended. What was once synthetic stays so. Must come first in its
    transaction, which the reports of others wait for; the caller commits.

    Raises:
        GpuRowError: a text, number or time that cannot be kept; nothing was written.
    """
    for row in rows:
        check_attempt(row)
    if not rows:
        return 0
    first = take_numbers(connection, COUNTER, len(rows))
    now = _known(connection, {(row.job, row.number) for row in rows})
    changed: set[tuple[str, int]] = set()
    for row in rows:
        key = row.job, row.number
        before = now.get(key)
        after = row if before is None else merged(before, row)
        if after is not before:
            now[key] = after
            changed.add(key)
    _write(connection, [replace(now[key], changed=first + i) for i, key in enumerate(sorted(changed))])
    return len(changed)


def merged(before: AttemptRow, report: AttemptRow) -> AttemptRow:
    """What is known after a report; `before` itself where it said nothing new."""
    told: dict[str, Any] = {name: value for name in _FILLED if (value := getattr(report, name)) not in (None, "", ())}
    if report.outcome != RUNNING:
        told["outcome"] = report.outcome
    if report.synthetic:
        told["synthetic"] = True
    if all(getattr(before, name) == value for name, value in told.items()):
        return before
    return replace(before, **told, reported_ns=report.reported_ns, damaged="" if report.nodes else before.damaged)


def check_attempt(row: AttemptRow) -> None:
    """Refuse what no database can keep or nobody can mean.

    Raises:
        GpuRowError: the message names the field, what it holds and what is wanted.
    """
    check_row(_T, _values(row))
    for node in row.nodes:
        check_text("nodes", node, NAME_MAX, at_least=1)
    if len(row.nodes) > NODES_MAX:
        raise GpuRowError(f"nodes has {len(row.nodes)} names; want at most {NODES_MAX}")
    if row.outcome not in OUTCOMES:
        raise GpuRowError(f"outcome is {row.outcome[:80]!r}; want {', '.join(OUTCOMES)}")


def attempts_of(connection: sa.Connection, jobs: Sequence[str]) -> dict[str, list[AttemptRow]]:
    """Job -> its attempts by number, of each of these jobs that is known."""
    found: dict[str, list[AttemptRow]] = {}
    # A name that cannot be stored is nobody's; PostgreSQL would refuse to look for it.
    for some in batched(sorted({job for job in jobs if is_storable(job, NAME_MAX)}), _AT_ONCE):
        query = _rows().where(_T.c.job.in_(some)).order_by(_T.c.job, _T.c.number)
        for row in connection.execute(query):
            found.setdefault(row.job, []).append(_attempt(row))
    return found


def changed_attempts(connection: sa.Connection, after: int, limit: int) -> list[AttemptRow]:
    """Attempts whose newest change has a larger number than `after`, by that number; 0 is before all.

    Going on after the last one's `changed`, a reader sees the newest state of every attempt at least once.
    """
    query = _rows().where(_T.c.changed > after).order_by(_T.c.changed).limit(limit)
    return [_attempt(row) for row in connection.execute(query)]


def attempts_between(connection: sa.Connection, start_ns: int, end_ns: int) -> Iterator[AttemptRow]:
    """Attempts whose `latest_ns` lies in [start_ns, end_ns), by that time; read some at a time.

    One that is told of anew meanwhile may come twice, unless the transaction sees one state of the database.
    """
    place = start_ns, 0
    while True:
        query = _rows().where(
            sa.tuple_(_T.c.latest_ns, _T.c.id) > sa.tuple_(*map(sa.literal, place)), _T.c.latest_ns < end_ns
        )
        some = [
            _attempt(row) for row in connection.execute(query.order_by(_T.c.latest_ns, _T.c.id).limit(_READ_AT_ONCE))
        ]
        yield from some
        if len(some) < _READ_AT_ONCE:
            return
        place = some[-1].latest_ns, some[-1].id


_FILLED = (
    "user", "queue", "nodes", "gpus", "submitted_ns", "start_ns", "end_ns", "exit_code", "signal",
)  # fmt: skip
_COLUMNS = tuple(name for name in AttemptRow.__slots__ if name != "damaged")
_WRITTEN = tuple(name for name in _COLUMNS if name != "id")


def _known(connection: sa.Connection, keys: set[tuple[str, int]]) -> dict[tuple[str, int], AttemptRow]:
    """Those of these attempts that are there.

    PostgreSQL plans a list of 500 jobs at once, and a list of 500 pairs for a tenth of a second and longer.
    """
    found: dict[tuple[str, int], AttemptRow] = {}
    for some in batched(sorted(keys), _AT_ONCE):
        jobs, numbers = {job for job, _ in some}, {number for _, number in some}
        query = _rows().where(_T.c.job.in_(sorted(jobs)), _T.c.number.between(min(numbers), max(numbers)))
        found |= {(row.job, row.number): _attempt(row) for row in connection.execute(query)}
    return found


def _write(connection: sa.Connection, rows: Sequence[AttemptRow]) -> None:
    if not rows:
        return
    # Whole, also those that were there: retention may delete one meanwhile.
    statement = insert(connection, _T)
    written = {name: statement.excluded[name] for name in (*_WRITTEN, "latest_ns") if name not in ("job", "number")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["job", "number"], set_=written),
        [_values(row) | {"nodes": msgspec.json.encode(row.nodes).decode()} for row in rows],
    )


def _values(row: AttemptRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*_WRITTEN, "latest_ns")}


def _rows() -> "sa.Select[Any]":
    return sa.select(*(_T.c[name] for name in _COLUMNS))


def _attempt(row: "sa.Row[Any]") -> AttemptRow:
    values = row._asdict()
    try:
        known: dict[str, Any] = {"nodes": msgspec.json.decode(values["nodes"], type=tuple[str, ...])}
    except msgspec.MsgspecError as error:
        known = {"nodes": (), "damaged": f"its nodes: {error}"}
    return AttemptRow(**values | known)
