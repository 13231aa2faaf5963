"""What every source of records offers, so that the agent treats them alike.

A source is opened once at the position stored with the last checkpoint (None: from its beginning), polled from
one thread and closed. `position()` names the place just behind everything `poll()` has returned so far: stored in
the same transaction as what became of those rows, it makes a replayable source's records count exactly once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import polars as pl

from agents.own_metrics import Sample
from agents.sources.series_limit import SeriesLimit
from pipeline.schema import MIN_TIME_NS, Schema

#: No record is below it: what `measured_to_ns` says where nothing is known yet.
NOTHING_NS: Final = MIN_TIME_NS


@dataclass(frozen=True, slots=True)
class Lost:
    """`count` samples of around `ts_ns` that were measured or due but could not be kept."""

    ts_ns: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one stream: its columns, `ts` among them; the agent adds `host` and its labels where they are missing."""

    stream: str
    rows: pl.DataFrame
    lost: tuple[Lost, ...] = ()


class Source(Protocol):
    """One place records come from."""

    @property
    def name(self) -> str:
        """Unique among the sources of an agent and the same after a restart; positions are stored under it."""

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The streams it feeds, with all their columns in order, `ts` and `host` first."""

    @property
    def replayable(self) -> bool:
        """Whether rows behind a position can be read again."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to come, ever."""

    @property
    def lag_rows(self) -> int | None:
        """Of a file with a pace: rows that were due by now and have not been given; None of all others."""

    def open(self, position: bytes | None) -> None:
        """Begin at `position`; raises SourceError with the reason when that cannot be."""

    def poll(self) -> list[Batch]:
        """What came since the last poll, without waiting; SourceError when nothing more can be read."""

    def position(self) -> bytes | None:
        """The place behind all rows returned; None for a live source, unless it reads a log on after a restart."""

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """After a poll begun at `polled_ns`: every record below was returned or reported as lost.

        It stands still while nothing is measured. None when nothing was measured yet, and for a replayable source that
        goes by the times of its rows. One that follows files knows when there is nothing more in them, and always
        answers: NOTHING_NS until it knows something.
        """

    def counters(self) -> Mapping[str, int]:
        """Cumulative counts of what went wrong, by reason, for the agent's own metrics."""

    def missing(self) -> Mapping[str, str]:
        """What this host does not let the source measure at present, with the reason: a state, not an error."""

    def close(self) -> None:
        """Let go of files, sockets and processes; may be called twice."""


@runtime_checkable
class Behind(Protocol):
    """A source of files that grow: how far it is behind them."""

    @property
    def lag_bytes(self) -> int:
        """Bytes that were there at the last poll and are not read yet; 0: there is no use in polling again at once."""


@runtime_checkable
class Announcing(Protocol):
    """A source at which other agents knock."""

    @property
    def announced(self) -> str:
        """HOST:PORT at which they find it; "" where it does not listen, or does not know."""


@runtime_checkable
class Successor(Protocol):
    """A source that goes on with what a running one of the same name holds: an open port, a rhythm."""

    def take_over(self, before: Source) -> None:
        """Called before `open`, while `before` is still open; it is closed soon after, or else goes on."""


@runtime_checkable
class Dependent(Protocol):
    """A source that was made with more of the configuration than its own entry."""

    @property
    def depends_on(self) -> object:
        """What that is: where it differs, a reload takes another source in its place."""


@runtime_checkable
class Limited(Protocol):
    """A source that takes in only so many series: names, services, combinations of labels."""

    @property
    def series_limit(self) -> SeriesLimit:
        """How many are known now, and whose rows were left out."""


@runtime_checkable
class ReadsAgent(Protocol):
    """A source whose records are the agent's own metrics, which the agent's loop hands to it."""

    def wants_samples(self) -> bool:
        """Whether it is time for new ones; asked with every checkpoint."""

    def take_samples(self, samples: Iterable[Sample]) -> None:
        """These are the metrics now; `poll` gives what follows from them."""
