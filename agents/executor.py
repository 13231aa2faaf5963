"""Runs the queries on what the sources give, as far as the runtime decided and the allowance of CPU lasts.

Each batch goes through every query's proxies and operators (query_run.py); what gathers between two checkpoints are
deltas: partials, drained rows and manifests, which collectors add up. What shipping them will cost is owed at once.
Versions of one query that are valid one after the other run side by side, each on the records of its own time.
Small batches of live sources wait for a moment and run as one, since a chain's cost is mostly per batch. Large ones
are cut only where they may take more CPU than is left, so that the allowance is asked before it is overdrawn.
Law: per window, rows taken in = filtered + local + drained + sampled out + dropped, whatever is decided.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import polars as pl

from agents.bounds import ALWAYS, Bounds, Spans
from agents.cost_model import Prices, QueryCosts
from agents.proxies import up_to
from agents.query_run import QueryDelta, QueryRun
from agents.row_bytes import row_bytes
from agents.shares import Allowance, Decision, Policy, ProxyCounts
from agents.shipping import Shipping
from agents.sources.source import Batch, Lost
from agents.thinning import Thinning
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import HOST_COLUMN, PLACE_COLUMNS, TIME_COLUMN
from pipeline.tables import StaticTable

log = logging.getLogger(__name__)

# Rows wait for each other up to so many, or so many bytes: a partial result of 131,072 rows costs little more to merge
# than one of 16,384 where groups repeat. Measured by benchmarks/jarvis: server to server 0.12 us a record instead of
# 0.26.
WAITING_ROWS: Final = 2**17
WAITING_BYTES: Final = 8 * 2**20
#: The least rows that a batch is cut to; a call of Polars has a fixed cost.
PIECE_ROWS: Final = 2**14
# A batch may take this part of the CPU left, by prediction, before it is cut.
_OF_WHAT_IS_LEFT: Final = 0.5
# A piece may always take this part of what an epoch was granted.
_WORTHWHILE: Final = 0.05
MEMORY_BYTES: Final = 64 * 2**20
NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version to run, on records of these stretches of time."""

    chain: Chain
    spans: Spans


@dataclass(slots=True)
class _Owed:
    """Rows or groups that wait to be shipped, and what that was reckoned to take."""

    items: float = 0.0
    cpu_s: float = 0.0


