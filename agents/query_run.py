"""One query on this agent: each batch through its proxies and operators, and what gathers until the checkpoint.

Rows that a proxy holds back are drained at the cut before its operator; what comes out of the last operator is a
partial result. Between two checkpoints these gather as deltas, which collectors add up.
Law: per window, records in = filtered + local + drained + sampled out + dropped, for any shares; and a batch on which
a stage fails leaves nothing behind, neither rows nor counts nor credit.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

import numpy as np
import polars as pl

from agents.bounds import ALWAYS, Bounds
from agents.held_groups import bytes_of, rows_with_room
from agents.profiling import QueryProfile
from agents.proxies import Passage, Proxies, up_to
from agents.row_bytes import row_bytes
from agents.shipping import Shipping
from agents.sources.source import Lost
from pipeline.chain import Chain
from pipeline.grouping import window_starts
from pipeline.manifest import IntArray, Manifest, drained, dropped, window_counts
from pipeline.partial import Partial
from pipeline.plan import Plan

PARTIALS_HELD: Final = 8
# From this part of the bound on memory on there is no room for further groups; the rest is for those held to grow.
FULL: Final = 0.9
SAMPLED_OUT: Final = "sampled_out"
# Rows whose groups tell, at the end of a profile epoch, how many there are in all: fewer where they take longer.
SPREAD_ROWS: Final = 2**13
_FEWEST_SPREAD: Final = 2**11
_SPREAD_S: Final = 5e-3
# Where even the fewest would take longer than this, the rows that were probed must do.
_SPREAD_MOST_S: Final = 0.2


@dataclass(slots=True)
class QueryDelta:
    """What one query has gathered since the last checkpoint; bytes are those in memory.

    `drained` holds rows by cut as the chain left them: labels of static tables may still be codes.
    """

    chain: Chain
    partials: list[Partial] = field(default_factory=list)
    drained: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    partial_bytes: int = 0
    drained_bytes: int = 0

    @property
    def plan(self) -> Plan:
        """The query's plan."""
        return self.chain.plan

    @property
    def held_bytes(self) -> int:
        """What this takes in memory."""
        return self.partial_bytes + self.drained_bytes


@dataclass(slots=True)
class _Taken:
    """What a batch adds; nothing of it counts before it is kept."""

    passage: Passage
    partials: list[Partial]
    drained: list[tuple[int, pl.DataFrame]] = field(default_factory=list)
    local: pl.DataFrame | None = None
    partial: Partial | None = None
    partial_bytes: int = 0
    crowded: int = 0


