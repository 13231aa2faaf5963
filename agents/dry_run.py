"""Runs the configured sources and queries for a moment, to see what they cost; nothing of it goes anywhere.

Live sources are read as they are, files from their beginning, whatever an agent has read of them. Everything runs as in
an agent, with every record aggregated here and profiled; what gathers goes into a spool in a temporary folder and to a
transport that keeps nothing, so that shipping is measured too, but for a broker's client.
First in short epochs, which are profiled; then, for what cannot wait, in the turns, epochs and checkpoints of the
configuration, unprofiled: what that takes beyond the costs found is the handling of batches, which no policy spares.
A socket or port on which somebody listens is left alone: it belongs to an agent that runs.
"""

import errno
import logging
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agents.checkpoint import Checkpointer
from agents.config import AgentConfig
from agents.cost_model import QueryCosts
from agents.cpu_budget import CpuBudget
from agents.errors import BudgetTooSmallError, SourceError
from agents.executor import Executor, Wanted
from agents.idle_floor import UPLINK_STEP_S, IdleCosts, check_floor, samplers_of
from agents.pace import epochs_between_checkpoints, turn_interval_s
from agents.progress import SourceProgress
from agents.shares import Decision, ProxyCounts
from agents.sources.configs import DatagramsConfig, ReplayConfig, SourceConfig, StatsdConfig
from agents.sources.configured import configured_sources
from agents.sources.source import Source
from agents.spool import Spool
from agents.uplink import Uplink
from pipeline.plan import Plan

log = logging.getLogger(__name__)

#: Of a file that is read as fast as can be, so many rows say enough.
MOST_ROWS: Final = 1_000_000
_TURN_S: Final = 0.1
# Short, so that a few epochs fit into a short run and the first, which is not warm, does not count.
_EPOCH_S: Final = 0.25
# The part of the run for the profile; the rest is run as an agent does, if that is an epoch at least.
_PROFILED: Final = 0.6
_IDLE_TURNS: Final = 5


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """One source: how many rows it gave in `read_s`; or why it was not read, then or from then on."""

    name: str
    streams: tuple[str, ...]
    rows: int = 0
    read_s: float = 0.0
    not_read: str = ""
    finished: bool = False

    @property
    def rows_per_s(self) -> float:
        """0 for one that was not read."""
        return self.rows / self.read_s if self.read_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class QuerySeen:
    """One query: the records offered to it, and what it costs; None without any. `paced` unless all of it can wait.

    The costs are per epoch of the configuration, at the rate that was met.
    """

    plan: Plan
    records: int
    records_per_s: float
    paced: bool
    costs: QueryCosts | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """All of a dry run.

    Attributes:
        sources_cores: what reading live sources and files with a pace took.
        as_agent_cores: what the process took when it ran as an agent, every record aggregated here, without files that
            can wait; None where the run was too short for that, or nothing of the kind is there.
        reading_s: CPU per record of files without a pace, by stream.
        refused: why an agent would not start with this budget; "" if it would.
    """

    run_s: float
    sources: Sequence[SourceSeen]
    queries: Sequence[QuerySeen]
    idle: IdleCosts
    sources_cores: float
    budget_cores: float
    budget_from: str
    as_agent_cores: float | None = None
    reading_s: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""


@dataclass(slots=True)
class _Reading:
    """A source that is read."""

    progress: SourceProgress
    most_rows: int | None
    cpu_s: float = 0.0
    ended_s: float | None = None

    def is_over(self) -> bool:
        """Whether there is nothing more to read of it."""
        source = self.progress.source
        full = self.most_rows is not None and self.progress.rows >= self.most_rows
        return full or self.progress.failure is not None or source.finished