class Executor:
    """All queries of this agent."""

    def __init__(
        self,
        plans: Sequence[Plan],
        tables: Mapping[str, StaticTable],
        host: str,
        policy: Policy = "all-src",
        *,
        labels: Mapping[str, str] = NO_LABELS,
        allowance: Allowance | None = None,
        memory_max_bytes: int = MEMORY_BYTES,
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        """Bind each plan to its tables; PipelineError when one does not fit.

        Until the first decision `policy` all-sp drains everything and any other runs everything here. Without an
        `allowance` there is no end of CPU. Partial results of all queries take up to `memory_max_bytes`.
        `host` and `labels` (by column) are what records say of where they come from, unless they say it themselves.
        `clock` reads the CPU seconds of the process.
        """
        self.dropped: Counter[str] = Counter()
        self.shipping = Shipping(clock)
        self.by_stream: dict[str, list[QueryRun]] = {}
        self._host = host
        self.labels = labels
        self._policy = policy
        self._allowance = allowance
        self.memory_max_bytes = memory_max_bytes
        self._clock = clock
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._waiting_rows: dict[str, int] = {}
        self._waiting_bytes: dict[str, int] = {}
        self._leaving: list[QueryDelta] = []
        self._decision: Decision | None = None
        self._thinning = Thinning()
        self._costs: dict[str, QueryCosts] | None = None
        self._epochs = 0.0
        self._checkpoints = 0.0
        self._owed: dict[tuple[str, int], _Owed] = {}
        self._owed_s = 0.0
        self._priced_anew = False
        self._most_left_s = 0.0
        self.adopt([Wanted(Chain(plan, tables), ALWAYS.spans) for plan in plans])

    @property
    def runs(self) -> list[QueryRun]:
        """Every query."""
        return [run for runs in self.by_stream.values() for run in runs]

    @property
    def operators(self) -> dict[str, tuple[str, ...]]:
        """By query version: the kinds of its operators in order, the aggregate last."""
        return {run.chain.plan.version: kinds_of(run.chain.plan) for run in self.runs}

    @property
    def held_bytes(self) -> int:
        """What waits here for the next checkpoint takes in memory."""
        waiting = sum(row_bytes(rows) for frames in self._waiting.values() for rows in frames)
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
                cut = 0 if self._policy == "all-sp" else one.chain.row_stages + 1
                run = QueryRun(one.chain, cut, Bounds(one.spans), self._clock)
                if self._decision is not None:
                    _obey(run, self._decision)
                added.append(run)
            run.bounds = replace(run.bounds, spans=one.spans)
            self.by_stream.setdefault(one.chain.plan.source, []).append(run)
        self._leaving += [run.take() for run in before.values()]
        self.shipping.keep({run.chain.plan.version for run in self.runs})
        return added

    def decide(self, decision: Decision) -> None:
        """What holds from the next batch on; what waits was taken in before and runs first."""
        self.run_waiting()
        self._decision = decision
        for run in self.runs:
            _obey(run, decision)

    def end_epoch(self) -> dict[str, ProxyCounts]:
        """Run what waits; the records of the epoch by proxy, for each query version."""
        self.run_waiting()
        self._epochs += 1
        self._most_left_s = 0.0
        counts = {run.chain.plan.version: run.proxies.take_counts() for run in self.runs}
        offered = {version: count.reached[0] for version, count in counts.items()}
        self._costs = None
        if self._decision is not None and self._decision.profile:
            checkpoint_epochs = self._epochs / max(1.0, self._checkpoints)
            self._costs = {
                version: run.profile.costs(self.shipping, checkpoint_epochs, offered[version], run)
                for version, run in ((run.chain.plan.version, run) for run in self.runs)
            }
        for run in self.runs:
            run.try_unknown(self.shipping)
            run.profile.end_epoch(offered[run.chain.plan.version])
        self.shipping.forget()
        if self._checkpoints > 8:
            self._epochs, self._checkpoints = self._epochs / 2, self._checkpoints / 2
        return counts

    def costs(self) -> dict[str, QueryCosts] | None:
        """What the epoch that `end_epoch` ended has found by query version; None if it was not to be profiled."""
        return self._costs

    def owed_s(self) -> float:
        """CPU for shipping that was owed since the last call, by the prices of then."""
        owed_s, self._owed_s = self._owed_s, 0.0
        return owed_s

    def shipped_by_price_s(self) -> float:
        """A checkpoint is done: what was owed for it, by the prices as they are known now."""
        owed, self._owed = self._owed, {}
        self._priced_anew = True
        operators = {run.chain.plan.version: run.operators for run in self.runs}
        return sum(
            one.items * self._price_s(version, cut, operators[version]) if version in operators else one.cpu_s
            for (version, cut), one in owed.items()
        )

    def new_prices(self) -> dict[str, Prices] | None:
        """What shipping takes by query version, if a checkpoint told since the last call."""
        if not self._priced_anew:
            return None
        self._priced_anew = False
        operators = {run.chain.plan.version: run.operators for run in self.runs}
        return {version: self.shipping.prices(version, count) for version, count in operators.items()}

    def add(self, batch: Batch, *, live: bool = False) -> None:
        """Take a batch in; it runs at once if it is large, else with the next ones of its stream.

        Of `live` batches only a part is taken while the decision says so; the rest is counted as sampled out.
        """
        if batch.stream not in self.by_stream:
            return
        for lost in batch.lost:
            self._lose(batch.stream, lost)
        if not batch.rows.height:
            return
        rows = self._thinned(batch.stream, batch.rows) if live else batch.rows
        self._waiting.setdefault(batch.stream, []).append(self._placed(batch.stream, rows))
        self._waiting_rows[batch.stream] = self._waiting_rows.get(batch.stream, 0) + rows.height
        self._waiting_bytes[batch.stream] = self._waiting_bytes.get(batch.stream, 0) + row_bytes(rows)
        if self._waiting_rows[batch.stream] >= WAITING_ROWS or self._waiting_bytes[batch.stream] >= WAITING_BYTES:
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
        self._checkpoints += 1
        left, self._leaving = self._leaving, []
        return left + [run.take() for run in self.runs]

    def _run(self, stream: str) -> None:
        frames = self._waiting.pop(stream)
        self._waiting_rows[stream] = self._waiting_bytes[stream] = 0
        batch = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
        for run in self.by_stream[stream]:
            done = 0
            while done < batch.height:
                left_s = self._allowance.left_s() if self._allowance is not None else None
                rows = batch.height - done
                if left_s is not None and left_s > 0 and rows > PIECE_ROWS:
                    self._most_left_s = max(self._most_left_s, left_s)
                    rows = _piece(run, rows, left_s, self._most_left_s)
                piece = batch if rows == batch.height else batch.slice(done, rows)
                self._run_query(run, piece, overflow=left_s is not None and left_s <= 0)
                done += rows

    def _run_query(self, run: QueryRun, batch: pl.DataFrame, *, overflow: bool) -> None:
        """A query that fails on a batch gives that batch up, counted, and must not take the others with it."""
        plan = run.chain.plan
        try:
            more = run.run(batch, overflow=overflow, most_bytes=self._room_bytes(run))
        # Queries come over the API: whatever one raises is its own affair. Polars' panics are no Exceptions.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001
            rows = run.drop(batch, "query_failed")
            self.dropped["query_failed"] += rows
            log.warning("query failed on a batch query=%s rows=%d error=%s", plan.query, rows, error)
        else:
            if self._allowance is not None:
                cpu_s = self._shipping_s(run, more)
                self._owed_s += cpu_s
                self._allowance.owe(cpu_s)

    def _room_bytes(self, run: QueryRun) -> float:
        """What the partial results of this query may take: others hold theirs."""
        held = sum(other.partial_bytes for other in self.runs if other is not run)
        return self.memory_max_bytes - held - sum(delta.partial_bytes for delta in self._leaving)

    def _shipping_s(self, run: QueryRun, more: Mapping[int, int]) -> float:
        """CPU that the next checkpoint will take for what was gathered."""
        version, cpu_s = run.chain.plan.version, 0.0
        for cut, count in more.items():
            new = count if cut < run.operators else run.profile.new_groups(count, self.shipping.gathered(version))
            each_s = self._price_s(version, cut, run.operators)
            owed = self._owed.setdefault((version, cut), _Owed())
            owed.items += new
            owed.cpu_s += new * each_s
            cpu_s += new * each_s
        return cpu_s

    def _price_s(self, version: str, cut: int, operators: int) -> float:
        return self.shipping.row_s(version, cut) if cut < operators else self.shipping.group_s(version, cut)

    def _thinned(self, stream: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The part of the rows that is taken in."""
        if self._decision is None or self._decision.sampled >= 1:
            return rows
        kept = self._thinning.kept(stream, rows.height, self._decision.sampled)
        gone = rows.select(TIME_COLUMN).filter(~kept)  # only their windows count
        for run in self.by_stream[stream]:
            run.sample_out(gone)
        return rows.filter(kept)

    def _lose(self, stream: str, lost: Lost) -> None:
        self.dropped[lost.reason] += lost.count
        for run in self.by_stream[stream]:
            run.lose(lost)

    def _placed(self, stream: str, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the columns that say where they come from, as far as queries read them and rows lack them."""
        if HOST_COLUMN in rows.columns:
            # As most sources give it; filling takes as long as a filter.
            whole = not rows[HOST_COLUMN].null_count()
            columns = [] if whole else [pl.col(HOST_COLUMN).fill_null(self._host)]
        else:
            columns = [pl.lit(self._host, dtype=pl.String).alias(HOST_COLUMN)]
        columns += [
            pl.lit(self.labels.get(name, ""), dtype=pl.String).alias(name)
            for name in PLACE_COLUMNS
            if name not in rows.columns and self._read(stream, name)
        ]
        return rows.with_columns(columns) if columns else rows

    def _read(self, stream: str, column: str) -> bool:
        return any(column in run.chain.plan.source_schema for run in self.by_stream[stream])


def kinds_of(plan: Plan) -> tuple[str, ...]:
    """The kinds of a plan's operators in order: "filter", "join", "extract", "project", and "aggregate" last."""
    return tuple(str(stage.__struct_config__.tag) for stage in plan.stages)


def _obey(run: QueryRun, decision: Decision) -> None:
    version, drain = run.chain.plan.version, up_to(0, run.operators)
    run.proxies.shares = decision.shares.get(version, drain)
    run.proxies.fallback = decision.fallback.get(version, drain)
    run.profile.start(profiling=decision.profile)


def _piece(run: QueryRun, rows: int, left_s: float, most_left_s: float) -> int:
    """How many of the rows run before the allowance is asked again: those that it will most probably last for.

    Small pieces cost up to three times as much a row, so the last one of an epoch may overdraw a little, which is paid
    back by the next ones.
    """
    each_s = run.profile.predicted_s(rows, run.proxies.shares) / rows
    worthwhile_s = max(_OF_WHAT_IS_LEFT * left_s, _WORTHWHILE * most_left_s)
    affordable = worthwhile_s / each_s if each_s > 0 else rows
    pieces = -(-rows // max(PIECE_ROWS, int(min(affordable, rows))))
    return -(-rows // pieces)
