"""The agent's parts put together, one turn of its loop at a time.

A turn polls the sources, runs the queries on what came, checkpoints when that is due and moves frames to the
transport. When the spool has no room, files wait (they can be read later) and live records are counted as dropped.
Room is judged with what has gathered since the last checkpoint, for that will want room as well.
When an outage of the transport is over and has left a backlog, the agent goes on as a new incarnation, whose frames
go at once while those of the one before drain (catch_up.py).
A new configuration is taken over between two turns: everything that may fail is tried first, and then nothing fails.
"""

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import psutil

from agents.bounds import ALWAYS, BEGINNING_NS
from agents.checkpoint import Checkpointer
from agents.config import AgentConfig, SourceConfig
from agents.errors import ReloadError, SourceError, SpoolWriteError
from agents.executor import Executor, QueryRun, Wanted
from agents.machine import machine_id
from agents.memory import release_free_memory
from agents.own_metrics import Sample, page_of
from agents.progress import SourceProgress, live_watermarks
from agents.reload import PLANNING, NewSetup, changed_keys, refuse_what_needs_a_restart, source_changes
from agents.source_swap import SourceSwap
from agents.sources.configured import configured_sources
from agents.sources.source import Source
from agents.spool import Incarnation, Spool
from agents.spool_room import SPOOL_FULL
from agents.uplink import Uplink
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.schema import Schema
from pipeline.tables import StaticTable
from wire.transport import Publisher

if TYPE_CHECKING:
    from agents.metrics_server import MetricsServer
    from agents.planned import Choice
    from agents.planner import Planner

log = logging.getLogger(__name__)

