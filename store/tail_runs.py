"""Questions about a service that take long: asked by anybody, answered by one job, one at a time.

    waiting -> running -> done | refused | failed
                       -> cancelled, which also those that wait may be

A run that is running belongs to the process that took it; when that process died, the next one has it wait again. Who
answers asks, with every step of progress, whether anybody still wants to know.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa

from store.errors import ServiceLimitError
from store.gpu_counters import take_turn
from store.tail_documents import Document, as_text, document_of
from store.tail_services import check_name, known_service
from store.tail_tables import NAME_MAX, tail_runs
from store.texts import is_storable, storable_text

Kind: TypeAlias = Literal["what_if", "search", "learn"]
State: TypeAlias = Literal["waiting", "running", "done", "refused", "failed", "cancelled"]
Outcome: TypeAlias = Literal["done", "refused", "failed"]
#: Questions about one service, and about all together, that wait at a time.
WAITING_MAX: Final = 20
WAITING_IN_ALL_MAX: Final = 200
#: Who asks what nobody asked for.
COLLECTOR: Final = "collector"
_TEXT_MAX = 256
_ERROR_MAX = 20_000
_ID_MAX = 32
#: Of the job that answers.
LEASE: Final = "tail"
_COUNTER = "tail runs"
_T = tail_runs
_UNBEGUN: Final[dict[str, Any]] = {
    "state": "waiting", "owner": "", "started_ns": None, "progress": 0.0, "progress_text": ""
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunRow:
    """A question and what is known of its answer.

    Attributes:
        progress: 0 to 1; progress_text: what is done now, "" before and after.
        attempts: how often somebody has begun to answer it. owner: the process that does now, "" while it waits.
        answer: a document, None until it is done or refused. error: why it failed, in words.
    """

    id: str
    service: str
    kind: Kind
    state: State
    progress: float
    progress_text: str
    asked_ns: int
    asked_by: str
    started_ns: int | None
    ended_ns: int | None
    attempts: int
    owner: str
    error: str | None
    request: dict[str, Any]
    answer: dict[str, Any] | None


def ask_run(
    connection: sa.Connection,
    service: str,
    kind: Kind,
    request: Document,
    now_ns: int,
    *,
    asked_by: str = "",
    fresh: bool = False,
) -> tuple[RunRow, bool]:
    """Have a question answered: (its run, True), or (that of an equal one which waits or is worked on, False).

    Must come first in its transaction; the caller commits. Of two that ask the same at once, one gets the other's run.

    Args:
        fresh: a run of its own, whatever is asked already.
    Raises:
        UnknownServiceError: there is no such service. ServiceRowError: the question cannot be kept.
        ServiceLimitError: too many questions wait.
    """
    text = as_text("a question", request)
    check_name("service", service)
    take_turn(connection, _COUNTER)
    known_service(connection, service)
    if not fresh:
        open_ones = sa.select(_T).where(
            _T.c.service == service, _T.c.kind == kind, _T.c.state.in_(["waiting", "running"]), _T.c.request == text
        )
        row = connection.execute(open_ones.order_by(_T.c.asked_ns.desc(), _T.c.id.desc()).limit(1)).one_or_none()
        if row is not None:
            return _row(row), False
    waiting = sa.select(sa.func.count()).select_from(_T).where(_T.c.state == "waiting")
    own = connection.execute(waiting.where(_T.c.service == service)).scalar_one()
    if own >= WAITING_MAX or connection.execute(waiting).scalar_one() >= WAITING_IN_ALL_MAX:
        raise ServiceLimitError(
            f"{own} questions about {service!r} wait already; at most {WAITING_MAX} may, and {WAITING_IN_ALL_MAX} "
            "about all services: wait for their answers, or cancel some",
            WAITING_MAX,
        )
    number = secrets.token_hex(8)
    connection.execute(
        sa.insert(_T).values(
            id=number,
            service=service,
            kind=kind,
            state="waiting",
            progress=0.0,
            progress_text="",
            asked_ns=now_ns,
            asked_by=storable_text(asked_by, NAME_MAX),
            attempts=0,
            owner="",
            request=text,
        )
    )
    found = get_run(connection, service, number)
    assert found is not None
    return found, True


def next_run(connection: sa.Connection, owner: str, now_ns: int) -> RunRow | None:
    """The question that has waited longest, people's before a job's; it is this process's to answer now; None: none.

    Must come first in its transaction, but for the lease; the caller commits.
    """
    take_turn(connection, _COUNTER)
    own = sa.case((_T.c.asked_by == COLLECTOR, 1), else_=0)
    query = sa.select(_T.c.id).where(_T.c.state == "waiting").order_by(own, _T.c.asked_ns, _T.c.id).limit(1)
    started = {"state": "running", "owner": owner, "started_ns": now_ns, "progress": 0.0, "progress_text": ""}
    while (number := connection.execute(query).scalar_one_or_none()) is not None:
        # Who cancels takes no turn: what is cancelled since it was read stays so.
        mine = sa.update(_T).where(_T.c.id == number, _T.c.state == "waiting")
        if connection.execute(mine.values(**started, attempts=_T.c.attempts + 1)).rowcount:
            return _row(connection.execute(sa.select(_T).where(_T.c.id == number)).one())
    return None


def count_waiting(connection: sa.Connection) -> int:
    """How many questions wait, about all services."""
    return int(connection.execute(sa.select(sa.func.count()).where(_T.c.state == "waiting")).scalar_one())


def asked_last(connection: sa.Connection, service: str, kind: Kind) -> tuple[int | None, bool]:
    """When a question of this kind was asked last, None where none is kept; whether any waits or is worked on."""
    # The index of open ones, which are few; then the newest alone.
    is_open = sa.select(_T.c.id).where(
        _T.c.service == service, _T.c.kind == kind, _T.c.state.in_(["waiting", "running"])
    )
    newest = sa.select(_T.c.asked_ns).where(_T.c.service == service, _T.c.kind == kind)
    asked_ns = connection.execute(newest.order_by(_T.c.asked_ns.desc()).limit(1)).scalar_one_or_none()
    return asked_ns, connection.execute(is_open.limit(1)).first() is not None


def note_progress(connection: sa.Connection, run: str, owner: str, progress: float, text: str) -> bool:
    """Say how far the answer is; False: nobody wants it any more, or it is another process's now."""
    values = {"progress": min(max(progress, 0.0), 1.0), "progress_text": storable_text(text, _TEXT_MAX)}
    return connection.execute(sa.update(_T).where(*_own(run, owner)).values(values)).rowcount == 1


