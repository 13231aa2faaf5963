"""The agent's parts put together, one turn of its loop at a time.

A turn polls the sources, runs the queries on what came, ends the epoch and checkpoints when that is due, and moves
frames to the transport. Checkpoints are taken at ends of epochs, so that what they take comes at regular times.
What an agent takes when it has nothing to do is measured at its start; a budget below that is refused.
When an outage of the transport is over and has left a backlog, the agent goes on as a new incarnation, whose frames
go at once while those of the one before drain (catch_up.py).
A new configuration is taken over between two turns: everything that may fail is tried first, and then nothing fails.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from agents.allowance import EpochAllowance
from agents.checkpoint import Checkpointer
from agents.config import AgentConfig
from agents.cpu_meter import CpuMeter
from agents.epochs import EpochLoop
from agents.errors import ReloadError, SpoolWriteError
from agents.executor import Executor, Wanted
from agents.idle_floor import UPLINK_STEP_S, IdleCosts, check_floor, samplers_of
from agents.intake import Intake
from agents.lineup import Lineup
from agents.machine import machine_id
from agents.memory import release_free_memory
from agents.own_metrics import Sample, page_of
from agents.own_samples import process_samples, shipping_samples, source_samples
from agents.pace import epochs_between_checkpoints, turn_interval_s
from agents.progress import SourceProgress
from agents.query_run import QueryRun
from agents.reload import NewSetup, ReloadLog, changed_keys, refuse_what_needs_a_restart, source_changes
from agents.services import Services, fed_queries, metrics_server_of, planner_of
from agents.source_swap import SourceSwap
from agents.sources.configured import configured_sources, entries_by_name
from agents.sources.source import Announcing, ReadsAgent
from agents.spool import Incarnation, Spool, StoredPosition
from agents.spool_room import SPOOL_FULL
from agents.uplink import Uplink
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.tables import StaticTable
from wire.status import Status
from wire.transport import Publisher

if TYPE_CHECKING:
    from agents.planned import Choice
    from agents.planner import Planner

log = logging.getLogger(__name__)

_MEASURED_TURNS: Final = 5
RETRY_CHECKPOINT_S: Final = 1.0
FIRST_RELEASE_S: Final = 5.0
RELEASE_S: Final = 300.0
LAST_PUBLISH_S: Final = 0.6


class Agent:
    """One start of an agent; used by one thread, `close` included."""

    def __init__(
        self,
        config: AgentConfig,
        plans: Sequence[Plan],
        tables: Mapping[str, StaticTable],
        publisher: Publisher,
        *,
        machine: str | None = None,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """Open spool and sources and announce the incarnation; `cpu_s` reads the CPU seconds of this process.

        Raises:
            AgentError: spool, a source or the metrics port cannot be opened; what had been opened is closed again.
            PipelineError: a plan does not fit its tables.
        """
        self._config = config
        self._process = psutil.Process()
        self._meter = CpuMeter(self._children, own_s=cpu_s)
        self._checkpoint_s = 0.0
        self._reloads = ReloadLog()
        self._not_vouched_for: set[str] = set()
        machine = machine or machine_id()
        with ExitStack() as opened:
            allowance = EpochAllowance(self._meter.own_s)
            own = [Chain(plan, tables) for plan in plans]
            executor = Executor(
                [],
                tables,
                config.host_name,
                config.policy,
                labels=config.place,
                allowance=allowance,
                memory_max_bytes=config.memory_max_bytes,
                clock=cpu_s,
            )
            configured = configured_sources(config, plans)
            self.spool = Spool(Path(config.spool_path), machine, config.spool_max_bytes, connection)
            opened.callback(self.spool.close)
            self._services = Services(metrics_server_of(config))
            opened.callback(self._close_services)
            self._services.planner = planner_of(config, own, tables, configured)
            executor.adopt(fed_queries(own, configured) if self._planner is None else self._planner.start().wanted)
            self.executor = executor
            self.lineup = Lineup(config, configured, executor, self.spool)
            opened.callback(self.lineup.close)
            stored = self.spool.positions()
            incarnation = self.spool.begin(config.agent_id, time.time_ns())
            self.lineup.open(configured, stored, incarnation.started_ns)
            self.uplink = Uplink(self.spool, publisher, catch_up_bytes_per_s=config.catch_up_bytes_per_s)
            self.loop = EpochLoop(config, executor, self._meter, allowance, unpaced=self.lineup.unpaced)
            self._checkpointer = Checkpointer(
                self.spool,
                incarnation,
                executor,
                self.sources,
                host=config.host_name,
                machine=machine,
                counters=self.counters,
                status=self._status,
                readers=self.lineup.readers,
            )
            self.intake = Intake(
                executor,
                self.spool,
                self._checkpointer,
                self.sources,
                self.loop,
                held_bytes=held_limit(config),
            )
            before_s = self._meter.own_s()
            self._checkpointer.take(time.time_ns())
            self._publish_page()
            checkpoint_s = self._meter.own_s() - before_s
            self._idle = IdleCosts.of(
                config, self._turn_cost_s(), checkpoint_s, samplers_of(one.source for one in self.sources)
            )
            check_floor(config.budget, self._idle)
            self._opened = opened.pop_all()
        self._epochs_to_checkpoint = epochs_between_checkpoints(config)
        self._retry_at_s = 0.0
        self._next_release_s = time.monotonic() + FIRST_RELEASE_S
        log.info(
            "agent started agent=%s incarnation=%s sources=%d queries=%d spooled=%d interrupted=%s",
            self.incarnation.agent,
            self.incarnation.id,
            len(self.sources),
            len(executor.runs),
            self.spool.frames,
            self.incarnation.interrupted_from_ns is not None,
        )

    @property
    def sources(self) -> list[SourceProgress]:
        """Those that run."""
        return self.lineup.sources

    @property
    def _planner(self) -> "Planner | None":
        return self._services.planner

    @property
    def incarnation(self) -> Incarnation:
        """The running one."""
        return self._checkpointer.incarnation

    def _status(self) -> Status:
        """What the runtime decided, and where other agents find this one."""
        found = (one.source.announced for one in self.sources if isinstance(one.source, Announcing))
        announced = next(filter(None, found), "")
        return msgspec.structs.replace(self.loop.status(), probes=announced or msgspec.UNSET)

    def turn(self) -> float:
        """Do what is due; returns how many seconds may pass before the next turn."""
        news = self._planner.news() if self._planner is not None else None
        if news is not None:
            self._adopt(news)
        busy = self.intake.poll()
        if time.monotonic() >= self.loop.due_s:
            self._end_epoch()
        if self._checkpoint_due():
            self.checkpoint()
        with self._surviving_the_spool():
            self._step_uplink()
            if self.uplink.left_behind() and not self._checkpointer.failing:
                self._checkpointer.go_on_anew(time.time_ns())
                log.info("catching up incarnation=%s backlog=%d", self.incarnation.id, self.spool.backlog_frames)
        return 0.0 if busy else max(0.0, min(self._turn_s, self.loop.due_s - time.monotonic()))

    def checkpoint(self) -> None:
        """Take a checkpoint now; one that the spool refuses is tried again soon."""
        started_s = time.monotonic()
        self._retry_at_s = started_s + RETRY_CHECKPOINT_S
        self._epochs_to_checkpoint = epochs_between_checkpoints(self._config)
        self.executor.run_waiting()
        with self.loop.shipping(settles=True):
            with self._surviving_the_spool():
                self._checkpointer.take(time.time_ns())
            self._checkpoint_s = time.monotonic() - started_s
            self._publish_page()
        if started_s >= self._next_release_s:
            release_free_memory()
            self._next_release_s = started_s + RELEASE_S

    def reload(self, new: NewSetup) -> None:
        """Go on with another configuration; spool, open windows, live records and places in files stay.

        Raises:
            AgentError: it cannot be applied; all is as it was. `refuse` makes that known.
        """
        before = self._config
        refuse_what_needs_a_restart(before, new.config)
        if self._checkpointer.failing:
            raise ReloadError("the spool cannot be written now, so nothing can change hands; reload again when it can")
        configured = configured_sources(new.config, [chain.plan for chain in new.chains])
        entries = entries_by_name(new.config, configured)
        with ExitStack() as undo:
            running = {run.chain.plan.version: run.chain for run in self.executor.runs}
            services, wanted = self._services.replaced(before, new, configured, running)
            undo.callback(services.close_but, self._services)
            read = {one.chain.plan.source for one in wanted}
            needed = [source for source in configured if not read.isdisjoint(source.streams)]
            idle = IdleCosts.of(new.config, self._idle.turn_s, self._idle.checkpoint_cpu_s, samplers_of(needed))
            check_floor(new.config.budget, idle)
            changes = source_changes(self.sources, self.lineup.entries, needed, entries)
            swap = SourceSwap(changes, self.spool.positions(), self.lineup.entries, entries, self.intake.take_in)
            swap.open()
            undo.pop_all()
        # From here on nothing fails: what goes is taken in to its end, and stored with its place in the file.
        vouched = self.lineup.vouched_live()
        sources = swap.close_old()
        self.checkpoint()
        self.lineup.replace_sources(sources, entries, [source for source in configured if source not in needed])
        services.take_over(new.config, self._services)
        self._services, self._idle = services, idle
        self._configure(new.config)
        self._run_these(wanted)
        self._go_on_anew_if_back(vouched)
        self._reloads.applied(changed_keys(before, new.config), len(self.executor.runs), len(sources))
        self._publish_page()
        release_free_memory()

    def refuse(self, reason: str) -> None:
        """Say why a new configuration is not applied; the one before goes on."""
        self._reloads.refuse(reason)
        self._publish_page()

    def close(self) -> None:
        """Take in what the sources still have, store it, publish for a moment, end cleanly."""
        with self._opened:
            for one in self.sources:
                if not one.source.replayable:
                    self.intake.take_in(one)
                one.source.close()
                if not one.source.replayable:
                    self.intake.take_in(one)  # what arrived while it was closing
            with self._surviving_the_spool():
                self._checkpointer.take(time.time_ns(), clean=True)
            if self._checkpointer.failing:
                log.error("the last checkpoint could not be stored; live records since the one before are lost")
            with self._surviving_the_spool():
                self.uplink.drain(LAST_PUBLISH_S)
        log.info("agent stopped agent=%s spooled=%d", self.incarnation.agent, self.spool.frames)

    def abandon(self) -> None:
        """Let go of everything at once, as a kill would; what was not checkpointed is lost."""
        self._opened.close()

    def counters(self) -> dict[str, int]:
        """What the heartbeat reports, cumulative since the start of this agent."""
        dropped = self._dropped()
        return {
            "records_in_total": sum(self.intake.records_in.values()),
            "frames_total": self.uplink.frames_published,
            "wire_bytes_total": self.uplink.bytes_published,
            "spool_bytes": self.spool.bytes,
            "spool_frames": self.spool.frames,
            "spool_oldest_age_s": self.spool.oldest_age_s(time.time_ns()),
            "samples_dropped_total": sum(dropped.values()),
            "sampled_out_rows_total": self.loop.totals.sampled_out,
            **(self._planner.counters() if self._planner is not None else {}),
            **{f"samples_dropped_{reason}_total": count for reason, count in dropped.items()},
        }

    def samples(self) -> list[Sample]:
        """The agent's own metrics as they are now."""
        name = "tailwatch_agents_"
        return [
            *process_samples(self.incarnation, self._process, self.loop.children_s),
            *self.loop.samples(),
            *shipping_samples(self.spool, self.uplink),
            Sample(name + "spool_merged_frames_total", self._checkpointer.room.merged_frames),
            Sample(name + "checkpoints_total", self._checkpointer.stored),
            Sample(name + "checkpoint_failures_total", self._checkpointer.failures),
            Sample(name + "checkpoint_seconds", self._checkpoint_s),
            Sample(name + "held_bytes", self.executor.held_bytes),
            *(self._planner.samples(len(self.executor.runs)) if self._planner is not None else []),
            *self._reloads.samples(),
            # Shown also before any was dropped, so that "none" is a number.
            *source_samples(self.sources, self.intake.records_in, {SPOOL_FULL: 0, **self._dropped()}),
        ]

    @property
    def _turn_s(self) -> float:
        """How long a turn may wait for the next one."""
        return turn_interval_s(self._config, self.loop.budget_cores, self._idle.turn_s)

    def _end_epoch(self) -> None:
        self.loop.end(time.monotonic())
        self._epochs_to_checkpoint -= 1

    def _checkpoint_due(self) -> bool:
        """At the end of an epoch, or early rather than hold too much; one that was refused is tried again soon.

        Drained rows gain nothing by waiting. Groups do: the longer they are held, the more records share one.
        """
        if self._checkpointer.failing:
            return time.monotonic() >= self._retry_at_s
        if self._epochs_to_checkpoint <= 0:
            return True
        held_bytes = self.executor.held_bytes
        drained_bytes = held_bytes - sum(run.partial_bytes for run in self.executor.runs)
        return drained_bytes > self._config.memory_max_bytes // 8 or held_bytes > self._config.spool_max_bytes // 4

    def _step_uplink(self) -> None:
        """Hand over what there is; that counts as shipping, a look at nothing does not."""
        before, before_s = self.uplink.bytes_published, self._meter.own_s()
        try:
            self.uplink.step()
        finally:
            sent_bytes, cpu_s = self.uplink.bytes_published - before, self._meter.own_s() - before_s
            if sent_bytes:
                self.loop.allowance.ship(cpu_s)
                self.executor.shipping.sent(sent_bytes, cpu_s)

    def _children(self) -> list[int]:
        return self.lineup.children()

    def _turn_cost_s(self) -> float:
        """CPU of a turn that finds nothing to do: the median of a few."""
        costs = []
        for _ in range(_MEASURED_TURNS):
            before_s = self._meter.own_s()
            self.intake.poll_live()
            self.executor.run_waiting()
            costs.append(self._meter.own_s() - before_s)
        return sorted(costs)[len(costs) // 2] + UPLINK_STEP_S

    def _adopt(self, choice: "Choice") -> None:
        """Run what the API says from now on."""
        before = {run.chain.plan.version: run.chain.plan.query for run in self.executor.runs}
        added = self._run_these(choice.wanted)
        gone = before.keys() - {run.chain.plan.version for run in self.executor.runs}
        log.info(
            "plan adopted queries=%d new=%s gone=%s refused=%d no_source=%d",
            len(self.executor.runs),
            ",".join(run.chain.plan.query for run in added) or "none",
            ",".join(sorted(before[version] for version in gone)) or "none",
            len(choice.refused),
            choice.idle,
        )

    def _run_these(self, wanted: Sequence[Wanted]) -> list[QueryRun]:
        """Run these versions from now on; what is new vouches for nothing that was read before."""
        added = self.lineup.run(wanted, self._positions)
        self._checkpointer.note_runs()
        self.loop.adopt()
        return added

    def _configure(self, config: AgentConfig) -> None:
        """Take over what is only numbers."""
        self._config = config
        self.spool.max_bytes = config.spool_max_bytes
        self.uplink.configure(config.catch_up_bytes_per_s)
        self.intake.held_bytes = held_limit(config)
        self.executor.memory_max_bytes = config.memory_max_bytes
        self.executor.labels = config.place
        self.loop.configure(config)
        self._epochs_to_checkpoint = epochs_between_checkpoints(config)

    def _go_on_anew_if_back(self, vouched_before: Set[str]) -> None:
        """A live query that was away while this incarnation ran must not seem to have been there all the time."""
        vouched = self.lineup.vouched_live()
        self._not_vouched_for |= vouched_before - vouched
        if self._not_vouched_for & vouched:
            with self._surviving_the_spool():
                self._checkpointer.go_on_anew(time.time_ns())
                self._not_vouched_for -= vouched

    def _positions(self) -> Mapping[str, StoredPosition] | None:
        """Where the sources were left; None while the spool cannot be read."""
        try:
            return self._checkpointer.positions()
        except SpoolWriteError as error:
            log.error("spool cannot be read, will try again: %s", error)  # noqa: TRY400  # the message says it all
            return None

    def _dropped(self) -> dict[str, int]:
        dropped = dict(self.executor.dropped)
        given_up = self._checkpointer.room.dropped_rows
        return dropped | {SPOOL_FULL: dropped.get(SPOOL_FULL, 0) + given_up} if given_up else dropped

    def _close_services(self) -> None:
        self._services.close_but()

    def _publish_page(self) -> None:
        self._show_sources()
        if self._services.server is not None:
            problems = ["the spool cannot be written" if self._checkpointer.failing else "", str(self.spool.stuck)]
            notes = (self._planner.notes if self._planner is not None else "") + self._reloads.notes
            problem = "; ".join(problem for problem in problems if problem)
            self._services.server.set(page_of(self.samples()), problem, notes)

    def _show_sources(self) -> None:
        """Hand the metrics to the source that makes records of them, when it is time."""
        for one in self.sources:
            if isinstance(one.source, ReadsAgent) and one.source.wants_samples():
                one.source.take_samples(self.samples())

    @contextmanager
    def _surviving_the_spool(self) -> Iterator[None]:
        """A full disk must not end the agent: what was accepted waits in memory and on disk until there is room."""
        try:
            yield
        except SpoolWriteError as error:
            log.error("spool cannot be written, will try again: %s", error)  # noqa: TRY400  # the message says it all


def held_limit(config: AgentConfig) -> int:
    """With a spool that cannot be written, live records gather in memory up to here: 24 MiB by default."""
    return config.memory_max_bytes * 3 // 8