TURN_S: Final = 0.1
# Checkpoint early rather than hold more than this between two of them.
EARLY_CHECKPOINT_BYTES: Final = 8 * 2**20
# With a spool that cannot be written, live records gather in memory up to here.
HELD_BYTES: Final = 24 * 2**20
SPOOL_UNWRITABLE: Final = "spool_unwritable"
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
    ) -> None:
        """Open spool and sources and announce the incarnation.

        Raises:
            AgentError: spool, a source or the metrics port cannot be opened; what had been opened is closed again.
            PipelineError: a plan does not fit its tables.
        """
        self._config = config
        self._early_bytes = min(EARLY_CHECKPOINT_BYTES, config.spool_max_bytes // 4)
        self._process = psutil.Process()
        self._records_in: dict[str, int] = {}
        self._checkpoint_s = 0.0
        self._reloads = {"applied": 0, "refused": 0}
        self._reload_refused = ""
        self._not_vouched_for: set[str] = set()
        machine = machine or machine_id()
        with ExitStack() as opened:
            executor = Executor(plans, tables, config.host_name, config.policy)
            configured = configured_sources(config, plans)
            self.spool = Spool(Path(config.spool_path), machine, config.spool_max_bytes, connection)
            opened.callback(self.spool.close)
            self._server = _metrics_server(config)
            if self._server is not None:
                opened.callback(self._server.close)
            own = [run.chain for run in executor.runs]
            self._planner = _planner(config, own, tables, configured)
            if self._planner is not None:
                opened.callback(self._planner.close)
                executor.adopt(self._planner.start().wanted)
            self._own_versions = {chain.plan.version for chain in own}
            self._entries = _by_name(config, configured)
            self._unread = [source for source in configured if not _read(source.streams, executor)]
            stored = self.spool.positions()
            incarnation = self.spool.begin(config.agent_id, time.time_ns())
            self.sources: list[SourceProgress] = []
            for source in configured:
                if source not in self._unread:
                    opened.callback(source.close)
                    self.sources.append(SourceProgress(source, stored.get(source.name), incarnation.started_ns))
            self._restore_begun(executor, self._own_versions)
            self.executor = executor
            self.uplink = Uplink(self.spool, publisher, catch_up_bytes_per_s=config.catch_up_bytes_per_s)
            self._checkpointer = Checkpointer(
                self.spool,
                incarnation,
                executor,
                self.sources,
                host=config.host_name,
                machine=machine,
                counters=self.counters,
            )
            self._checkpointer.take(time.time_ns())
            self._opened = opened.pop_all()
        now_s = time.monotonic()
        self._next_checkpoint_s = now_s + config.checkpoint_s
        self._next_epoch_s = now_s + config.epoch_s
        self._next_release_s = now_s + FIRST_RELEASE_S
        self._publish_page()
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
    def incarnation(self) -> Incarnation:
        """The running one."""
        return self._checkpointer.incarnation

    def turn(self) -> float:
        """Do what is due; returns how many seconds may pass before the next turn."""
        news = self._planner.news() if self._planner is not None else None
        if news is not None:
            self._adopt(news)
        busy = self._poll()
        now_s = time.monotonic()
        if now_s >= self._next_epoch_s:
            self.executor.run_waiting()
            self._next_epoch_s = now_s + self._config.epoch_s
        early = self.executor.held_bytes > self._early_bytes and not self._checkpointer.failing
        if now_s >= self._next_checkpoint_s or early:
            self.checkpoint()
        with self._surviving_the_spool():
            self.uplink.step()
            if self.uplink.left_behind() and not self._checkpointer.failing:
                self._checkpointer.go_on_anew(time.time_ns())
                log.info("catching up incarnation=%s backlog=%d", self.incarnation.id, self.spool.backlog_frames)
        return 0.0 if busy else TURN_S

    def checkpoint(self) -> None:
        """Take a checkpoint now; one that the spool refuses is tried again soon."""
        started_s = time.monotonic()
        self._next_checkpoint_s = started_s + RETRY_CHECKPOINT_S
        with self._surviving_the_spool():
            self._checkpointer.take(time.time_ns())
            self._next_checkpoint_s = started_s + self._config.checkpoint_s
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
        with ExitStack() as undo:
            server = self._server
            if new.config.metrics_port != before.metrics_port:
                server = _metrics_server(new.config)
                if server is not None:
                    undo.callback(server.close)
            configured = configured_sources(new.config, [chain.plan for chain in new.chains])
            planner, wanted = self._replanned(new, configured)
            if planner is not None and planner is not self._planner:
                undo.callback(planner.close)
            read = {one.chain.plan.source for one in wanted}
            entries = _by_name(new.config, configured)
            needed = [source for source in configured if not read.isdisjoint(source.streams)]
            changes = source_changes(self.sources, self._entries, needed, entries)
            swap = SourceSwap(changes, self.spool.positions(), self._entries, entries, self._take_in)
            swap.open()
            undo.pop_all()
        # From here on nothing fails: what goes is taken in to its end, and stored with its place in the file.
        vouched = live_watermarks([run.chain.plan for run in self.executor.runs], self.sources)
        sources = swap.close_old()
        self.checkpoint()
        self.sources[:] = sources
        for one in sources:
            self._opened.callback(one.source.close)
        self._unread = [source for source in configured if source not in needed]
        self._entries = entries
        self._change_server(server, new.config)
        self._change_planner(planner)
        self._configure(new.config)
        self._own_versions = {chain.plan.version for chain in new.chains}
        self._run_these(wanted)
        self._go_on_anew_if_back(vouched.keys())
        self._reloads["applied"] += 1
        self._reload_refused = ""
        self._publish_page()
        release_free_memory()
        log.info(
            "configuration reloaded changed=%s queries=%d sources=%d",
            ",".join(changed_keys(before, new.config)) or "none",
            len(self.executor.runs),
            len(self.sources),
        )

    def refuse(self, reason: str) -> None:
        """Say why a new configuration is not applied; the one before goes on."""
        self._reloads["refused"] += 1
        self._reload_refused = reason
        log.error("configuration not reloaded, the one before goes on reason=%s", reason)
        self._publish_page()

    def close(self) -> None:
        """Take in what the sources still have, store it, publish for a moment, end cleanly."""
        with self._opened:
            for one in self.sources:
                if not one.source.replayable:
                    self._take_in(one)
                one.source.close()
                if not one.source.replayable:
                    self._take_in(one)  # what arrived while it was closing
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
            "records_in_total": sum(self._records_in.values()),
            "frames_total": self.uplink.frames_published,
            "wire_bytes_total": self.uplink.bytes_published,
            "spool_bytes": self.spool.bytes,
            "spool_frames": self.spool.frames,
            "spool_oldest_age_s": self.spool.oldest_age_s(time.time_ns()),
            "samples_dropped_total": sum(dropped.values()),
            **(self._planner.counters() if self._planner is not None else {}),
            **{f"samples_dropped_{reason}_total": count for reason, count in dropped.items()},
        }

    def samples(self) -> list[Sample]:
        """The agent's own metrics as they are now."""
        memory, cpu = self._process.memory_info(), self._process.cpu_times()
        name = "tailwatch_agents_"
        identity = (("agent", self.incarnation.agent), ("incarnation", self.incarnation.id))
        found = [
            Sample(name + "info", 1, identity),
            Sample(name + "frames_total", self.uplink.frames_published),
            Sample(name + "wire_bytes_total", self.uplink.bytes_published),
            Sample(name + "spool_bytes", self.spool.bytes),
            Sample(name + "spool_max_bytes", self.spool.max_bytes),
            Sample(name + "spool_frames", self.spool.frames),
            Sample(name + "backlog_frames", self.spool.backlog_frames),
            Sample(name + "spool_oldest_age_seconds", self.spool.oldest_age_s(time.time_ns())),
            Sample(name + "spool_stuck_frames", self.spool.stuck.stranded, (("reason", "no_partition"),)),
            Sample(name + "spool_stuck_frames", self.spool.stuck.unsendable, (("reason", "too_large"),)),
            Sample(name + "spool_merged_frames_total", self._checkpointer.room.merged_frames),
            Sample(name + "checkpoints_total", self._checkpointer.stored),
            Sample(name + "checkpoint_failures_total", self._checkpointer.failures),
            Sample(name + "checkpoint_seconds", self._checkpoint_s),
            Sample(name + "uplink_up", self.uplink.up),
            Sample(name + "uplink_failures_total", self.uplink.failures),
            Sample(name + "held_bytes", self.executor.held_bytes),
            Sample(name + "resident_bytes", memory.rss),
            Sample(name + "cpu_seconds_total", cpu.user + cpu.system),
        ]
        found += [Sample(name + "reloads_total", n, (("result", result),)) for result, n in self._reloads.items()]
        found.append(Sample(name + "reload_last_refused", bool(self._reload_refused)))
        found += self._planner.samples(len(self.executor.runs)) if self._planner is not None else []
        for stream, rows in self._records_in.items():
            found.append(Sample(name + "records_in_total", rows, (("stream", stream),)))
        for reason, count in self._dropped().items():
            found.append(Sample(name + "samples_dropped_total", count, (("reason", reason),)))
        for one in self.sources:
            label = ("source", one.source.name)
            found.append(Sample(name + "source_up", one.failure is None, (label,)))
            events, sensors = one.source.counters(), one.source.missing()
            found += [Sample(name + "source_events_total", n, (label, ("event", event))) for event, n in events.items()]
            found += [Sample(name + "sensor_missing", 1, (label, ("sensor", sensor))) for sensor in sensors]
        return found

    def _adopt(self, choice: "Choice") -> None:
        """Run what the API says from now on."""
        added = self._run_these(choice.wanted)
        log.info(
            "plan adopted queries=%d new=%s refused=%d no_source=%d",
            len(self.executor.runs),
            ",".join(run.chain.plan.query for run in added) or "none",
            len(choice.refused),
            choice.idle,
        )

    def _run_these(self, wanted: Sequence[Wanted]) -> list[QueryRun]:
        """Run these versions from now on; what is new vouches for nothing that was read before."""
        added = self.executor.adopt(wanted)
        for source in [one for one in self._unread if _read(one.streams, self.executor)]:
            self._open_late(source)
        begun: dict[str, int] = {}
        for run in added:
            feeding = [one for one in self.sources if run.chain.plan.source in one.source.streams]
            reached = [one.watermark_ns for one in feeding if one.watermark_ns is not None]
            if reached:
                run.bounds = replace(run.bounds, since_ns=max(reached))
            if reached and any(one.source.replayable for one in feeding):
                begun[run.chain.plan.version] = max(reached)
        self._checkpointer.note_runs()
        if begun and self._planner is not None:
            self._planner.note_begun(begun)
        return added

    def _replanned(self, new: NewSetup, configured: Sequence[Source]) -> "tuple[Planner | None, list[Wanted]]":
        """Who asks for plans from now on, the one who does where nothing of his changes, and what to run."""
        own = {chain.plan.version for chain in new.chains}
        if not new.config.plan_url:
            return None, [Wanted(chain, ALWAYS.spans) for chain in new.chains]
        same = own == self._own_versions and not set(PLANNING) & set(changed_keys(self._config, new.config))
        if self._planner is not None and same and _streams(configured) == self._planner.streams:
            return self._planner, self._planner.choice.wanted
        running = {run.chain.plan.version: run.chain for run in self.executor.runs}
        planner = _planner(new.config, new.chains, new.tables, configured, running)
        assert planner is not None, "there is an address"
        return planner, planner.start().wanted

    def _change_planner(self, planner: "Planner | None") -> None:
        before, self._planner = self._planner, planner
        if planner is not before:
            if before is not None:
                before.close()
            if planner is not None:
                self._opened.callback(planner.close)

    def _change_server(self, server: "MetricsServer | None", config: AgentConfig) -> None:
        before, self._server = self._server, server
        if server is not before:
            if before is not None:
                before.close()
            if server is not None:
                self._opened.callback(server.close)
        if server is not None:
            server.stale_after(_stale_after_s(config))

    def _configure(self, config: AgentConfig) -> None:
        """Take over what is only numbers."""
        self._config = config
        self._early_bytes = min(EARLY_CHECKPOINT_BYTES, config.spool_max_bytes // 4)
        self.spool.max_bytes = config.spool_max_bytes
        self.uplink.configure(config.catch_up_bytes_per_s)
        now_s = time.monotonic()
        self._next_checkpoint_s = min(self._next_checkpoint_s, now_s + config.checkpoint_s)
        self._next_epoch_s = min(self._next_epoch_s, now_s + config.epoch_s)

    def _go_on_anew_if_back(self, vouched_before: Set[str]) -> None:
        """A live query that was away while this incarnation ran must not seem to have been there all the time."""
        vouched = live_watermarks([run.chain.plan for run in self.executor.runs], self.sources).keys()
        self._not_vouched_for |= vouched_before - vouched
        if self._not_vouched_for & vouched:
            with self._surviving_the_spool():
                self._checkpointer.go_on_anew(time.time_ns())
                self._not_vouched_for -= vouched

    def _restore_begun(self, executor: Executor, own: Set[str]) -> None:
        """A version that came after files were read vouches for no record before, also if a kill came in between.

        Those of the agent's own file have run from the beginning.
        """
        if self._planner is None:
            return
        known, news = self._planner.begun_ns, {}
        for run in executor.runs:
            version = run.chain.plan.version
            if version not in known:
                feeding = [one for one in self.sources if run.chain.plan.source in one.source.streams]
                reached = [
                    one.watermark_ns for one in feeding if one.source.replayable and one.watermark_ns is not None
                ]
                news[version] = BEGINNING_NS if version in own else max(reached, default=BEGINNING_NS)
            run.bounds = replace(run.bounds, since_ns=known.get(version, news.get(version, BEGINNING_NS)))
        if news:
            self._planner.note_begun(news)

    def _open_late(self, source: Source) -> None:
        """Start a source that nobody had asked for; one that cannot be opened is told and left alone."""
        self._unread.remove(source)
        try:
            with self._surviving_the_spool():
                stored = self.spool.positions().get(source.name)
                self.sources.append(SourceProgress(source, stored, time.time_ns()))
                self._opened.callback(source.close)
        except SourceError as error:
            log.error("source cannot be opened source=%s error=%s", source.name, error)  # noqa: TRY400

    def _poll(self) -> bool:
        """Poll the sources; whether one of them has more to give at once."""
        busy = False
        for one in self.sources:
            if one.source.replayable and not self._roomy():
                continue
            rows = self._take_in(one)
            busy = busy or (one.source.replayable and rows > 0)
        return busy

    def _take_in(self, one: SourceProgress) -> int:
        """Poll one source and give what it has to the queries; returns the number of rows."""
        reason = self._no_room()
        rows = 0
        for batch in one.poll(time.time_ns()):
            if batch.stream not in self.executor.by_stream:
                continue
            rows += batch.rows.height
            self._records_in[batch.stream] = self._records_in.get(batch.stream, 0) + batch.rows.height
            if reason and not one.source.replayable:
                self.executor.drop(batch, reason)
            else:
                self.executor.add(batch)
        return rows

    def _roomy(self) -> bool:
        """Whether files may be read on: with less than half the cap in use, counting what the next checkpoint adds."""
        used_bytes = self.spool.bytes + self.executor.held_bytes
        return used_bytes < self.spool.max_bytes // 2 and not self._checkpointer.failing

    def _no_room(self) -> str:
        """Why live records cannot be kept now; empty when they can."""
        if self._checkpointer.failing:
            return SPOOL_UNWRITABLE if self.executor.held_bytes > HELD_BYTES else ""
        return SPOOL_FULL if self.spool.bytes >= self.spool.max_bytes else ""

    def _dropped(self) -> dict[str, int]:
        dropped = dict(self.executor.dropped)
        given_up = self._checkpointer.room.dropped_rows
        return dropped | {SPOOL_FULL: dropped.get(SPOOL_FULL, 0) + given_up} if given_up else dropped

    def _publish_page(self) -> None:
        if self._server is not None:
            problems = ["the spool cannot be written" if self._checkpointer.failing else "", str(self.spool.stuck)]
            notes = self._planner.notes if self._planner is not None else ""
            if self._reload_refused:
                notes += "".join(f"reload: refused: {line}\n" for line in self._reload_refused.splitlines())
            self._server.set(page_of(self.samples()), "; ".join(problem for problem in problems if problem), notes)

    @contextmanager
    def _surviving_the_spool(self) -> Iterator[None]:
        """A full disk must not end the agent: what was accepted waits in memory and on disk until there is room."""
        try:
            yield
        except SpoolWriteError as error:
            log.error("spool cannot be written, will try again: %s", error)  # noqa: TRY400  # the message says it all


def _read(streams: Mapping[str, object], executor: Executor) -> bool:
    """Whether any query reads one of these streams; a source that nobody asks costs CPU for nothing."""
    if any(stream in executor.by_stream for stream in streams):
        return True
    log.info("source not started, no query reads it streams=%s", ",".join(streams))
    return False


def _by_name(config: AgentConfig, configured: Sequence[Source]) -> dict[str, SourceConfig]:
    """The entries of the configured sources."""
    return {source.name: entry for source, entry in zip(configured, config.sources, strict=True)}


def _streams(sources: Sequence[Source]) -> dict[str, Schema]:
    return {stream: schema for source in sources for stream, schema in source.streams.items()}


def _planner(
    config: AgentConfig,
    own: Sequence[Chain],
    tables: Mapping[str, StaticTable],
    sources: Sequence[Source],
    running: Mapping[str, Chain] = MappingProxyType({}),
) -> "Planner | None":
    """What asks the API for plans, where one is named; `running` are chains that it need not build."""
    if not config.plan_url:
        return None
    from agents import planned, planner  # noqa: PLC0415  # an HTTP client that an agent without it need not hold

    return planner.Planner(config, planned.OwnQueries(own, tables, _streams(sources)), running)


def _metrics_server(config: AgentConfig) -> "MetricsServer | None":
    """The server of the agent's own metrics, where one is asked for."""
    if not config.metrics_port:
        return None
    from agents import metrics_server  # noqa: PLC0415  # 2 MB that an agent without it need not hold

    return metrics_server.MetricsServer(config.metrics_port, _stale_after_s(config))


def _stale_after_s(config: AgentConfig) -> float:
    return max(5.0, 5 * config.checkpoint_s)