def end_run(
    connection: sa.Connection,
    run: str,
    owner: str,
    state: Outcome,
    now_ns: int,
    *,
    answer: Document | None = None,
    error: str | None = None,
) -> bool:
    """Give the answer; False: it was cancelled or is another process's now, and nothing is written.

    Raises:
        ServiceRowError: the answer cannot be kept.
    """
    values: dict[str, object] = {
        "state": state,
        "ended_ns": now_ns,
        "progress_text": "",
        "answer": None if answer is None else as_text("an answer", answer),
        "error": None if error is None else storable_text(error, _ERROR_MAX),
    }
    if state == "done":
        values["progress"] = 1.0
    return connection.execute(sa.update(_T).where(*_own(run, owner)).values(values)).rowcount == 1


def release_run(connection: sa.Connection, run: str, owner: str) -> bool:
    """Leave a run to whoever works next, as if it had not been begun; False: it is not this process's."""
    values = _UNBEGUN | {"attempts": _T.c.attempts - 1}
    return connection.execute(sa.update(_T).where(*_own(run, owner)).values(values)).rowcount == 1


def take_back_runs(connection: sa.Connection, most_attempts: int, now_ns: int) -> int:
    """Have what was being answered wait again; how many. Only for who holds the job's lease, and answers none itself.

    One that was begun `most_attempts` times, and never came to an end, has failed.
    """
    running = sa.update(_T).where(_T.c.state == "running")
    died = f"whoever worked on it died, {most_attempts} times; ask about less: a shorter time, or another question"
    last = sa.case((_T.c.progress_text == "", ""), else_=sa.literal("; the last time while ") + _T.c.progress_text)
    failed = {"state": "failed", "ended_ns": now_ns, "error": sa.literal(died) + last, "progress_text": ""}
    connection.execute(running.where(_T.c.attempts >= most_attempts).values(failed))
    return connection.execute(running.values(_UNBEGUN)).rowcount


def get_run(connection: sa.Connection, service: str, run: str) -> RunRow | None:
    """One run of a service, None where it is not kept."""
    if not is_storable(run, _ID_MAX) or not is_storable(service, NAME_MAX):
        return None
    row = connection.execute(sa.select(_T).where(_T.c.id == run, _T.c.service == service)).one_or_none()
    return None if row is None else _row(row)


def list_runs(
    connection: sa.Connection,
    service: str,
    before: tuple[int, str] | None = None,
    limit: int = 100,
    *,
    kind: Kind | None = None,
    state: State | None = None,
) -> list[RunRow]:
    """Runs of a service, the newest first; those asked before one with this (asked_ns, id), of one kind or state."""
    query = sa.select(_T).where(_T.c.service == service)
    if kind is not None:
        query = query.where(_T.c.kind == kind)
    if state is not None:
        query = query.where(_T.c.state == state)
    if before is not None:
        query = query.where(sa.tuple_(_T.c.asked_ns, _T.c.id) < sa.tuple_(*map(sa.literal, before)))
    rows = connection.execute(query.order_by(_T.c.asked_ns.desc(), _T.c.id.desc()).limit(limit))
    return [_row(row) for row in rows]


def cancel_run(connection: sa.Connection, service: str, run: str, now_ns: int) -> RunRow | None:
    """Want no answer any more; one that is there stays. None: there is no such run. The caller commits."""
    if not is_storable(run, _ID_MAX) or not is_storable(service, NAME_MAX):
        return None
    open_ones = (_T.c.id == run, _T.c.service == service, _T.c.state.in_(["waiting", "running"]))
    connection.execute(sa.update(_T).where(*open_ones).values(state="cancelled", ended_ns=now_ns, progress_text=""))
    return get_run(connection, service, run)


def _own(run: str, owner: str) -> "tuple[sa.ColumnElement[bool], ...]":
    return _T.c.id == run, _T.c.owner == owner, _T.c.state == "running"


def _row(row: "sa.Row[Any]") -> RunRow:
    values = row._asdict()
    values["request"] = document_of(values["request"])
    values["answer"] = None if values["answer"] is None else document_of(values["answer"])
    return RunRow(**values)
