"""Which sources and queries an agent runs now, and how others take their place.

A source runs only if a query reads one of its streams; one that nobody asks costs CPU for nothing. The list of sources
is one object for the agent's life: whoever polls or stores them sees every change.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from time import time_ns

from agents.config import AgentConfig
from agents.errors import SourceError
from agents.executor import Executor, Wanted
from agents.file_readers import FileReaders
from agents.progress import SourceProgress, live_watermarks
from agents.query_run import QueryRun
from agents.sources.configs import SourceConfig
from agents.sources.configured import entries_by_name
from agents.sources.source import Source
from agents.spool import Spool, StoredPosition

log = logging.getLogger(__name__)


class Lineup:
    """Those of one agent."""

    def __init__(self, config: AgentConfig, configured: Sequence[Source], executor: Executor, spool: Spool) -> None:
        """Nothing is opened yet; the executor has the queries that run first."""
        self.sources: list[SourceProgress] = []
        self.entries: Mapping[str, SourceConfig] = entries_by_name(config, configured)
        self.readers = FileReaders(spool.seen())
        self._executor = executor
        self._unread: list[Source] = []
        self._closing = ExitStack()

    def open(self, configured: Sequence[Source], stored: Mapping[str, StoredPosition], now_ns: int) -> None:
        """Open what is read, each where the last checkpoint left it.

        Raises:
            SourceError: one cannot be opened and never was before.
        """
        self._unread = [source for source in configured if not self._is_read(source)]
        for source in configured:
            if source not in self._unread:
                self._closing.callback(source.close)
                self.sources.append(SourceProgress(source, stored.get(source.name), now_ns))
        self.readers.note(self._executor.runs, self.sources)

    def close(self) -> None:
        """Let go of every source that was ever opened here."""
        self._closing.close()

    def run(
        self, wanted: Sequence[Wanted], positions: Callable[[], Mapping[str, StoredPosition] | None]
    ) -> list[QueryRun]:
        """Run these versions from now on; returns those that are new, which vouch for nothing read before.

        `positions` says where sources were left, or None if that is not to be had: then the next call asks again.
        """
        added = self._executor.adopt(wanted)
        for source in [one for one in self._unread if self._is_read(one)]:
            stored = positions()
            if stored is not None:
                self._open_late(source, stored)
        for run in added:
            since_ns = self._live_watermark_ns(run)
            if since_ns is not None:
                run.bounds = replace(run.bounds, since_ns=since_ns)
        self.readers.note(self._executor.runs, self.sources)
        return added

    def replace_sources(
        self, sources: Sequence[SourceProgress], entries: Mapping[str, SourceConfig], unread: Sequence[Source]
    ) -> None:
        """These are open and run from now on; `unread` are configured and not asked for. `run` must follow."""
        self.sources[:], self.entries, self._unread = sources, entries, list(unread)
        for one in sources:
            self._closing.callback(one.source.close)

    def vouched_live(self) -> set[str]:
        """The versions whose live records are vouched for now."""
        return set(live_watermarks([run.chain.plan for run in self._executor.runs], self.sources))

    def unpaced(self) -> frozenset[str]:
        """The query versions that are fed by files without a pace and nothing else: their records can wait."""
        paced = {
            stream
            for one in self.sources
            if not one.source.replayable or one.source.lag_rows is not None
            for stream in one.source.streams
        }
        fed = {stream for one in self.sources for stream in one.source.streams}
        runs = self._executor.runs
        return frozenset(run.chain.plan.version for run in runs if run.chain.plan.source in fed - paced)

    def children(self) -> list[int]:
        """The processes that work for this agent."""
        numbers = [getattr(one.source, "process_id", None) for one in self.sources]
        return [number for number in numbers if number is not None]

    def _is_read(self, source: Source) -> bool:
        if any(stream in self._executor.by_stream for stream in source.streams):
            return True
        log.info("source not started, no query reads it streams=%s", ",".join(source.streams))
        return False

    def _live_watermark_ns(self, run: QueryRun) -> int | None:
        """Up to where live records of the query's stream have been given; None without any."""
        live = [
            one for one in self.sources if not one.source.replayable and run.chain.plan.source in one.source.streams
        ]
        return max((one.watermark_ns for one in live if one.watermark_ns is not None), default=None)

    def _open_late(self, source: Source, stored: Mapping[str, StoredPosition]) -> None:
        """Start a source that nobody had asked for; one that cannot be opened is told and left alone."""
        self._unread.remove(source)
        try:
            self.sources.append(SourceProgress(source, stored.get(source.name), time_ns()))
            self._closing.callback(source.close)
        except SourceError as error:
            log.error("source cannot be opened source=%s error=%s", source.name, error)  # noqa: TRY400
