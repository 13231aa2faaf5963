"""What the job asks by itself: speed-ups learned again when enough requests came, and now and then a better table.

Asked as runs, like anybody's, so that what became of it is seen, errors too. A service is asked about once an interval,
by what its newest runs say: whoever dies in between leaves nothing asked twice. Where more is due than may wait, those
come first of which the most requests are new, so that each has its turn.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from collector.jobs.config import TailConfig
from collector.jobs.pace import Pace
from collector.jobs.tail_waiting import read_unlearned, write_unlearned
from store.errors import ServiceLimitError
from store.tail_profiles import active_profile
from store.tail_runs import COLLECTOR, WAITING_IN_ALL_MAX, Kind, ask_run, asked_last, count_waiting
from store.tail_services import ServiceRow, get_service

#: Requests that came since, from which on learning again may tell more.
LEAST_REQUESTS: Final = 1_000
_DAY_NS: Final = 86_400 * 10**9
#: Of the places for questions that wait, so many are left to people.
_MOST_WAITING: Final = WAITING_IN_ALL_MAX // 4
_SEARCH: Final[Mapping[str, Any]] = {
    "instance": None,
    "metric": "threads_and_queue",
    "width": None,
    "p999_weight": 0.5,
    "mean_weight": 1.0,
    "mean_over_sequential": 1.08,
    "note": "",
}


def ask(engine: sa.Engine, config: TailConfig, now_ns: int, pace: Pace) -> int:
    """Ask what is due of all services with new requests; returns how many runs that are.

    Raises:
        LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was asked stays asked, the rest is due.
    """
    with engine.connect() as connection:
        unlearned = read_unlearned(connection)
    asked = 0
    for service, requests in sorted(unlearned.items(), key=lambda one: (-one[1], one[0])):
        if requests < LEAST_REQUESTS:
            break
        with engine.connect() as connection:
            if count_waiting(connection) >= _MOST_WAITING:
                break
            row = get_service(connection, service)
            if row is None or row.settings.threads is None:
                continue
            questions = _due(connection, row, config, now_ns)
        for kind, request in questions.items():
            asked += _ask(engine, service, kind, request, now_ns, pace)
        pace.rest()
    return asked


def _due(connection: sa.Connection, row: ServiceRow, config: TailConfig, now_ns: int) -> dict[Kind, dict[str, Any]]:
    """Kind -> request."""
    found: dict[Kind, dict[str, Any]] = {}
    start_ns = max(0, now_ns - config.keep_days * _DAY_NS)
    if _is_due(connection, row.service, "learn", config.learn_every_s, now_ns):
        found["learn"] = {"start_ns": start_ns, "end_ns": now_ns, "instance": None, "class_edges_ms": None}
    is_wanted = config.advise_every_s > 0 and row.settings.target_ms is not None
    # A search rests on speed-ups: the first waits for them.
    if (
        is_wanted
        and _is_due(connection, row.service, "search", config.advise_every_s, now_ns)
        and active_profile(connection, row.service) is not None
    ):
        found["search"] = {"start_ns": start_ns, "end_ns": now_ns, **_SEARCH}
    return found


def _is_due(connection: sa.Connection, service: str, kind: Kind, every_s: float, now_ns: int) -> bool:
    """Whether none of this kind waits, and the newest was asked long enough ago."""
    newest_ns, is_open = asked_last(connection, service, kind)
    if is_open:
        return False
    return newest_ns is None or not newest_ns <= now_ns < newest_ns + round(every_s * 1e9)


def _ask(engine: sa.Engine, service: str, kind: Kind, request: dict[str, Any], now_ns: int, pace: Pace) -> int:
    try:
        with engine.begin() as connection:
            pace.hold(connection)
            ask_run(connection, service, kind, request, now_ns, asked_by=COLLECTOR)
            if kind == "learn":
                write_unlearned(connection, {service: 0}, now_ns)
    except ServiceLimitError:
        return 0  # too many wait, as people see who ask; asked in a later round
    return 1
