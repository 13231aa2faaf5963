"""From pages of one target to rows: readings as they are, and what counters and histograms gained since the last page.

- A counter that stands lower than before was reset: what it shows was counted since. So is one whose `_created` moved.
- On a target's first page nothing can be said of counters; a series that comes up later counts from 0. One that had
  gone away counts from where it was.
- After a gap longer than `forget_s` all begins anew, as a series does that was away for so long: an hour's growth is no
  value of one window.
- What cannot be (a counter below 0, infinite) is no value to compare the next page with.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from agents.sources.scrape_layout import Bools, Floats, Histograms, Ints, Layout, heads_of, layout_of
from agents.sources.scrape_native import Native, NativeSeries, added, bodies_of_natives
from agents.sources.scrape_page import Page
from agents.sources.scrape_targets import Target
from pipeline.sketch_cells import cells_of
from quantiles.explicit_bodies import explicit_bodies
from quantiles.histogram_bodies import FAULTS, Bodies, Said

_MOST_COUNT: Final = float(2**53)
_GONE_KEPT: Final = 1000
_BUCKETS_AT_ONCE: Final = 4096  # fits a core's cache when spread; benchmarks/sources/scrape.py


class Increments:
    """What is remembered of one target between two pages.

    Attributes:
        events: what was noticed, by word: resets, values that cannot be, histograms that were refused.
    """

    def __init__(self, target: Target, declared: Sequence[str], forget_s: float) -> None:
        """`declared` are the columns that become of labels."""
        self.events: Counter[str] = Counter()
        self._target = target
        self._declared = declared
        self._forget_s = forget_s
        self._last_s: float | None = None
        self._layout: Layout | None = None
        self._before: Floats = np.zeros(0)
        self._fresh: Bools = np.zeros(0, np.bool_)
        self._gone: dict[str, tuple[float, float]] = {}  # key -> last value, when it was last there
        self._natives: dict[str, tuple[NativeSeries, float]] = {}  # with when it was last there
        self._native_heads: tuple[tuple[str, ...], pl.DataFrame] | None = None

    @property
    def keys(self) -> pl.Series | None:
        """The series of the last page."""
        return None if self._layout is None else self._layout.keys

    @property
    def undeclared(self) -> Mapping[str, int]:
        """Labels of the last page that became no column, with how many series have them."""
        return {} if self._layout is None else self._layout.undeclared

    def forget(self) -> None:
        """Begin anew with the next page."""
        self._last_s, self._layout, self._gone, self._natives = None, None, {}, {}
        self._before, self._fresh = np.zeros(0), np.zeros(0, np.bool_)

    def rows(self, page: Page, now_s: float) -> pl.DataFrame:
        """What the page has brought: the columns of the stream but `ts`; `now_s` is of a clock that never goes back."""
        if self._last_s is not None and now_s - self._last_s > self._forget_s:
            self.events["begun_anew"] += 1
            self.forget()
        layout = self._arranged(page, now_s)
        values = page.values
        frames = [
            self._readings(layout, values),
            self._counters(layout, values),
            self._histograms(layout, values),
        ]
        if page.native:
            frames.append(self._native_rows(page.native, now_s))
        wrong = _wrong(layout, values)
        self._before = np.where(wrong, self._before, values)
        self._fresh = self._fresh & wrong
        self._last_s = now_s
        return pl.concat(frames)

    def _arranged(self, page: Page, now_s: float) -> Layout:
        """The page's layout, with what was there before brought into its order."""
        old = self._layout
        same = old is not None and old.families == page.families
        if old is not None and same and (old.keys is page.keys or old.keys.equals(page.keys)):
            return old
        layout = layout_of(page.keys, page.families, self._target, self._declared)
        if layout.malformed:
            self.events["malformed"] += layout.malformed
        first = self._last_s is None
        known = pl.DataFrame(schema={"key": pl.String, "before": pl.Float64})
        if old is not None:
            known = pl.DataFrame([old.keys.alias("key"), pl.Series("before", self._before)])
        if self._gone:
            before = [value if self._is_recent(seen_s, now_s) else np.nan for value, seen_s in self._gone.values()]
            gone = pl.DataFrame({"key": list(self._gone), "before": before}, schema=known.schema)
            known = pl.concat([known, gone])
        new = pl.DataFrame([page.keys.alias("key")])
        found = new.join(known, on="key", how="left", maintain_order="left")["before"]
        self._fresh = found.is_null().to_numpy()
        self._before = found.fill_null(np.nan if first else 0.0).to_numpy().copy()
        self._remember_gone(known.join(new, on="key", how="anti", maintain_order="left"), old, now_s)
        self._layout = layout
        return layout

    def _remember_gone(self, absent: pl.DataFrame, old: Layout | None, now_s: float) -> None:
        """Series that are not there for a while are no new ones when they come back."""
        before = self._gone
        last_s = now_s if self._last_s is None else self._last_s
        most = max(_GONE_KEPT, 0 if old is None else len(old.keys))
        # The last ones to go stand first.
        self._gone = {
            key: (value, before[key][1] if key in before else last_s) for key, value in absent.head(most).rows()
        }

    def _is_recent(self, seen_s: float, now_s: float) -> bool:
        """Whether growth since then is of one window."""
        return now_s - seen_s <= self._forget_s

    def _readings(self, layout: Layout, values: Floats) -> pl.DataFrame:
        read = values[layout.readings]
        kept = ~np.isnan(read)
        self.events["not_a_number"] += int((~kept).sum())
        return _frame(layout.heads[: len(read)], kept, read)

    def _counters(self, layout: Layout, values: Floats) -> pl.DataFrame:
        now, before = values[layout.counters], _counted(self._before[layout.counters])
        reset = (now < before) | self._created_moved(layout.created, values)
        gained = now - np.where(reset, 0.0, before)
        right = _can_count(now)
        self.events["bad_values"] += int((~right).sum())
        kept = right & np.isfinite(gained)
        self.events["resets"] += int((reset & kept).sum())
        begin = len(layout.readings)
        return _frame(layout.heads[begin : begin + len(now)], kept, gained)

    def _created_moved(self, lines: Ints, values: Floats) -> Bools:
        """Whether the time since when each counts is a later one than on the page before."""
        has = lines >= 0
        if not has.any():
            return has
        return has & ~self._fresh[lines] & (values[lines] > self._before[lines])

    def _histograms(self, layout: Layout, values: Floats) -> pl.DataFrame:
        found, heads = layout.histograms, layout.heads[len(layout.readings) + len(layout.counters) :]
        n = len(found.gauges)
        if not n:
            return _frame(heads, np.zeros(0, np.bool_), np.zeros(0))
        starts, sizes = found.offsets[:-1], np.diff(found.offsets)
        now, before, fresh = values[found.lines], _counted(self._before[found.lines]), self._fresh[found.lines]
        right = _can_hold(found, values)
        some, whole = np.logical_or.reduceat(fresh, starts), np.logical_and.reduceat(fresh, starts)
        known = found.gauges | ~np.logical_or.reduceat(np.isnan(before), starts)
        other = known & some & ~whole & ~found.gauges
        reset = np.logical_or.reduceat(now < before, starts) | self._created_moved(found.created, values)
        from_zero = reset | found.gauges
        cumulative = now - np.where(np.repeat(from_zero, sizes), 0.0, before)
        gained = np.diff(cumulative, prepend=0.0)
        gained[starts] = cumulative[starts]
        fraction = np.logical_or.reduceat(gained != np.rint(gained), starts)
        counts = cumulative[found.offsets[1:] - 1]
        usable = known & right & ~other & ~fraction
        self.events["bad_values"] += int((~right).sum())
        self.events["buckets_changed"] += int(other.sum())
        self.events["histogram_not_whole"] += int((known & right & ~other & fraction).sum())
        self.events["resets"] += int((usable & reset & ~found.gauges).sum())
        kept = usable & (np.logical_or.reduceat(gained != 0, starts))
        sums = _sums(found, values, self._before, from_zero, kept)
        mine = np.repeat(kept, sizes)
        bodies = _bodies(found.bounds[mine], gained[mine].astype(np.int64), sizes[kept], sums)
        return self._sketched(heads.filter(kept), bodies, counts[kept])

    def _native_rows(self, series: Sequence[NativeSeries], now_s: float) -> pl.DataFrame:
        """What native histograms gained."""
        keys = tuple(one.key for one in series)
        if self._native_heads is None or self._native_heads[0] != keys:
            labelled = pl.DataFrame([pl.Series("key", keys, dtype=pl.String)]).select(
                pl.col("key").str.extract(r"^([^{]+)").alias("name"),
                pl.Series("kind", ["gauge_histogram" if one.gauge else "histogram" for one in series]),
                pl.col("key").str.extract(r"(?s)\{(.*)\}$").fill_null("").alias("labels"),
            )
            self._native_heads = keys, heads_of(labelled, self._target, self._declared)
        gained: list[Native] = []
        places = []
        for place, one in enumerate(series):
            since = self._gained(one, now_s)
            self._natives.pop(one.key, None)  # the last ones to go stand last
            self._natives[one.key] = one, now_s
            if since is not None and since.count:
                gained.append(since)
                places.append(place)
        for key in list(self._natives)[: -len(series) - _GONE_KEPT]:
            del self._natives[key]
        heads = self._native_heads[1]
        if not gained:
            return _frame(heads[:0], np.zeros(0, np.bool_), np.zeros(0))
        bodies = bodies_of_natives(gained)
        return self._sketched(heads[places], bodies, np.array([one.count for one in gained], np.float64))

    def _gained(self, now: NativeSeries, now_s: float) -> Native | None:
        last = self._natives.get(now.key)
        if now.gauge:
            return now.histogram
        if last is None:
            return None if self._last_s is None else now.histogram
        if not self._is_recent(last[1], now_s):
            return None
        since = None if now.created_s > last[0].created_s else added(last[0].histogram, now.histogram)
        if since is None:
            self.events["resets"] += 1
            return now.histogram
        return since

    def _sketched(self, heads: pl.DataFrame, bodies: Bodies, counts: Floats) -> pl.DataFrame:
        """Without those that no values have."""
        for fault, often in zip(*np.unique(bodies.faults[bodies.faults > 0], return_counts=True), strict=True):
            self.events[f"histogram_{FAULTS[fault]}"] += int(often)
        right = bodies.faults == 0
        cells = cells_of(bodies, "distribution")
        return heads.with_columns(
            pl.lit(None, pl.Float64).alias("value"), pl.Series("count", counts).cast(pl.Int64), cells
        ).filter(right)  # fmt: skip


