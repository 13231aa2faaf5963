"""What of services is kept no longer: recorded requests, minutes, answers, changes of alerts, each by its own time.

Each call deletes a few rows, the oldest first, in the caller's transaction, which holds the job's lease; called until
it returns 0, it never makes anybody wait long.
"""

import sqlalchemy as sa

from store.gpu_counters import take_turn
from store.old_rows import delete_old
from store.tail_batches import COUNTER
from store.tail_tables import (
    tail_alert_changes,
    tail_alerts,
    tail_batches,
    tail_minutes,
    tail_profiles,
    tail_runs,
    tail_services,
    tail_target_changes,
    tail_target_tables,
)

#: Small rows, and batches of some ten kilobytes to some megabytes.
ROWS_AT_ONCE = 1_000
BATCHES_AT_ONCE = 100
SERVICES_AT_ONCE = 20
#: Profiles of a service that stay, with the active one.
PROFILES_KEPT = 20


def forget_services(connection: sa.Connection, *, batches_before_ns: int, before_ns: int) -> int:
    """One small step of forgetting; how many rows went. Called until it returns 0.

    Args:
        batches_before_ns: batches whose last request arrived before then go.
        before_ns: minutes before then, runs that ended and alerts that changed before then go, and services of which
            nothing has been heard since and which nobody has set.
    """
    steps = (
        (forget_batches, batches_before_ns),
        (forget_minutes, before_ns),
        (forget_runs, before_ns),
        (forget_alert_changes, before_ns),
        (forget_unheard, before_ns),
    )
    for forget, time_ns in steps:
        if gone := forget(connection, time_ns):
            return gone
    return forget_profiles(connection)


def forget_batches(connection: sa.Connection, before_ns: int, limit: int = BATCHES_AT_ONCE) -> int:
    """Delete batches whose last request arrived before then, at most `limit`; returns how many."""
    t = tail_batches
    return delete_old(connection, t, [t.c.id], t.c.to_ns, before_ns, limit)


def forget_minutes(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete minutes that began before then, at most `limit`; returns how many."""
    t = tail_minutes
    return delete_old(connection, t, [t.c.service, t.c.start_ns], t.c.start_ns, before_ns, limit)


def forget_runs(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete runs that ended before then, at most `limit`; returns how many. What waits or runs stays."""
    t = tail_runs
    return delete_old(connection, t, [t.c.id], t.c.ended_ns, before_ns, limit)


def forget_alert_changes(connection: sa.Connection, before_ns: int, limit: int = ROWS_AT_ONCE) -> int:
    """Delete changes of alerts before then, at most `limit`; returns how many. What alerts are now stays."""
    t = tail_alert_changes
    return delete_old(connection, t, [t.c.id], t.c.changed_ns, before_ns, limit)


def forget_profiles(connection: sa.Connection, keep: int = PROFILES_KEPT, limit: int = ROWS_AT_ONCE) -> int:
    """Delete profiles of which `keep` newer ones are there, but never an active one; returns how many."""
    t, newer = tail_profiles, tail_profiles.alias()
    younger = sa.select(sa.func.count()).where(newer.c.service == t.c.service, newer.c.version > t.c.version)
    old = sa.select(t.c.service, t.c.version).where(~t.c.active, younger.scalar_subquery() >= keep).limit(limit)
    return connection.execute(sa.delete(t).where(sa.tuple_(t.c.service, t.c.version).in_(old))).rowcount


def forget_unheard(connection: sa.Connection, before_ns: int, limit: int = SERVICES_AT_ONCE) -> int:
    """Delete services first heard of before then of which nothing recorded is left; returns how many.

    One whose settings somebody has set, or that has a table of targets in use, stays.
    """
    t = tail_services
    batches = sa.exists().where(tail_batches.c.service == t.c.service)
    minutes = sa.exists().where(tail_minutes.c.service == t.c.service)
    in_use = sa.exists().where(tail_target_tables.c.service == t.c.service, tail_target_tables.c.state == "active")
    open_runs = sa.exists().where(tail_runs.c.service == t.c.service, tail_runs.c.ended_ns.is_(None))
    old = sa.select(t.c.service).where(t.c.version == 0, t.c.first_ns < before_ns)
    silent = old.where(~batches, ~minutes, ~in_use, ~open_runs).order_by(t.c.service).limit(limit)
    if connection.execute(silent).first() is None:
        return 0
    # Requests that are being taken in now are waited for; settings that are being set are found when this one deletes.
    take_turn(connection, COUNTER)
    names = connection.execute(silent).scalars().all()
    gone = sa.delete(t).where(t.c.service.in_(names), t.c.version == 0).returning(t.c.service)
    forgotten = connection.execute(gone).scalars().all()
    for table in (
        tail_profiles, tail_target_tables, tail_target_changes, tail_runs, tail_alerts, tail_alert_changes,
    ):  # fmt: skip
        connection.execute(sa.delete(table).where(table.c.service.in_(forgotten)))
    return len(forgotten)
