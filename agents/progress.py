"""How far each source has come, and what that says about each query: first time, watermark, finished, in doubt.

A live source is complete as far as it has measured, which stands still while it does not. A replayed file
is complete up to the largest time it has given (files are taken to be in order of time), and for ever once it is
through. One that follows files which grow says itself up to where it has given all. These times are stored with its
position, so that a restart goes on from them. They reach back to what earlier incarnations read: as long as frames of
those wait, nothing is said of a query that a file feeds. What such a query has not seen of its file, because it came
later, is in doubt like the stretch before an unclean end.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from agents.bounds import ALWAYS, BEGINNING_NS, Bounds
from agents.errors import SourceError
from agents.sources.source import NOTHING_NS, Batch, Source
from agents.spool import Incarnation, StoredPosition
from pipeline.plan import Plan
from pipeline.schema import TIME_COLUMN
from wire.heartbeat import FINISHED_NS, QueryProgress

log = logging.getLogger(__name__)

#: [from, to) in ns.
Stretch: TypeAlias = tuple[int, int]


class SourceProgress:
    """One source, opened where the last checkpoint left it."""

    def __init__(self, source: Source, stored: StoredPosition | None, now_ns: int) -> None:
        """Open the source.

        One that cannot go on where it was before is left alone, as if it had failed while running: a mistake in the
        configuration shows at the first start, and a broken file must not keep the live sources from starting.

        Raises:
            SourceError: it cannot be opened and never was before.
        """
        self.source = source
        self.failure: str | None = None
        self.rows = 0
        self._stored = stored
        self._first_ns = stored.first_ns if stored else None
        self._last_ns = stored.watermark_ns if stored else None
        if not source.replayable:
            self._first_ns = self._last_ns = now_ns
        self._open()

    def poll(self, now_ns: int) -> list[Batch]:
        """What the source has; a source that fails is left alone from then on, the others go on."""
        if self.failure is not None:
            return []
        try:
            batches = self.source.poll()
        except SourceError as error:
            self._fail(error)
            return []
        self.rows += sum(batch.rows.height for batch in batches)
        measured_ns = self.source.measured_to_ns(now_ns)
        if measured_ns is None:
            for batch in batches if self.source.replayable else ():
                self._note(batch)
        elif not self.source.replayable:
            self._last_ns = max(self._last_ns or 0, measured_ns)
        else:
            self._follow(batches, measured_ns)
        return batches

    def go_on_anew(self) -> None:
        """A new incarnation begins here: of a live source it vouches for nothing before."""
        if not self.source.replayable:
            self._first_ns = self._last_ns

    def go_on_from(self, before: "SourceProgress") -> None:
        """This source takes the place of one of the same name, which has been taken in to its end."""
        if not self.source.replayable:
            self._first_ns, self._last_ns = before._first_ns, before._last_ns

    @property
    def first_ns(self) -> int | None:
        """Start of what the watermark vouches for; None before the first row of a replay."""
        return self._first_ns

    @property
    def watermark_ns(self) -> int | None:
        """Every record below has been returned by `poll`; None before the first row of a replay."""
        if self.source.replayable and self.source.finished and self._last_ns is not None:
            return FINISHED_NS
        return self._last_ns

    @property
    def last_ns(self) -> int | None:
        """As the watermark, but the largest time given of a replay that is through, too."""
        return self._last_ns

    def to_store(self) -> StoredPosition | None:
        """What a checkpoint must keep; None for a live source that has no place to go on from."""
        if not self._opened:
            return self._stored
        position = self.source.position()
        if position is None:
            return None
        return StoredPosition(position, self._first_ns, self._last_ns)

    def _open(self) -> None:
        self._opened = False
        try:
            self.source.open(self._stored.position if self._stored else None)
        except SourceError as error:
            if self._stored is None or not self.source.replayable:
                raise
            self._fail(error)
        else:
            self._opened = True

    def _fail(self, error: SourceError) -> None:
        self.failure = str(error)
        log.error("source stopped source=%s error=%s", self.source.name, error)

    def _follow(self, batches: Iterable[Batch], measured_ns: int) -> None:
        """The source says itself how far it is. What it vouches for begins with what it gave before it first did."""
        if self._last_ns is None:
            lows = [int(b.rows[TIME_COLUMN].min()) for b in batches if b.rows.height]  # type: ignore[arg-type]
            self._first_ns = min([*lows, *([self._first_ns] if self._first_ns is not None else [])], default=None)
        if measured_ns > NOTHING_NS:
            self._first_ns = measured_ns if self._first_ns is None else self._first_ns
            self._last_ns = max(self._last_ns or 0, measured_ns)

    def _note(self, batch: Batch) -> None:
        if batch.rows.height:
            times = batch.rows[TIME_COLUMN]
            low, high = int(times.min()), int(times.max())  # type: ignore[arg-type]  # int64 without NULL
            self._first_ns = low if self._first_ns is None else min(self._first_ns, low)
            self._last_ns = high if self._last_ns is None else max(self._last_ns, high)


def query_progress(
    plans: Iterable[Plan],
    sources: Iterable[SourceProgress],
    incarnation: Incarnation,
    *,
    backlog: bool = False,
    bounds: Mapping[str, Bounds] = MappingProxyType({}),
    missed: Mapping[str, Stretch] = MappingProxyType({}),
) -> list[QueryProgress]:
    """What the heartbeat says of each query that some source here feeds and that has begun.

    `backlog` says that frames of earlier incarnations wait: what a file gave may be among them. `bounds` are those of
    versions that run for a part of time only: nothing is said of what lies outside. `missed` is what versions have not
    seen of their files.
    """
    sources = list(sources)
    found: list[QueryProgress] = []
    for plan in plans:
        feeding = [one for one in sources if plan.source in one.source.streams]
        firsts = [one.first_ns for one in feeding if one.first_ns is not None]
        watermarks = [one.watermark_ns for one in feeding if one.watermark_ns is not None]
        if not feeding or len(watermarks) < len(feeding):
            continue
        if backlog and any(one.source.replayable for one in feeding):
            continue
        complete = bounds.get(plan.version, ALWAYS).of_stretch(min(firsts), min(watermarks))
        if complete is None:
            continue
        replayable = all(one.source.replayable for one in feeding)
        first_ns, watermark_ns = complete
        doubt = _not_seen(missed.get(plan.version), complete) if replayable else _unclean(incarnation, plan.version)
        if not replayable and plan.version in missed:  # one stretch can be told: that of the live records
            first_ns = max(first_ns, missed[plan.version][1])
            if first_ns >= watermark_ns:
                continue
        found.append(
            QueryProgress(
                query=plan.query,
                version=plan.version,
                first_ns=first_ns,
                watermark_ns=watermark_ns,
                replayable=replayable,
                finished=all(one.source.finished for one in feeding),
                interrupted_from_ns=None if doubt is None else doubt[0],
                interrupted_to_ns=None if doubt is None else doubt[1],
            )
        )
    return found


def _unclean(incarnation: Incarnation, version: str) -> Stretch | None:
    from_ns = incarnation.in_doubt_from(version)
    return None if from_ns is None else (from_ns, incarnation.started_ns)


def _not_seen(missed: Stretch | None, complete: Stretch) -> Stretch | None:
    """What was missed of the version's own time; it may reach beyond what is complete so far, so that it stays one."""
    if missed is None or missed[1] <= complete[0]:
        return None
    return max(missed[0], complete[0]), missed[1]


def live_watermarks(
    plans: Iterable[Plan], sources: Iterable[SourceProgress], bounds: Mapping[str, Bounds] = MappingProxyType({})
) -> dict[str, int]:
    """By version of each query that live sources feed: up to where all of them have given what they measured."""
    sources = list(sources)
    found: dict[str, int] = {}
    for plan in plans:
        feeding = [one for one in sources if not one.source.replayable and plan.source in one.source.streams]
        watermarks = [one.watermark_ns for one in feeding if one.watermark_ns is not None]
        lowest = min(watermarks, default=None)
        complete = None if lowest is None else bounds.get(plan.version, ALWAYS).of_stretch(BEGINNING_NS, lowest)
        if complete is not None:
            found[plan.version] = complete[1]
    return found
