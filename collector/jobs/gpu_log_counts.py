"""How many lines each series had in an hour, and when the last one was: what tells that something new has come.

What was seen last is remembered for the newest hours only. Without it, after a restart or in older hours, every series
of a changed hour counts as new: its jobs are then looked into once more, and found as they were.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.jobs.gpu_log_query import LogQuery
from pipeline.scalar_states import CountState
from store.changes import HOUR_NS
from store.samples import Instants, SeriesCodes, plan, read
from store.snapshot import Snapshot
from store.tables import SERIES_PER_PAGE

Int64Array = npt.NDArray[np.int64]

#: Series that are read at once: whole pages, and a bounded number of windows in memory.
SERIES_AT_ONCE: Final = 32 * SERIES_PER_PAGE
_HOURS_REMEMBERED: Final = 3


@dataclass(frozen=True, slots=True)
class SeriesNews:
    """Series with lines that are new; all int64[n], ids ascend.

    Attributes:
        series: ids. from_ns: nothing is new before. last_ns: end of the last window with lines.
    """

    series: Int64Array
    from_ns: Int64Array
    last_ns: Int64Array

    @staticmethod
    def concat(parts: list["SeriesNews"]) -> "SeriesNews":
        """One after the other."""
        return SeriesNews(*(_together([getattr(one, name) for one in parts]) for name in SeriesNews.__slots__))

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """(series, from, last) of each."""
        return zip(self.series.tolist(), self.from_ns.tolist(), self.last_ns.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class _Hour:
    series: Int64Array
    lines: Int64Array
    last_ns: Int64Array


class LineCounts:
    """What was last seen, by hour; one hour is read at a time, some series at once."""

    def __init__(self) -> None:
        self._hours: dict[int, _Hour] = {}
        self._reading: list[_Hour] = []

    def begin(self) -> None:
        """An hour is looked at from its first series on."""
        self._reading = []

    def news(self, seen: Snapshot, query: LogQuery, ids: Int64Array, hour: int) -> SeriesNews:
        """Which of these series have other lines in the hour than when it was last looked at.

        Args:
            ids: ascending, SERIES_AT_ONCE at most.
        Raises:
            CorruptPageError: a page is damaged.
        """
        now, news = _read(seen, query, ids, hour, self._hours.get(hour))
        self._reading.append(now)
        return news

    def remember(self, hour: int) -> None:
        """What was read since `begin` is noted as waiting: from now on it is not new."""
        parts = self._reading
        self._hours[hour] = _Hour(*(_together([getattr(one, name) for one in parts]) for name in _Hour.__slots__))
        self._reading = []
        for old in sorted(self._hours)[:-_HOURS_REMEMBERED]:
            del self._hours[old]


def with_lines(seen: Snapshot, query: LogQuery, ids: Int64Array, from_ns: int, to_ns: int) -> Int64Array:
    """Which of these series have lines in windows that overlap [from_ns, to_ns).

    Args:
        ids: ascending.
    Raises:
        CorruptPageError: a page is damaged.
    """
    width_ns = query.window_ns
    first_ns, until_ns = from_ns // width_ns * width_ns, -(-to_ns // width_ns) * width_ns
    asked = Instants(until_ns, until_ns, until_ns - first_ns, until_ns - first_ns)
    found = [ids[:0]]
    for start in range(0, ids.size, SERIES_AT_ONCE):
        some = ids[start : start + SERIES_AT_ONCE]
        codes = np.arange(some.size, dtype=np.int64)
        states = read(seen.connection, plan(seen, query.total, SeriesCodes(some, codes), asked, False), lambda: None)
        if states is None:
            continue
        if not isinstance(states.state, CountState):
            raise TypeError(f"states of {query.total.name} are {type(states.state).__name__}; want counts")
        found.append(some[np.unique(states.codes[states.state.n > 0])])
    return np.concatenate(found)


def _read(seen: Snapshot, query: LogQuery, ids: Int64Array, hour: int, known: _Hour | None) -> tuple[_Hour, SeriesNews]:
    nothing = np.zeros(0, np.int64)
    none = _Hour(nothing, nothing, nothing), SeriesNews(nothing, nothing, nothing)
    begin_ns, end_ns = hour * HOUR_NS, (hour + 1) * HOUR_NS
    # Windows that begin in the hour end in it, or a little later where they are no divisor of it.
    until_ns = -(-end_ns // query.window_ns) * query.window_ns
    asked = Instants(until_ns, until_ns, until_ns - begin_ns, until_ns - begin_ns)
    codes = np.arange(ids.size, dtype=np.int64)
    states = read(seen.connection, plan(seen, query.total, SeriesCodes(ids, codes), asked, False), lambda: None)
    if states is None:
        return none
    if not isinstance(states.state, CountState):
        raise TypeError(f"states of {query.total.name} are {type(states.state).__name__}; want counts")
    held = states.state.n > 0
    codes, times, lines = states.codes[held], states.times_ns[held], states.state.n[held]
    if not codes.size:
        return none
    total, earlier = np.zeros(ids.size, np.int64), np.zeros(ids.size, np.int64)
    last = np.zeros(ids.size, np.int64)
    np.add.at(total, codes, lines)
    np.maximum.at(last, codes, times)
    before, before_last = _known(known, ids)
    old = times <= before_last[codes]
    np.add.at(earlier, codes[old], lines[old])
    now = _Hour(ids[total > 0], total[total > 0], last[total > 0])
    new = (total > 0) & (total != before)
    # Where nothing came in between, all that is new is behind what was the last window.
    behind = new & (before > 0) & (earlier == before)
    from_ns = np.where(behind, before_last, begin_ns)
    return now, SeriesNews(ids[new], from_ns[new], last[new])


def _known(known: _Hour | None, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Lines and last windows of these series as last seen; 0 where nothing is known."""
    lines, last = np.zeros(ids.size, np.int64), np.zeros(ids.size, np.int64)
    if known is not None and known.series.size:
        places = np.minimum(np.searchsorted(known.series, ids), known.series.size - 1)
        here = known.series[places] == ids
        lines[here], last[here] = known.lines[places[here]], known.last_ns[places[here]]
    return lines, last


def _together(parts: list[Int64Array]) -> Int64Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
