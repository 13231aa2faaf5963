"""Runs the queries on what the sources give: each batch through the chain up to a cut, the rest left to collectors.

A cut of 0..row_stages drains the rows behind that stage; the number of the aggregate makes partial results here.
What gathers between two checkpoints are deltas: partials, drained rows and manifests, which collectors add up.
Versions of one query that are valid one after the other run side by side, each on the records of its own time.
Small batches of live sources wait for a moment and run as one, since a chain's cost is mostly per batch.
Law: per window, rows taken in = filtered + local + drained + dropped, for any cuts.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from agents.bounds import ALWAYS, Bounds, Spans
from agents.shares import Policy
from agents.sources.source import Batch, Lost
from pipeline.chain import Chain
from pipeline.grouping import window_starts
from pipeline.manifest import Manifest, drained, dropped, window_counts
from pipeline.partial import Partial
from pipeline.plan import Plan
from pipeline.schema import HOST_COLUMN
from pipeline.tables import StaticTable

log = logging.getLogger(__name__)

WAITING_ROWS: Final = 2**14
PARTIALS_HELD: Final = 8
_GROUP_BYTES: Final = 512  # a rough size of one group's key and states, for the bound on memory


@dataclass(slots=True)
class QueryDelta:
    """What one query has gathered since the last checkpoint. `drained` holds rows by cut."""

    chain: Chain
    partials: list[Partial] = field(default_factory=list)
    drained: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)

    @property
    def plan(self) -> Plan:
        """The query's plan."""
        return self.chain.plan

    @property
    def held_bytes(self) -> int:
        """About what this takes in memory."""
        rows = sum(frame.estimated_size() for frames in self.drained.values() for frame in frames)
        return int(rows) + sum(len(partial) for partial in self.partials) * _GROUP_BYTES


