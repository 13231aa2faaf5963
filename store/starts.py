"""Starts of agents: in which order they came, and whether two of one agent id are alive at once.

An agent's clock orders its starts only as long as it is right: one that was an hour ahead and has been set back would
make every later start look older for an hour. So a start never counts as begun later than it was first heard of, and
always as begun after the start that it says came before it.

Two starts of one id are alive at once when, by the agents' own clocks, both were running for more than CLASH_NS, and
when both were heard of for that long after both were known. The first alone would accuse an agent that moved between
machines whose clocks differ, the second alone one whose old heartbeats are still on their way in a partition that lags
behind. A restart, on the same machine or another, meets neither; a backlog of heartbeats that an earlier start left in
the spool was made before the next one began. Machine ids do not decide: two containers may share one.
A row is written by the owner of the start's partition only, so no two flushes wait for each other here.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from store import tables
from store.fleet import AgentReport, sane
from store.interruptions import ID_SHARED, ID_SHARED_BY_REPLAYS, Interruption, stretch_interruption
from store.upsert import batched, insert, larger

log = logging.getLogger(__name__)

CLASH_NS = 60 * 10**9
_AGENTS_PER_QUERY = 500
_T = tables.starts


@dataclass(frozen=True, slots=True)
class _Start:
    agent: str
    incarnation: str
    host: str
    machine_id: str
    started_ns: int
    order_ns: int
    sent_ns: int
    clash_with: str


def note_starts(
    connection: sa.Connection, reports: Sequence[AgentReport], now_ns: int, forget_before_ns: int
) -> dict[tuple[str, str], int]:
    """Write down who was heard of; returns by (agent, incarnation) when each start counts as begun.

    A new start of an agent makes those of its starts be forgotten that were not heard of since `forget_before_ns`.
    """
    keys = sorted((report.agent, report.incarnation) for report in reports)
    orders: dict[tuple[str, str], int] = {}
    for some in batched(keys, _AGENTS_PER_QUERY):
        rows = connection.execute(
            sa.select(_T.c.agent, _T.c.incarnation, _T.c.order_ns).where(
                _T.c.agent.in_({agent for agent, _ in some}), _T.c.incarnation.in_({start for _, start in some})
            )
        )
        orders |= {(row.agent, row.incarnation): row.order_ns for row in rows}
    new = sorted(
        (report for report in reports if (report.agent, report.incarnation) not in orders),
        key=lambda report: (report.agent, report.incarnation),
    )
    for some_new in batched(new, _AGENTS_PER_QUERY):
        _forget(connection, {report.agent for report in some_new}, forget_before_ns)
        orders |= _orders(connection, some_new, now_ns)
    _write(connection, [_row(report, orders, now_ns) for report in reports])
    return orders


def note_shared_ids(connection: sa.Connection, reports: Sequence[AgentReport]) -> int:
    """Put in doubt what agents say whose id is in use twice; returns how many such pairs are new, and logs each once.

    The agents' rows are written already in this transaction: another flush that speaks of the same agent waits there.
    """
    newest: dict[tuple[str, str], tuple[_Start, _Start]] = {}
    keys = sorted((report.agent, report.incarnation) for report in reports)
    for some in batched(keys, _AGENTS_PER_QUERY):
        for one, other in _alive_together(connection, some):
            _doubt(connection, one.agent, max(one.started_ns, other.started_ns), min(one.sent_ns, other.sent_ns))
            if (other.order_ns, other.incarnation) < (one.order_ns, one.incarnation):
                newest[one.agent, one.incarnation] = other, one  # they come in order: the newest of the others stays
    told = [(earlier, later) for earlier, later in newest.values() if later.clash_with != earlier.incarnation]
    for earlier, later in told:
        _tell(connection, earlier, later)
    return len(told)


def shared_ids(connection: sa.Connection, alive_since_ns: int) -> Mapping[str, list[str]]:
    """Agent id -> the hosts that use it at once, by name; only ids of which two starts were heard of since then."""
    other = _T.alias()
    rows = connection.execute(
        sa.select(_T.c.agent, _T.c.host, other.c.host.label("other"))
        .join(other, sa.and_(other.c.agent == _T.c.agent, other.c.incarnation == _T.c.clash_with))
        .where(_T.c.clash_with != "", _T.c.seen_ns >= alive_since_ns, other.c.seen_ns >= alive_since_ns)
    )
    hosts: dict[str, set[str]] = {}
    for row in rows:
        hosts.setdefault(row.agent, set()).update((row.host, row.other))
    return {agent: sorted(names) for agent, names in hosts.items()}


def _orders(connection: sa.Connection, new: Sequence[AgentReport], now_ns: int) -> dict[tuple[str, str], int]:
    """When each of these starts counts as begun: after the one before it, before the one that follows it."""
    names, before = {report.incarnation for report in new}, {report.previous for report in new if report.previous}
    rows = connection.execute(
        sa.select(_T.c.agent, _T.c.incarnation, _T.c.previous, _T.c.order_ns).where(
            _T.c.agent.in_({report.agent for report in new}),
            sa.or_(_T.c.incarnation.in_(before), _T.c.previous.in_(names)),
        )
    ).all()
    known = {(row.agent, row.incarnation): row.order_ns for row in rows}
    followed: dict[tuple[str, str], int] = {}
    for row in rows:
        followed[row.agent, row.previous] = min(row.order_ns, followed.get((row.agent, row.previous), row.order_ns))
    found: dict[tuple[str, str], int] = {}
    for report in new:
        key, previous = (report.agent, report.incarnation), (report.agent, report.previous)
        order_ns = min(sane(report.started_ns), now_ns)
        if report.previous and previous in known:
            order_ns = max(order_ns, known[previous] + 1)
        if key in followed:
            order_ns = min(order_ns, followed[key] - 1)
        found[key] = known[key] = order_ns
        followed[previous] = min(order_ns, followed.get(previous, order_ns))
    return found


def _forget(connection: sa.Connection, agents: set[str], before_ns: int) -> None:
    connection.execute(sa.delete(_T).where(_T.c.agent.in_(agents), _T.c.seen_ns < before_ns))


def _row(report: AgentReport, orders: Mapping[tuple[str, str], int], now_ns: int) -> dict[str, Any]:
    return {
        "agent": report.agent,
        "incarnation": report.incarnation,
        "previous": report.previous,
        "host": report.host,
        "machine_id": report.machine_id,
        "started_ns": sane(report.started_ns),
        "order_ns": orders[report.agent, report.incarnation],
        "sent_ns": sane(report.sent_ns),
        "first_seen_ns": now_ns,
        "seen_ns": now_ns,
    }


def _write(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    statement = insert(connection, _T)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent", "incarnation"],
            set_={"sent_ns": larger(_T.c.sent_ns, new.sent_ns), "seen_ns": larger(_T.c.seen_ns, new.seen_ns)},
        ),
        sorted(rows, key=lambda row: (row["agent"], row["incarnation"])),
    )


def _alive_together(
    connection: sa.Connection, starts: Sequence[tuple[str, str]]
) -> Iterator[tuple["_Start", "_Start"]]:
    """(one of these, another of its agent that is or was alive beside it), in the order of the others."""
    one, other = _T.alias(), _T.alias()
    both = (one, other), (other, one), (one, one), (other, other)
    names = _Start.__slots__
    rows = connection.execute(
        sa.select(
            *(table.c[name].label(f"{prefix}_{name}") for prefix, table in (("a", one), ("b", other)) for name in names)
        )
        .join(other, sa.and_(other.c.agent == one.c.agent, other.c.incarnation != one.c.incarnation))
        .where(
            one.c.agent.in_({agent for agent, _ in starts}),
            one.c.incarnation.in_({incarnation for _, incarnation in starts}),
            *(x.c.sent_ns > y.c.started_ns + CLASH_NS for x, y in both),
            *(x.c.seen_ns > y.c.first_seen_ns + CLASH_NS for x, y in both),
        )
        .order_by(one.c.agent, one.c.incarnation, other.c.order_ns, other.c.incarnation)
    ).all()
    pairs = [(_Start(*row[: len(names)]), _Start(*row[len(names) :])) for row in rows]
    before = _before(connection, {one.agent for one, _ in pairs})
    for first, second in pairs:
        # Of one spool, and so one after the other; the earlier one's frames may go on for long.
        if not (_follows(before, first, second) or _follows(before, second, first)):
            yield first, second


def _before(connection: sa.Connection, agents: set[str]) -> dict[tuple[str, str], str]:
    """(agent, incarnation) -> the one before it."""
    if not agents:
        return {}
    rows = connection.execute(sa.select(_T.c.agent, _T.c.incarnation, _T.c.previous).where(_T.c.agent.in_(agents)))
    return {(row.agent, row.incarnation): row.previous for row in rows}


def _follows(before: Mapping[tuple[str, str], str], later: "_Start", earlier: "_Start") -> bool:
    """Whether the one comes after the other in its spool, next or further on."""
    seen, at = set[str](), later.incarnation
    while at and at not in seen:
        seen.add(at)
        at = before.get((later.agent, at), "")
        if at == earlier.incarnation:
            return True
    return False


def _doubt(connection: sa.Connection, agent: str, from_ns: int, to_ns: int) -> None:
    """Nobody knows for which of the two a watermark speaks: the time is in doubt, a replay as a whole."""
    progress = tables.progress
    for row in connection.execute(
        sa.select(progress.c.version_id, progress.c.replayable).where(progress.c.agent == agent)
    ).all():
        reason = ID_SHARED_BY_REPLAYS if row.replayable else ID_SHARED
        stretch_interruption(connection, Interruption(agent, row.version_id, from_ns, to_ns, reason))


def _tell(connection: sa.Connection, earlier: "_Start", later: "_Start") -> None:
    connection.execute(
        sa.update(_T)
        .where(_T.c.agent == later.agent, _T.c.incarnation == later.incarnation)
        .values(clash_with=earlier.incarnation)
    )
    log.warning(
        "agent id used twice agent=%s host=%s machine=%s and host=%s machine=%s; give one of them another agent.id",
        later.agent, earlier.host, earlier.machine_id, later.host, later.machine_id,
    )  # fmt: skip
