"""What the job asks by itself: speed-ups learned again when enough requests came, and now and then a better table.

Asked as runs, like anybody's, so that what became of it is seen, errors too. A service is asked about once an interval,
by what its newest runs say: whoever dies in between leaves nothing asked twice.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from collector.jobs.config import TailConfig
from collector.jobs.pace import Pace
from collector.jobs.tail_questions import COLLECTOR
from collector.jobs.tail_waiting import read_unlearned, write_unlearned
from store.errors import ServiceLimitError
from store.tail_profiles import active_profile
from store.tail_runs import WAITING_MAX, Kind, RunRow, ask_run, list_runs
from store.tail_services import ServiceRow, get_service

#: Requests that came since, from which on learning again may tell more.
LEAST_REQUESTS: Final = 1_000
_DAY_NS: Final = 86_400 * 10**9
_KINDS: Final[tuple[Kind, ...]] = ("learn", "search")
#: As many as may wait, so that one that does is seen.
_RUNS_LOOKED_AT: Final = WAITING_MAX + 1
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
    for service, requests in sorted(unlearned.items()):
        if requests < LEAST_REQUESTS:
            continue
        with engine.connect() as connection:
            row = get_service(connection, service)
            runs = [run for kind in _KINDS for run in list_runs(connection, service, limit=_RUNS_LOOKED_AT, kind=kind)]
            known = active_profile(connection, service) is not None
        if row is None or row.settings.threads is None:
            continue
        questions = _due(row, runs, known, config, now_ns)
        for kind, request in questions.items():
            asked += _ask(engine, service, kind, request, now_ns, pace)
        pace.rest()
    return asked


def _due(
    row: ServiceRow, runs: list[RunRow], known: bool, config: TailConfig, now_ns: int
) -> dict[Kind, dict[str, Any]]:
    """Kind -> request."""
    found: dict[Kind, dict[str, Any]] = {}
    start_ns = max(0, now_ns - config.keep_days * _DAY_NS)
    if _is_due(runs, "learn", config.learn_every_s, now_ns):
        found["learn"] = {"start_ns": start_ns, "end_ns": now_ns, "instance": None, "class_edges_ms": None}
    # A search rests on speed-ups: the first waits for them.
    is_wanted = known and config.advise_every_s > 0 and row.settings.target_ms is not None
    if is_wanted and _is_due(runs, "search", config.advise_every_s, now_ns):
        found["search"] = {"start_ns": start_ns, "end_ns": now_ns, **_SEARCH}
    return found


def _is_due(runs: list[RunRow], kind: Kind, every_s: float, now_ns: int) -> bool:
    """Whether none of this kind waits, and the newest was asked long enough ago."""
    mine = [run for run in runs if run.kind == kind]
    if any(run.state in {"waiting", "running"} for run in mine):
        return False
    newest_ns = max((run.asked_ns for run in mine), default=None)
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