class QueryRun:
    """One query on this agent."""

    def __init__(self, chain: Chain, cut: int, bounds: Bounds = ALWAYS) -> None:
        """`cut` is where batches leave the chain unless `run` is told otherwise; `bounds` say whose records are its."""
        self.chain = chain
        self.cut = cut
        self.bounds = bounds
        self._delta = QueryDelta(chain)

    @property
    def aggregate_cut(self) -> int:
        """The number of the last stage: rows that get there become partial results here."""
        return self.chain.row_stages + 1

    @property
    def held_bytes(self) -> int:
        """About what the gathered deltas take in memory."""
        return self._delta.held_bytes

    def run(self, batch: pl.DataFrame, cut: int | None = None) -> None:
        """Take what is the query's of `batch`, rows of its stream, through the chain up to `cut`.

        Nothing of the batch is kept when a stage cannot run on it: PipelineError or an error of Polars.
        """
        cut = self.cut if cut is None else cut
        delta, window_ns = self._delta, self.chain.plan.window_ns
        rows = self.chain.prepare(self.bounds.rows_within(batch))
        if not rows.height:
            return
        windows, counts = window_counts(rows, window_ns)
        for stage in range(1, min(cut, self.chain.row_stages) + 1):
            rows = self.chain.apply(stage, rows)
        left_windows, left_counts = window_counts(rows, window_ns)
        filtered = counts.copy()
        filtered[np.searchsorted(windows, left_windows)] -= left_counts
        if cut < self.aggregate_cut:
            item = drained(cut)
            if rows.height:
                delta.drained.setdefault(cut, []).append(rows)
        else:
            item = "local"
            if rows.height:
                delta.partials.append(self.chain.aggregate(rows))
        delta.manifest.add("in", windows, counts)
        delta.manifest.add("filtered", windows, filtered)
        delta.manifest.add(item, left_windows, left_counts)
        if len(delta.partials) >= PARTIALS_HELD:
            delta.partials = [Partial.merge(delta.partials)]

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

    def _give_up(self, windows_and_counts: tuple[np.ndarray, np.ndarray], reason: str) -> None:
        self._delta.manifest.add("in", *windows_and_counts)
        self._delta.manifest.add(dropped(reason), *windows_and_counts)

    def take(self) -> QueryDelta:
        """What was gathered; the query starts gathering anew."""
        delta, self._delta = self._delta, QueryDelta(self.chain)
        return delta


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version to run, on records of these stretches of time."""

    chain: Chain
    spans: Spans


class Executor:
    """All queries of this agent."""

    def __init__(self, plans: Sequence[Plan], tables: Mapping[str, StaticTable], host: str, policy: Policy) -> None:
        """Bind each plan to its tables; PipelineError when one does not fit."""
        self._host = host
        self.dropped: Counter[str] = Counter()
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._waiting_rows: dict[str, int] = {}
        self._policy = policy
        self._leaving: list[QueryDelta] = []
        self.by_stream: dict[str, list[QueryRun]] = {}
        self.adopt([Wanted(Chain(plan, tables), ALWAYS.spans) for plan in plans])

    @property
    def runs(self) -> list[QueryRun]:
        """Every query."""
        return [run for runs in self.by_stream.values() for run in runs]

    @property
    def held_bytes(self) -> int:
        """About what waits here for the next checkpoint."""
        waiting = sum(int(rows.estimated_size()) for frames in self._waiting.values() for rows in frames)
        left = sum(delta.held_bytes for delta in self._leaving)
        return waiting + left + sum(run.held_bytes for run in self.runs)

    def adopt(self, wanted: Sequence[Wanted]) -> list[QueryRun]:
        """Run these from the next batch on, and no others; returns the runs that are new.

        What was taken in before belongs to those that ran then; what they gathered comes with the next `take`.
        """
        self.run_waiting()
        before = {run.chain.plan.version: run for run in self.runs}
        self.by_stream = {}
        added: list[QueryRun] = []
        for one in wanted:
            run = before.pop(one.chain.plan.version, None)
            if run is None:
                run = QueryRun(one.chain, 0, Bounds(one.spans))
                run.cut = run.aggregate_cut if self._policy != "all-sp" else 0
                added.append(run)
            run.bounds = replace(run.bounds, spans=one.spans)
            self.by_stream.setdefault(one.chain.plan.source, []).append(run)
        self._leaving += [run.take() for run in before.values()]
        return added

    def add(self, batch: Batch) -> None:
        """Take a batch in; it runs at once if it is large, else with the next ones of its stream."""
        if batch.stream not in self.by_stream:
            return
        for lost in batch.lost:
            self._lose(batch.stream, lost)
        if not batch.rows.height:
            return
        self._waiting.setdefault(batch.stream, []).append(self._with_host(batch.rows))
        self._waiting_rows[batch.stream] = self._waiting_rows.get(batch.stream, 0) + batch.rows.height
        if self._waiting_rows[batch.stream] >= WAITING_ROWS:
            self._run(batch.stream)

    def drop(self, batch: Batch, reason: str) -> None:
        """Account for a batch that cannot be kept."""
        if batch.stream not in self.by_stream:
            return
        for lost in batch.lost:
            self._lose(batch.stream, lost)
        if not batch.rows.height:
            return
        self.dropped[reason] += batch.rows.height
        for run in self.by_stream[batch.stream]:
            run.drop(batch.rows, reason)

    def run_waiting(self) -> None:
        """Run the small batches that wait."""
        for stream in list(self._waiting):
            self._run(stream)

    def take(self) -> list[QueryDelta]:
        """The deltas of all queries since the last call, everything taken in before included."""
        self.run_waiting()
        left, self._leaving = self._leaving, []
        return left + [run.take() for run in self.runs]

    def _run(self, stream: str) -> None:
        frames = self._waiting.pop(stream)
        self._waiting_rows[stream] = 0
        batch = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
        for run in self.by_stream[stream]:
            self._run_query(run, batch)

    def _run_query(self, run: QueryRun, batch: pl.DataFrame) -> None:
        """A query that fails on a batch gives that batch up, counted, and must not take the others with it."""
        plan = run.chain.plan
        try:
            run.run(batch)
        # Queries come over the API: whatever one raises is its own affair. Polars' panics are no Exceptions.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
            rows = run.drop(batch, "query_failed")
            self.dropped["query_failed"] += rows
            log.warning("query failed on a batch query=%s rows=%d error=%s", plan.query, rows, error)

    def _lose(self, stream: str, lost: Lost) -> None:
        self.dropped[lost.reason] += lost.count
        for run in self.by_stream[stream]:
            run.lose(lost)

    def _with_host(self, rows: pl.DataFrame) -> pl.DataFrame:
        if HOST_COLUMN in rows.columns:
            return rows.with_columns(pl.col(HOST_COLUMN).fill_null(self._host))
        return rows.with_columns(pl.lit(self._host, dtype=pl.String).alias(HOST_COLUMN))
