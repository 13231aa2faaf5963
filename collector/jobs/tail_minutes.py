"""Minutes of services, computed from their requests when they are over, and again when late requests come.

Some minutes of one service at a time, with requests around them; written with what then still waits in one transaction.
The same requests make the same minutes, so that what is computed twice is the same. A minute that cannot be made is set
aside, to be tried again after longer and longer, and keeps no other from being made, of its service or another.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from analytics.errors import AnalyticsError, DataError
from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.minutes import Minute, minute_document, minutes_of
from analytics.tail.samples import Samples
from collector import own_metrics
from collector.jobs.pace import Pace
from collector.jobs.tail_news import REACH_NS
from collector.jobs.tail_services import KnownService, known_as, read_samples, without_profile
from collector.jobs.tail_waiting import MINUTE_NS, Waiting, write_waiting
from store.errors import LeaseLostError
from store.tail_minutes import MinuteRow, put_minutes
from store.tail_services import get_service

log = logging.getLogger(__name__)

_MINUTES_AT_ONCE: Final = 5
_FIRST_DELAY_NS: Final = 60 * 10**9
_LONGEST_DELAY_NS: Final = 3600 * 10**9
# What failed so often, some hours long, and is older than a day is not tried again.
_MOST_TRIES: Final = 10
_GIVEN_UP_NS: Final = 86_400 * 10**9
# An objective that no request can miss, where there is none.
_NO_TARGET_MS: Final = 1e12


@dataclass(frozen=True, slots=True)
class Made:
    """Minutes of one service that are known now, and by which objective and profile they were made."""

    service: KnownService
    minutes: tuple[Minute, ...]


@dataclass(slots=True)
class _Failed:
    """Minutes of one service that could not be made, and what the last one failed of."""

    minutes: set[int] = field(default_factory=set)
    error: Exception | None = None

    def take(self, some: range, error: Exception, todo: list[range]) -> None:
        """Minutes that failed together are to be tried one by one: it may be but one of them."""
        if len(some) > 1:
            todo += [range(minute, minute + 1) for minute in reversed(some)]
        else:
            self.minutes.add(some.start)
            self.error = error


class MinuteMaker:
    """Makes what is due; remembers what it has said."""

    def __init__(self, engine: sa.Engine, most_requests: int) -> None:
        self._engine = engine
        self._most = most_requests
        self._told: dict[str, tuple[str, ...]] = {}

    def make(self, waiting: dict[str, Waiting], now_ns: int, pace: Pace) -> Iterator[Made]:
        """Write the minutes that are over of all services, and give them out; `waiting` is what then still waits.

        Raises:
            LeaseLostError, sqlalchemy.exc.SQLAlchemyError: what was written is written, the rest is due.
        """
        for name in sorted(waiting):
            one, failed = waiting[name], _Failed()
            ready = one.minutes if one.after_ns <= now_ns else one.minutes - one.aside
            todo = list(_chunks(minute for minute in sorted(ready) if _over_ns(minute) <= now_ns))[::-1]
            while todo:
                some = todo.pop()
                try:
                    made = self._made(name, some)
                    left = waiting[name].without(some)
                    self._write(left, made, now_ns, pace)
                except (LeaseLostError, sa.exc.SQLAlchemyError):
                    raise
                # Bad requests, or a fault of ours: whichever minute it is about, the others are made.
                except Exception as error:  # noqa: BLE001
                    failed.take(some, error, todo)
                else:
                    waiting[name] = left
                    if made is not None:
                        yield made
                pace.rest()
            if failed.error is not None:
                waiting[name] = self._set_aside(waiting[name], failed.minutes, failed.error, now_ns, pace)

    def _made(self, name: str, some: range) -> Made | None:
        """None: nobody has heard of the service any more."""
        since_ns, until_ns = some.start * MINUTE_NS, some.stop * MINUTE_NS
        with self._engine.connect() as connection:
            row = get_service(connection, name)
            if row is None:
                return None
            service = known_as(connection, row)
            samples = read_samples(connection, name, since_ns - REACH_NS, until_ns + REACH_NS, self._most)
        minutes, faults = _minutes(service, samples, since_ns, until_ns)
        self._tell(name, (*service.faults, *faults))
        return Made(service, tuple(minutes))

    def _write(self, waiting: Waiting, made: Made | None, now_ns: int, pace: Pace) -> None:
        with self._engine.begin() as connection:
            pace.hold(connection)
            if made is not None:
                put_minutes(connection, [_row(made.service, minute) for minute in made.minutes])
            write_waiting(connection, [waiting], now_ns)
        own_metrics.tail_minutes.inc(0 if made is None else len(made.minutes))

    def _set_aside(self, waiting: Waiting, minutes: set[int], error: Exception, now_ns: int, pace: Pace) -> Waiting:
        if isinstance(error, AnalyticsError):
            self._tell(waiting.service, (str(error),))
        else:
            pace.spare(f"minutes of {waiting.service[:80]}", error)
        tries, after_ns = waiting.tries, waiting.after_ns
        if after_ns <= now_ns:  # else those that failed before keep their time, however often new ones fail
            after_ns = now_ns + min(_LONGEST_DELAY_NS, _FIRST_DELAY_NS << min(tries, 10))
            tries += 1
        aside = replace(waiting, tries=tries, after_ns=after_ns, aside=waiting.aside | minutes)
        if tries >= _MOST_TRIES:
            old = {minute for minute in aside.aside if _over_ns(minute) < now_ns - _GIVEN_UP_NS}
            if old:
                log.warning("minutes of a service given up service=%s minutes=%d", waiting.service[:80], len(old))
            aside = replace(aside, minutes=aside.minutes - old, aside=aside.aside - old)
        with self._engine.begin() as connection:
            pace.hold(connection)
            write_waiting(connection, [aside], now_ns)
        return aside

    def _tell(self, name: str, faults: tuple[str, ...]) -> None:
        """Count what is wrong with a service's data, and log it where something else was said of it last."""
        if not faults:
            self._told.pop(name, None)
            return
        own_metrics.tail_failures.labels("data").inc()
        if self._told.get(name) != faults:
            self._told[name] = faults
            log.warning("minutes of a service want something service=%s: %s", name[:80], "; ".join(faults))


