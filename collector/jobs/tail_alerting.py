"""Alerts of services: evaluated when their minutes changed, and every five minutes, and written down as they change.

What they hang on beside minutes is read here: speed-ups in use and the newest learned, the table in use, the newest
forecast, and whether the objective is below what the work itself takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from analytics.errors import AnalyticsError
from analytics.tail.causes import Unreachable, unreachable
from analytics.tail.effective import effective_ms
from analytics.tail.learning import LearnedProfile, works_ms
from analytics.tail.profile_documents import profile_from
from analytics.tail.tail_alerts import Advice, Alert, Context, Promise, evaluate
from collector.jobs.pace import Pace
from collector.jobs.tail_minute_shelf import DAY_NS, MinuteShelf
from collector.jobs.tail_services import KnownService, buckets_of, known_as, samples_of
from store.errors import LeaseLostError
from store.tail_alerts import AlertRow, list_alerts, put_alerts
from store.tail_batches import read_columns
from store.tail_profiles import list_profiles
from store.tail_runs import Kind, RunRow, State, list_runs
from store.tail_services import ServiceRow, get_service, list_services

_EVERY_NS: Final = 300 * 10**9
_HOUR_NS: Final = 3600 * 10**9
#: Requests that tell whether an objective can be reached.
_MOST_LOOKED_AT: Final = 20_000
#: Forecasts among which the newest for the service as it is is looked for.
_FORECASTS: Final = 10


@dataclass(frozen=True, slots=True)
class _Reachable:
    """What was found of an objective, by which settings and profile, and when."""

    found: Unreachable | None
    by: tuple[int, int]
    at_ns: int


class Alerting:
    """Evaluates them; remembers minutes and when each service was looked at."""

    def __init__(self, engine: sa.Engine, shelf: MinuteShelf) -> None:
        self._engine = engine
        self._shelf = shelf
        self._looked: dict[str, int] = {}
        self._reachable: dict[str, _Reachable] = {}

    def look(self, changed: Iterable[str], now_ns: int, pace: Pace) -> int:
        """All services that are due; returns how many. One that fails keeps no other from it.

        Raises:
            LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was written is written, the rest is due.
        """
        with self._engine.connect() as connection:
            services = list_services(connection)
            firing = {one.service for one in list_alerts(connection, firing=True)}
        news, looked = set(changed), 0
        names = {row.service for row in services}
        self._looked = {name: at_ns for name, at_ns in self._looked.items() if name in names}
        self._reachable = {name: one for name, one in self._reachable.items() if name in names}
        for row in services:
            due = self._looked.get(row.service, 0) + _EVERY_NS <= now_ns
            if row.settings.target_ms is None:
                if row.service in firing:
                    self._end(row.service, now_ns, pace)
                continue
            if not (due or row.service in news):
                continue
            try:
                self._look(row, now_ns, pace)
            except (LeaseLostError, sa.exc.SQLAlchemyError):
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said and counted
                pace.spare(f"alerts of {row.service[:80]}", error)
            self._looked[row.service] = now_ns
            looked += 1
            pace.rest()
        return looked

    def _look(self, row: ServiceRow, now_ns: int, pace: Pace) -> None:
        settings = row.settings
        assert settings.target_ms is not None
        with self._engine.connect() as connection:
            minutes, requests, slow = self._shelf.table(connection, row.service, settings, now_ns)
            service = known_as(connection, row)
            context = Context(
                now_ns,
                [_alert(one) for one in list_alerts(connection, row.service)],
                requests,
                slow,
                service.learned,
                _newest_learned(connection, row.service),
                buckets_of(service.policy),
                service.policy_since_ns,
                newest_advice(connection, row.service),
                self._unreachable(connection, service, now_ns),
            )
        promise = Promise(settings.percentile, settings.target_ms, settings.window_days)
        alerts = evaluate(minutes, promise, context)
        with self._engine.begin() as connection:
            pace.hold(connection)
            if get_service(connection, row.service) is not None:
                put_alerts(connection, row.service, alerts, now_ns)

    def _end(self, service: str, now_ns: int, pace: Pace) -> None:
        """Nothing is promised any more, so nothing is broken."""
        with self._engine.begin() as connection:
            pace.hold(connection)
            put_alerts(connection, service, (), now_ns)

    def _unreachable(self, connection: sa.Connection, service: KnownService, now_ns: int) -> Unreachable | None:
        """By the newest requests of a day, once an hour."""
        by = service.row.version, service.profile_version
        kept = self._reachable.get(service.name)
        if kept is None or kept.by != by or not kept.at_ns <= now_ns < kept.at_ns + _HOUR_NS:
            kept = _Reachable(_looked_up(connection, service, now_ns), by, now_ns)
            self._reachable[service.name] = kept
        return kept.found


def newest_advice(connection: sa.Connection, service: str) -> Advice | None:
    """What the newest search that ended says; without any, the newest forecast for the load and server as they are."""
    searches = _answered(connection, service, "search", 1)
    found = searches or [run for run in _answered(connection, service, "what_if", _FORECASTS) if _is_plain(run)]
    chosen = max(found, key=lambda run: run.ended_ns or 0, default=None)
    return None if chosen is None else _advice(chosen)


def _answered(connection: sa.Connection, service: str, kind: Kind, most: int) -> list[RunRow]:
    """The newest runs of a kind that say something of advice."""
    states: tuple[State, ...] = ("done", "refused")
    runs = [run for state in states for run in list_runs(connection, service, limit=most, kind=kind, state=state)]
    return [run for run in runs if run.answer and run.answer.get("advice")]


def _is_plain(run: RunRow) -> bool:
    """Whether nothing was asked about but the policy."""
    request = run.request
    other = any(request.get(name) is not None for name in ("threads", "workers", "max_degree", "predictor"))
    return not other and request.get("load_multiplier", 1.0) == 1.0


def _advice(run: RunRow) -> Advice:
    said: dict[str, Any] = (run.answer or {})["advice"]
    return Advice(
        run.id,
        said["candidate"],
        run.ended_ns or 0,
        said["gain_p99_pct"],
        said["gain_low_pct"],
        said["mean_change_pct"],
        said["failed_gates"],
    )


def _looked_up(connection: sa.Connection, service: KnownService, now_ns: int) -> Unreachable | None:
    settings = service.settings
    if service.learned is None or settings.threads is None or settings.target_ms is None:
        return None
    read = read_columns(connection, service.name, now_ns - DAY_NS, now_ns, _MOST_LOOKED_AT)
    try:
        samples = samples_of(read)
        if not len(samples):
            return None
        learned, server = service.learned, service.server
        works = works_ms(samples, effective_ms(samples, server.threads, learned.slowdown.value), learned.profile)
        percentile, degree = settings.percentile, server.max_degree
        return unreachable(works, learned, settings.target_ms, percentile, degree, samples.weights)
    except AnalyticsError:
        return None  # said and counted where minutes are made of the same requests


def _newest_learned(connection: sa.Connection, service: str) -> LearnedProfile | None:
    """None also where it cannot be read, which whoever learns next sets right."""
    newest = next(iter(list_profiles(connection, service, limit=1)), None)
    try:
        return None if newest is None else profile_from(newest.document)
    except AnalyticsError:
        return None


def _alert(row: AlertRow) -> Alert:
    severity: Any = row.severity
    return Alert(row.name, severity, row.firing, row.since_ns, row.cause or "", row.text, row.figures)