def _bodies(bounds: Floats, gained: Ints, sizes: Ints, sums: Floats) -> Bodies:
    """Some histograms at a time: a bucket is spread over up to a hundred bins, which would be much memory at once."""
    done: list[Bodies] = []
    ends = np.concatenate([[0], np.cumsum(sizes)])
    step = max(1, _BUCKETS_AT_ONCE * len(sizes) // max(1, len(bounds)))
    for first in range(0, len(sizes), step):
        offsets = ends[first : first + step + 1]
        part = slice(offsets[0], offsets[-1])
        said = Said.nothing(len(offsets) - 1)
        said.sums[:] = sums[first : first + step]
        done.append(explicit_bodies(bounds[part], gained[part], offsets - offsets[0], said))
    return Bodies.joined(done)


def _can_count(values: Floats) -> Bools:
    """Whether a counter can stand there."""
    return np.isfinite(values) & (values >= 0)


def _counted(before: Floats) -> Floats:
    """NaN where no count was: the series was declared to be something else on the page before."""
    return np.where(_can_count(before), before, np.nan)


def _can_hold(found: Histograms, values: Floats) -> Bools:
    """Of each histogram whether all its buckets can have these counts."""
    now = values[found.lines]
    return np.logical_and.reduceat(_can_count(now) & (now < _MOST_COUNT), found.offsets[:-1])


def _wrong(layout: Layout, values: Floats) -> Bools:
    """Lines that nothing can be compared with later: of a histogram all or none, for its buckets belong together."""
    wrong = np.isnan(values)
    found, bad = layout.histograms, ~_can_count(values[layout.counters])
    wrong[layout.counters] = bad
    wrong[layout.created[bad & (layout.created >= 0)]] = True
    if len(found.gauges):
        bad = ~_can_hold(found, values)
        wrong[found.lines] = np.repeat(bad, np.diff(found.offsets))
        for lines in (found.sums, found.created):
            wrong[lines[bad & (lines >= 0)]] = True
    return wrong


def _sums(found: Histograms, values: Floats, before: Floats, from_zero: Bools, kept: Bools) -> Floats:
    """What the values added up to; NaN where the page does not say, or did not before."""
    lines = found.sums[kept]
    if not len(values):
        return np.zeros(0)
    now = values[lines] - np.where(from_zero[kept], 0.0, before[lines])
    return np.where(lines >= 0, now, np.nan)


def _frame(heads: pl.DataFrame, kept: Bools, values: Floats) -> pl.DataFrame:
    rows = heads.with_columns(
        pl.Series("value", values, dtype=pl.Float64),
        pl.lit(None, pl.Int64).alias("count"),
        pl.lit(None, pl.Binary).alias("distribution"),
    )
    return rows if kept.all() else rows.filter(kept)
