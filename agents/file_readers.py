"""What of the files each query version has seen: one may come, or come back, when a file is half read.

A file is read once, for the queries that run then. One that comes later begins where the file stands; what lies before
is missing from its answers, and the agent says so (progress.py), so that coverage shows it. To know that after a
restart too, what each version has seen of each file is stored with the file's place, in one transaction.
Times tell, not rows: what is missed within one and the same nanosecond is not noticed.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agents.progress import SourceProgress, Stretch
from agents.query_run import QueryRun
from agents.spool import SeenOfFile

log = logging.getLogger(__name__)

#: In the place of a version, in a spool of a release that did not note versions: each had seen what was read.
ANY_VERSION: Final = ""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A query version that a file feeds now."""

    query: str
    file: SourceProgress


class FileReaders:
    """Those of one agent; `note` is called whenever other queries or sources run, before the next poll."""

    def __init__(self, stored: Mapping[tuple[str, str], SeenOfFile]) -> None:
        """`stored` is what the spool holds, by version and name of the source."""
        self._seen = dict(stored)
        self._stored = dict(stored)
        self._reading: dict[tuple[str, str], _Reading] = {}

    def note(self, runs: Iterable[QueryRun], sources: Iterable[SourceProgress]) -> None:
        """These run from now on, on these sources; all that was polled before was seen by those that ran then."""
        self._follow()
        files = [one for one in sources if one.source.replayable]
        self._reading = {
            (run.chain.plan.version, one.source.name): _Reading(run.chain.plan.query, one)
            for run in runs
            for one in files
            if run.chain.plan.source in one.source.streams
        }
        for key, reading in self._reading.items():
            self._begin(key, reading)
        # Any version means those that ran when the file was taken up; one that comes later may never have run before.
        for _, source in self._reading:
            self._seen.pop((ANY_VERSION, source), None)

    def missed(self) -> dict[str, Stretch]:
        """By version that runs: the stretch of what it has not seen of its files; absent where it has seen all."""
        found: dict[str, Stretch] = {}
        for version, source in self._reading:
            seen = self._seen.get((version, source))
            if seen is not None and seen.missed is not None:
                low, high = found.get(version, seen.missed)
                found[version] = min(low, seen.missed[0]), max(high, seen.missed[1])
        return found

    def to_store(self) -> dict[tuple[str, str], SeenOfFile]:
        """What has changed since the last call, for the checkpoint that is taken now."""
        self._follow()
        changed = {key: seen for key, seen in self._seen.items() if self._stored.get(key) != seen}
        self._stored |= changed
        return changed

    def _follow(self) -> None:
        for key, reading in self._reading.items():
            if reading.file.last_ns is not None:
                before = self._seen.get(key)
                self._seen[key] = SeenOfFile(reading.file.last_ns, None if before is None else before.missed)

    def _begin(self, key: tuple[str, str], reading: _Reading) -> None:
        first_ns, last_ns = reading.file.first_ns, reading.file.last_ns
        if first_ns is None or last_ns is None:
            return
        known = self._seen.get(key) or self._seen.get((ANY_VERSION, key[1]))
        if known is not None and known.seen_ns >= last_ns:
            self._seen[key] = known
            return
        from_ns = first_ns if known is None else known.seen_ns + 1
        if known is not None and known.missed is not None:
            from_ns = min(from_ns, known.missed[0])
        self._seen[key] = SeenOfFile(last_ns, (from_ns, last_ns + 1))
        log.warning(
            "query begins in the middle of a file, records read before are not in it and coverage says so; "
            "to have them, replay the file as another stream query=%s source=%s missed_ns=%d..%d",
            reading.query,
            reading.file.source.name,
            from_ns,
            last_ns,
        )