class QueryRun:
    """One query on this agent."""

    def __init__(
        self, chain: Chain, cut: int, bounds: Bounds = ALWAYS, clock: Callable[[], float] = time.process_time
    ) -> None:
        """`cut` is where rows leave the chain until the proxies are told otherwise; `bounds` say whose are its own.

        `clock` reads the CPU seconds of the process.
        """
        self.chain = chain
        self.bounds = bounds
        self.proxies = Proxies(up_to(cut, self.operators))
        self.profile = QueryProfile(chain, clock)
        self._delta = QueryDelta(chain)

    @property
    def operators(self) -> int:
        """M: row stages and the aggregate."""
        return self.chain.row_stages + 1

    @property
    def held_bytes(self) -> int:
        """What the gathered deltas take in memory."""
        return self._delta.held_bytes

    @property
    def partial_bytes(self) -> int:
        """What the partial results among them take."""
        return self._delta.partial_bytes

    def run(self, batch: pl.DataFrame, *, overflow: bool = False, most_bytes: float = inf) -> dict[int, int]:
        """Take what is the query's of `batch`, rows of its stream, through the chain.

        With `overflow` the fallback's shares hold. Partial results may take `most_bytes` afterwards; records of
        further groups are drained. Returns what is to be shipped more: rows by cut, and under M groups.
        Nothing of the batch is kept when a stage cannot run on it: PipelineError or an error of Polars.
        """
        self.profile.begin()
        rows = self.chain.prepare(self.bounds.rows_within(batch))
        if not rows.height:
            return {}
        windows, counts = window_counts(rows, self.chain.plan.window_ns)
        passage = self.proxies.begin(overflow=overflow, at_least=self.profile.probe_rows(overflow=overflow))
        taken = _Taken(passage, self._delta.partials, partial_bytes=self._delta.partial_bytes)
        self.profile.mark()
        self._pass(rows, taken, most_bytes)
        self._keep(taken, windows, counts)
        self.profile.passed(rows.height, taken.partial)
        more: Counter[int] = Counter()
        for cut, held_back in taken.drained:  # those that found no room stand beside those of the last proxy
            more[cut] += held_back.height
        if taken.partial is not None:
            more[self.operators] = len(taken.partial)
        return more

    def sample_out(self, rows: pl.DataFrame) -> None:
        """Account for what is the query's of rows that were thinned out before they came here."""
        rows = self.bounds.rows_within(rows)
        windows_and_counts = window_counts(rows, self.chain.plan.window_ns)
        self._delta.manifest.add("in", *windows_and_counts)
        self._delta.manifest.add(SAMPLED_OUT, *windows_and_counts)
        self.proxies.counts.sampled_out += rows.height

    def drop(self, batch: pl.DataFrame, reason: str) -> int:
        """Account for what is the query's of a batch that cannot be kept; returns how many rows that is."""
        rows = self.bounds.rows_within(batch)
        self._give_up(window_counts(rows, self.chain.plan.window_ns), reason)
        return rows.height

    def lose(self, lost: Lost) -> None:
        """Account for samples that never became rows."""
        if self.bounds.covers(lost.ts_ns):
            window = window_starts(np.array([lost.ts_ns], np.int64), self.chain.plan.window_ns)
            self._give_up((window, np.array([lost.count], np.int64)), lost.reason)

    def try_unknown(self, shipping: Shipping) -> None:
        """Encode a sample where rows were drained at a cut for the first time, rather than charge them by a guess."""
        for cut, batches in self._delta.drained.items():
            if shipping.unknown(self.chain.plan.version, cut):
                self.profile.try_shipping(cut, max(batches, key=len), shipping)

    def spread_sample(self) -> Partial | None:
        """Groups of rows drawn at random from all that wait drained at one cut; None where those are few.

        Rows that follow each other would not do: a source that goes round its peers never repeats one soon, and a
        sample without repeats looks as if there were no end of groups. None, too, where that would take too long.
        """
        cut = self._cut_of_most()
        frames = self._delta.drained.get(cut, [])
        total = sum(map(len, frames))
        if total < 2 * SPREAD_ROWS:
            return None
        each_s = self.profile.predicted_s(total, (1.0,) * self.operators) / total
        if _FEWEST_SPREAD * each_s > _SPREAD_MOST_S:
            return None
        wanted = max(_FEWEST_SPREAD, min(SPREAD_ROWS, int(_SPREAD_S / each_s)))
        draw = np.random.default_rng(total)
        drawn = [frame[_some(draw, len(frame), len(frame) * wanted // total)] for frame in frames]
        rows = pl.concat(drawn)
        for i in range(cut + 1, self.operators):
            rows = self.chain.local(i, rows)
        return self.chain.aggregate(rows) if rows.height else None

    def batch_drained(self) -> tuple[int, pl.DataFrame] | None:
        """The cut and the rows of the largest batch that waits drained at the cut where most do; None without one."""
        cut = self._cut_of_most()
        frames = self._delta.drained.get(cut, [])
        return (cut, max(frames, key=len)) if frames else None

    def take(self) -> QueryDelta:
        """What was gathered; the query starts gathering anew."""
        delta, self._delta = self._delta, QueryDelta(self.chain)
        self.profile.checkpoint()
        return delta

    def _cut_of_most(self) -> int:
        return max(self._delta.drained, key=lambda at: sum(map(len, self._delta.drained[at])), default=0)

    def _give_up(self, windows_and_counts: tuple[IntArray, IntArray], reason: str) -> None:
        self._delta.manifest.add("in", *windows_and_counts)
        self._delta.manifest.add(dropped(reason), *windows_and_counts)

    def _pass(self, rows: pl.DataFrame, taken: _Taken, most_bytes: float) -> None:
        """The batch through proxy 1, operator 1, proxy 2, ... for as long as rows are left."""
        for i in range(1, self.operators + 1):
            local = taken.passage.through(i, rows.height)
            if local < rows.height:
                taken.drained.append((i - 1, _of_its_own(rows, local)))
                rows = rows.head(local)
            if not local:
                return
            if i < self.operators:
                rows = self._through(i, rows)
        taken.local = rows
        self._aggregate(taken, most_bytes)

    def _through(self, i: int, rows: pl.DataFrame) -> pl.DataFrame:
        after = self.chain.local(i, rows)
        self.profile.ran(i, rows, after.height)
        return after

    def _aggregate(self, taken: _Taken, most_bytes: float) -> None:
        """What is local becomes a partial result beside those held, as far as memory is left."""
        assert taken.local is not None
        held, held_bytes, more_groups = taken.partials, taken.partial_bytes, 0
        if held_bytes < FULL * most_bytes:
            partial = self._aggregated(taken.local)
            self._add(taken, partial, most_bytes)
            if taken.partial_bytes <= most_bytes:
                return
            more_groups = int((FULL * most_bytes - held_bytes) / bytes_of(partial) * len(partial))
            taken.partials, taken.partial_bytes, taken.partial = held, held_bytes, None
        # Groups held grow while they aggregate; those that alone exceed the bound may do so no longer.
        held = held if held_bytes <= most_bytes else []
        fits = rows_with_room(taken.local, self.chain.plan, held, more_groups)
        taken.local, crowded = taken.local.filter(fits), taken.local.filter(~fits)
        taken.crowded = crowded.height
        taken.drained.append((self.operators - 1, crowded))
        if taken.local.height:
            self.profile.mark()
            self._add(taken, self._aggregated(taken.local), most_bytes)

    def _aggregated(self, rows: pl.DataFrame) -> Partial:
        partial = self.chain.aggregate(rows)
        self.profile.ran(self.operators, rows, len(partial))
        return partial

    def _add(self, taken: _Taken, partial: Partial, most_bytes: float) -> None:
        """The partial beside those held; when they are many, or too large, they become one."""
        taken.partial = partial
        taken.partials = [*taken.partials, partial]
        taken.partial_bytes += bytes_of(partial)
        if len(taken.partials) >= PARTIALS_HELD or (taken.partial_bytes > most_bytes and len(taken.partials) > 1):
            taken.partials = [Partial.merge(taken.partials)]
            self.profile.merged()
            taken.partial_bytes = bytes_of(taken.partials[0])

    def _keep(self, taken: _Taken, windows: IntArray, counts: IntArray) -> None:
        delta, manifest = self._delta, self._delta.manifest
        pieces = [(drained(cut), rows) for cut, rows in taken.drained]
        if taken.local is not None:
            pieces.append(("local", taken.local))
        fates = [(item, self._counts(rows, windows)) for item, rows in pieces]
        filtered = counts - sum(found for _, found in fates)
        taken.passage.keep(crowded=taken.crowded)
        for cut, rows in taken.drained:
            if rows.height:
                delta.drained.setdefault(cut, []).append(rows)
                delta.drained_bytes += row_bytes(rows)
        delta.partials, delta.partial_bytes = taken.partials, taken.partial_bytes
        manifest.add("in", windows, counts)
        manifest.add("filtered", windows, filtered)
        for item, found in fates:
            manifest.add(item, windows, found)

    def _counts(self, rows: pl.DataFrame, windows: IntArray) -> IntArray:
        """Rows of a part of the batch in each of the batch's windows; of the usual batch, with one, nothing is read."""
        if len(windows) == 1:
            return np.array([rows.height], np.int64)
        found = np.zeros(len(windows), np.int64)
        part, counts = window_counts(rows, self.chain.plan.window_ns)
        found[np.searchsorted(windows, part)] = counts
        return found


def _of_its_own(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    """The rows from `first` on. Few of many are copied: a slice would keep the memory of all until the checkpoint."""
    rest = rows.slice(first)
    return rest if 2 * rest.height >= rows.height else rest[np.arange(rest.height)]


def _some(draw: np.random.Generator, rows: int, wanted: int) -> IntArray:
    """So many different places, at random."""
    return draw.choice(rows, wanted, replace=False, shuffle=False)
