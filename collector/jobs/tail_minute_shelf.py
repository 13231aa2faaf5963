"""Minutes of services as alerts read them, kept between rounds: a table of seven days, sums of each day of a promise.

Only who holds the lease writes minutes, so what is kept here holds for as long as nobody else has worked; the job says
when that is over. Minutes that were made by another objective than today's are left out: it was not what was promised.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import sqlalchemy as sa

from analytics.tail.minutes import Minute, MinuteTable, minute_from, minute_table
from store.tail_minutes import MinuteRow, read_minutes
from store.tail_services import ServiceSettings

DAY_NS: Final = 86_400 * 10**9
#: Alerts look back so far; the table of a service takes up to 2 MB.
TABLE_NS: Final = 7 * DAY_NS
_MOST_SERVICES: Final = 100
_Sums = dict[int, tuple[int, int]]


@dataclass(slots=True)
class _Kept:
    """What is kept of a service: minutes by `promise` (percentile, target, days), and sums by day in it."""

    promise: tuple[float, float | None, int]
    table: MinuteTable
    days: _Sums = field(default_factory=dict)


class MinuteShelf:
    """Of the services that were looked at last; used by one thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def clear(self) -> None:
        """Somebody else may have worked meanwhile."""
        self._kept.clear()

    def put(self, service: str, settings: ServiceSettings, minutes: Sequence[Minute]) -> None:
        """These were written, of an objective that is in `settings`."""
        kept = self._kept.get(service)
        if kept is None:
            return
        if kept.promise != _promise(settings):
            del self._kept[service]
            return
        before = kept.table.where(np.isin(kept.table.start_ns, [one.start_ns for one in minutes]))
        _add(kept.days, before, -1)
        table = minute_table(minutes)
        _add(kept.days, table, 1)
        kept.table = _replaced(kept.table, table)

    def table(
        self, connection: sa.Connection, service: str, settings: ServiceSettings, now_ns: int
    ) -> tuple[MinuteTable, int, int]:
        """Minutes of seven days, and requests and slow ones within the days of the promise, today's included.

        Cost: where nothing is kept, that of reading them: some tenths of a second for 28 days.
        """
        kept = self._kept.get(service)
        if kept is None or kept.promise != _promise(settings):
            kept = _read(connection, service, settings, now_ns)
        self._kept[service] = kept
        self._kept.move_to_end(service)
        if len(self._kept) > _MOST_SERVICES:
            self._kept.popitem(last=False)
        kept.table = kept.table.where(kept.table.start_ns >= now_ns - TABLE_NS)
        first = (now_ns - settings.window_days * DAY_NS) // DAY_NS
        kept.days = {day: sums for day, sums in kept.days.items() if day >= first}
        return kept.table, sum(n for n, _ in kept.days.values()), sum(slow for _, slow in kept.days.values())


def _read(connection: sa.Connection, service: str, settings: ServiceSettings, now_ns: int) -> _Kept:
    today = now_ns // DAY_NS
    tables, days = [minute_table(())], _Sums()
    for day in range(today - settings.window_days, today + 1):
        mine = [one for one in _rows(connection, service, day) if one.document.get("target_ms") == settings.target_ms]
        table = minute_table([minute_from({**one.document, "latencies": ""}) for one in mine])
        _add(days, table, 1)
        if (day + 1) * DAY_NS > now_ns - TABLE_NS:
            tables.append(table)
    return _Kept(_promise(settings), _joined(tables), days)


def _rows(connection: sa.Connection, service: str, day: int) -> list[MinuteRow]:
    return read_minutes(connection, service, day * DAY_NS, (day + 1) * DAY_NS)


def _promise(settings: ServiceSettings) -> tuple[float, float | None, int]:
    return settings.percentile, settings.target_ms, settings.window_days


def _add(days: _Sums, table: MinuteTable, sign: int) -> None:
    for day in np.unique(table.start_ns // DAY_NS).tolist():
        mine = table.start_ns // DAY_NS == day
        requests, slow = days.get(day, (0, 0))
        days[day] = requests + sign * int(table.requests[mine].sum()), slow + sign * int(table.slow[mine].sum())


def _replaced(before: MinuteTable, newer: MinuteTable) -> MinuteTable:
    """By start; what both have is as `newer` says."""
    return _joined([before.where(~np.isin(before.start_ns, newer.start_ns)), newer])


def _joined(tables: Sequence[MinuteTable]) -> MinuteTable:
    columns = {one.name: np.concatenate([getattr(table, one.name) for table in tables]) for one in fields(MinuteTable)}
    order = np.argsort(columns["start_ns"], kind="stable")
    return MinuteTable(**{name: values[order] for name, values in columns.items()})
