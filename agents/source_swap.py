"""Takes an agent from the sources that run to those that are wanted, or leaves all as it was.

New ones are opened before old ones are closed, so that one that cannot be opened changes nothing. A socket is the
exception: its path or port must be let go of first, and is taken back if the new one cannot have it. So is a live
source that has a place in a log: what it gives until its end, its successor must not give again.
A live source that goes is taken in to its end, also a new one that has to let go of its socket again. What takes the
place of one goes on vouching where that stopped; a file goes on at its place.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from agents.errors import SourceError
from agents.progress import SourceProgress
from agents.reload import SourceChanges
from agents.sources.addresses import places_of
from agents.sources.configs import SourceConfig
from agents.sources.source import Source, Successor
from agents.spool import StoredPosition

log = logging.getLogger(__name__)


class SourceSwap:
    """One change of the sources: `open`, then `close_old`, or `take_back`."""

    def __init__(
        self,
        changes: SourceChanges,
        stored: Mapping[str, StoredPosition],
        entries: Mapping[str, SourceConfig],
        new_entries: Mapping[str, SourceConfig],
        take_in: Callable[[SourceProgress], object],
    ) -> None:
        """`stored` are the positions in the spool; `take_in` polls a source for the queries that run now."""
        self._changes = changes
        self._stored = stored
        self._places = {name: places_of(entry) for name, entry in entries.items()}
        self._new_places = {name: places_of(entry) for name, entry in new_entries.items()}
        self._take_in = take_in
        self._opened: dict[str, SourceProgress] = {}
        self._ended: list[SourceProgress] = []

    def open(self) -> None:
        """Open what is new.

        Raises:
            SourceError: one cannot be opened; all sources are as before.
        """
        coming = [*self._changes.added, *(source for _, source in self._changes.changed)]
        going = [*self._changes.removed, *(one for one, _ in self._changes.changed)]
        try:
            for source in sorted(coming, key=lambda one: bool(self._new_places.get(one.name))):
                self._hand_over(source)
                self._free(self._new_places.get(source.name, frozenset()), going)
                self._open_one(source)
        except BaseException:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Close what was opened, and listen again where that had to be ended."""
        for one in self._opened.values():
            one.source.close()
            if self._new_places.get(one.source.name):
                self._take_in(one)  # what was sent to it meanwhile is not sent again
        self._opened.clear()
        for one in self._ended:
            try:
                one.source.open(one.source.position())
            except SourceError as error:
                one.failure = str(error)
                log.error("source cannot be opened again source=%s error=%s", one.source.name, error)  # noqa: TRY400
        self._ended.clear()

    def close_old(self) -> list[SourceProgress]:
        """Take in what goes and close it; returns the sources that run from now on."""
        for one in self._changes.removed:
            self._end(one)
        for one, source in self._changes.changed:
            self._end(one)
            self._opened[source.name].go_on_from(one)
        return [*self._changes.kept, *self._opened.values()]

    def _open_one(self, source: Source) -> None:
        before = next((one for one, changed in self._changes.changed if changed is source), None)
        if before is not None and not before.source.replayable and before.source.position() is not None:
            self._end(before)
        stored = self._stored.get(source.name) if before is None else before.to_store()
        opened = SourceProgress(source, stored, time.time_ns())
        if opened.failure is not None and (before is None or before.failure is None):  # else it is no worse than it was
            raise SourceError(opened.failure)
        self._opened[source.name] = opened

    def _hand_over(self, source: Source) -> None:
        before = next((one for one, changed in self._changes.changed if changed is source), None)
        if before is not None and before.failure is None and isinstance(source, Successor):
            source.take_over(before.source)

    def _free(self, places: frozenset[str], going: list[SourceProgress]) -> None:
        for one in going:
            if places & self._places.get(one.source.name, frozenset()):
                self._end(one)

    def _end(self, one: SourceProgress) -> None:
        if one in self._ended:
            return
        self._ended.append(one)
        live = not one.source.replayable
        if live:
            self._take_in(one)
        with suppress(OSError):
            one.source.close()
        if live:
            self._take_in(one)  # what arrived while it was closing