class DryRun:
    """One run, in one thread."""

    def __init__(
        self,
        config: AgentConfig,
        wanted: Sequence[Wanted],
        *,
        most_rows: int = MOST_ROWS,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """`wanted` is what would run; `clock` and `cpu_clock` give seconds."""
        self._config = config
        self._wanted = wanted
        self._most_rows = most_rows
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._readings: list[_Reading] = []
        self._not_read: list[SourceSeen] = []
        self._offered: Counter[str] = Counter()
        self._costs: dict[str, QueryCosts] = {}

    def run(self, seconds: float) -> Seen:
        """Read for so long, or until nothing is left to read.

        Raises:
            AgentError: a source cannot be opened, or no source is there to be read.
            PipelineError: a stream's columns are not known.
        """
        config = self._config
        executor = Executor(
            [],
            {},
            config.host_name,
            labels=config.place,
            memory_max_bytes=config.memory_max_bytes,
            clock=self._cpu_clock,
        )
        executor.adopt(self._wanted)
        with ExitStack() as opened:
            self._open(executor, opened)
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="tailwatch-plan-"))
            spool = Spool(Path(folder) / "spool.db", "dry-run", config.spool_max_bytes)
            opened.callback(spool.close)
            incarnation = spool.begin("dry-run", time.time_ns())
            uplink = Uplink(spool, Nowhere())
            checkpointer = Checkpointer(
                spool,
                incarnation,
                executor,
                [one.progress for one in self._readings],
                host=config.host_name,
                machine="dry-run",
                counters=dict,
            )
            budget = CpuBudget(config.budget)
            budget.renew(self._cpu_clock(), self._clock())
            idle = self._idle_costs(executor, checkpointer)
            began_s = self._clock()
            until_s = began_s + seconds
            as_agent_s = seconds * (1 - _PROFILED) if self._waits_for_nothing() else 0.0
            as_agent_s = as_agent_s // config.epoch_s * config.epoch_s
            self._loop(executor, checkpointer, uplink, until_s - as_agent_s)
            as_agent_cores = self._as_agent(executor, checkpointer, uplink, until_s, idle) if as_agent_s else None
            run_s = self._clock() - began_s
            cores = budget.renew(self._cpu_clock(), self._clock())
            return Seen(
                run_s=run_s,
                sources=[self._source_seen(one, began_s, run_s) for one in self._readings] + self._not_read,
                queries=[self._query_seen(one.chain.plan, began_s, run_s) for one in self._wanted],
                idle=idle,
                sources_cores=sum(one.cpu_s for one in self._readings if one.most_rows is None) / max(run_s, 1e-9),
                budget_cores=cores,
                budget_from=budget.budget_from,
                as_agent_cores=as_agent_cores,
                reading_s=self._reading_s(),
                refused=_refusal(config, idle),
            )

    def _open(self, executor: Executor, opened: ExitStack) -> None:
        plans = [one.chain.plan for one in self._wanted]
        for entry, source in zip(self._config.sources, configured_sources(self._config, plans), strict=True):
            reason = "no query reads it" if executor.by_stream.keys().isdisjoint(source.streams) else _taken(entry)
            if not reason:
                opened.callback(source.close)
                try:
                    most_rows = self._most_rows if can_wait(entry) else None
                    self._readings.append(_Reading(SourceProgress(source, None, time.time_ns()), most_rows))
                except SourceError as error:
                    if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
                        raise
                    reason = f"another process has its port, a running agent for instance ({error})"
            if reason:
                self._not_read.append(SourceSeen(source.name, tuple(source.streams), not_read=reason))
        if not self._readings:
            told = "; ".join(f"{one.name}: {one.not_read}" for one in self._not_read) or "agent.sources is empty"
            wanted = "add a query that reads one of their streams" if self._not_read else "name a source there"
            raise SourceError(f"there is nothing to read: {told}; {wanted}")

    def _loop(self, executor: Executor, checkpointer: Checkpointer, uplink: Uplink, until_s: float) -> None:
        now_s = self._clock()
        next_epoch_s, next_checkpoint_s = now_s + _EPOCH_S, now_s + self._config.checkpoint_s
        self._decide(executor)
        while True:
            busy = self._poll(executor)
            now_s = self._clock()
            over = now_s >= until_s or all(one.is_over() for one in self._readings)
            if over or now_s >= next_epoch_s:
                self._end_epoch(executor)
                next_epoch_s = now_s + _EPOCH_S
            if over or now_s >= next_checkpoint_s:
                checkpointer.take(time.time_ns())
                self._ship(executor, uplink)
                next_checkpoint_s = self._clock() + self._config.checkpoint_s
            if over:
                # What the last checkpoint encoded is the best that is known of groups.
                self._decide(executor)
                self._end_epoch(executor)
                return
            if not busy:
                time.sleep(min(_TURN_S, max(0.0, until_s - now_s)))

    def _poll(self, executor: Executor, *, waiting: bool = True) -> bool:
        """Poll the sources, those that can wait only with `waiting`; whether one of these has more at once."""
        busy = False
        for one in self._readings:
            if one.is_over() or (one.most_rows is not None and not waiting):
                continue
            before_s = self._cpu_clock()
            batches = one.progress.poll(time.time_ns())
            one.cpu_s += self._cpu_clock() - before_s
            for batch in batches:
                executor.add(batch)
                busy = busy or one.most_rows is not None
            if one.is_over():
                one.ended_s = self._clock()
        return busy

    def _waits_for_nothing(self) -> bool:
        return any(one.most_rows is None for one in self._readings)

    def _as_agent(
        self, executor: Executor, checkpointer: Checkpointer, uplink: Uplink, until_s: float, idle: IdleCosts
    ) -> float | None:
        """Run what cannot wait as an agent does, to the end of the run; the cores that it took, or None if it ended."""
        self._decide(executor, profile=False)
        turn_s = turn_interval_s(self._config, self._config.budget.cores or 1.0, idle.turn_s)
        began_s, before_s = self._clock(), self._cpu_clock()
        for one in self._readings:
            if one.most_rows is not None and one.ended_s is None:
                one.ended_s = began_s
        epoch_due_s = began_s + self._config.epoch_s
        while (now_s := self._clock()) < until_s:
            self._poll(executor, waiting=False)
            if now_s >= epoch_due_s:
                self._count(executor.end_epoch())
                epoch_due_s += self._config.epoch_s
            uplink.step()
            if executor.held_bytes > self._config.spool_max_bytes or self._is_over():
                break
            time.sleep(max(0.0, min(turn_s, epoch_due_s - self._clock(), until_s - self._clock())))
        self._count(executor.end_epoch())
        run_s, run_cpu_s = self._clock() - began_s, self._cpu_clock() - before_s
        before_s = self._cpu_clock()
        checkpointer.take(time.time_ns())
        self._ship(executor, uplink)
        each_s = (self._cpu_clock() - before_s) / idle.checkpoint_every_s
        return run_cpu_s / run_s + each_s if run_s >= self._config.epoch_s else None

    def _is_over(self) -> bool:
        return all(one.is_over() for one in self._readings if one.most_rows is None)

    def _decide(self, executor: Executor, *, profile: bool = True) -> None:
        """Everything here, and measured."""
        shares = {version: (1.0,) * len(kinds) for version, kinds in executor.operators.items()}
        executor.decide(Decision(shares=shares, fallback=shares, profile=profile))

    def _end_epoch(self, executor: Executor) -> None:
        self._count(executor.end_epoch())
        for version, costs in (executor.costs() or {}).items():
            if costs.records > 0:
                self._costs[version] = costs
        self._decide(executor)

    def _count(self, counts: Mapping[str, ProxyCounts]) -> None:
        for version, count in counts.items():
            self._offered[version] += count.reached[0]

    def _ship(self, executor: Executor, uplink: Uplink) -> None:
        before, before_s = uplink.bytes_published, self._cpu_clock()
        uplink.drain(1.0)
        executor.shipping.sent(uplink.bytes_published - before, self._cpu_clock() - before_s)

    def _idle_costs(self, executor: Executor, checkpointer: Checkpointer) -> IdleCosts:
        """As an agent measures it at its start: turns without records, a checkpoint without data."""
        turns = []
        for _ in range(_IDLE_TURNS):
            before_s = self._cpu_clock()
            for one in self._readings:
                if not one.progress.source.replayable:
                    for batch in one.progress.poll(time.time_ns()):
                        executor.add(batch)
            executor.run_waiting()
            turns.append(self._cpu_clock() - before_s)
        before_s = self._cpu_clock()
        checkpointer.take(time.time_ns())
        checkpoint_s = self._cpu_clock() - before_s
        turn_s = sorted(turns)[_IDLE_TURNS // 2] + UPLINK_STEP_S
        samplers = samplers_of(one.progress.source for one in self._readings)
        return IdleCosts.of(self._config, turn_s, checkpoint_s, samplers)

    def _source_seen(self, one: _Reading, began_s: float, run_s: float) -> SourceSeen:
        source: Source = one.progress.source
        read_s = run_s if one.ended_s is None else one.ended_s - began_s
        failure = one.progress.failure or ""
        return SourceSeen(source.name, tuple(source.streams), one.progress.rows, read_s, failure, source.finished)

    def _query_seen(self, plan: Plan, began_s: float, run_s: float) -> QuerySeen:
        feeding = [one for one in self._readings if plan.source in one.progress.source.streams]
        paced = any(one.most_rows is None for one in feeding)
        ends_s = [run_s if one.ended_s is None else one.ended_s - began_s for one in feeding]
        records = self._offered[plan.version]
        rate = records / max(*ends_s, 1e-9) if feeding and records else 0.0
        found = self._costs.get(plan.version)
        if found is None:
            return QuerySeen(plan, records, rate, paced or not feeding)
        epochs = float(epochs_between_checkpoints(self._config))
        groups = replace(found.groups, checkpoint_epochs=epochs)
        costs = replace(found, records=rate * self._config.epoch_s, groups=groups)
        return QuerySeen(plan, records, rate, paced, costs)

    def _reading_s(self) -> dict[str, float]:
        """CPU per record of files without a pace, by stream."""
        return {
            stream: one.cpu_s / one.progress.rows
            for one in self._readings
            if one.most_rows is not None and one.progress.rows
            for stream in one.progress.source.streams
        }


class Nowhere:
    """A transport that takes everything and keeps nothing."""

    def __init__(self) -> None:
        self._taken: list[int] = []

    def partitions(self) -> int:
        """One."""
        return 1

    def publish(self, _partition: int, token: int, _payload: bytes) -> None:
        """Forget it at once."""
        self._taken.append(token)

    def acknowledged(self, _timeout_s: float) -> list[int]:
        """Everything taken since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def close(self) -> None:
        """There is nothing to let go of."""


def can_wait(entry: SourceConfig) -> bool:
    """Whether it is a file without a pace, which is read as fast as the CPU allows."""
    return isinstance(entry, ReplayConfig) and entry.rows_per_s is None


def _refusal(config: AgentConfig, idle: IdleCosts) -> str:
    try:
        check_floor(config.budget, idle)
    except BudgetTooSmallError as error:
        return str(error)
    return ""


def _taken(entry: SourceConfig) -> str:
    """Why a source must not be opened; "" if it may."""
    if isinstance(entry, DatagramsConfig):
        path = entry.path
    elif isinstance(entry, StatsdConfig) and entry.socket_path:
        path = entry.socket_path
    else:
        return ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as knock:
        try:
            knock.connect(path)
        except OSError:
            return ""
    return f"another process listens on {path}, a running agent for instance"