def _minutes(
    service: KnownService, samples: Samples, since_ns: int, until_ns: int
) -> tuple[list[Minute], tuple[str, ...]]:
    """Whole minutes in this time; what of the service's requests could not be used, in words."""
    faults = []
    slowdown = service.learned.slowdown.value if service.learned and service.threads_told else 0.0
    try:
        effective = effective_ms(samples, service.server.threads, slowdown)
    except DataError as error:
        # Latencies are told all the same, with nothing said of sharing.
        faults.append(str(error))
        service = without_profile(service)
        effective = EffectiveTimes(samples.services_ms, np.ones(len(samples)), "at_start")
    target_ms = service.settings.target_ms or _NO_TARGET_MS
    times: dict[str, Any] = {"since_ns": since_ns, "until_ns": until_ns, "effective": effective}
    # All of what was learned, not its table alone: a class that it says nothing of makes no request intrinsic.
    learned = service.learned if service.threads_told else None
    try:
        return minutes_of(samples, service.server, learned, target_ms, service.policy, **times), tuple(faults)
    except DataError as error:
        if learned is None:
            raise
        # As where a request ran on more threads than the profile knows: without it, all but causes is told.
        faults.append(str(error))
        return minutes_of(samples, service.server, None, target_ms, service.policy, **times), tuple(faults)


def _row(service: KnownService, minute: Minute) -> MinuteRow:
    """The minute, and by what it was made: without an objective nothing is slow, without threads nothing is shared."""
    settings = service.settings
    by = {"target_ms": settings.target_ms, "promise": settings.percentile, "threads": settings.threads}
    return MinuteRow(service.name, minute.start_ns, minute_document(minute) | by, service.profile_version)


def _chunks(minutes: Iterable[int]) -> Iterator[range]:
    """Minutes in a row, some at a time."""
    start = stop = None
    for minute in minutes:
        if start is not None and stop is not None and (minute != stop or stop - start >= _MINUTES_AT_ONCE):
            yield range(start, stop)
            start = None
        start, stop = minute if start is None else start, minute + 1
    if start is not None and stop is not None:
        yield range(start, stop)


def _over_ns(minute: int) -> int:
    """When a minute is over, and what ran beside its last requests has come."""
    return (minute + 1) * MINUTE_NS + REACH_NS


def still_waits_before(waiting: Mapping[str, Waiting], now_ns: int) -> int | None:
    """The first minute that waits and is not set aside; None: none is over."""
    return min(
        (minute for one in waiting.values() for minute in one.minutes - one.aside if _over_ns(minute) <= now_ns),
        default=None,
    )
