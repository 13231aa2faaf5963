"""What every source of records offers, so that the agent treats them alike.

A source is opened once at the position stored with the last checkpoint (None: from its beginning), polled from
one thread and closed. `position()` names the place just behind everything `poll()` has returned so far: stored in
the same transaction as what became of those rows, it makes a replayable source's records count exactly once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from pipeline.schema import Schema


@dataclass(frozen=True, slots=True)
class Lost:
    """`count` samples of around `ts_ns` that were measured or due but could not be kept."""

    ts_ns: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one stream: its columns, `ts` among them; the agent adds `host` where it is missing."""

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
        """The place behind all rows returned; None for a live source."""

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """For a live source, after a poll begun at `polled_ns`: every record below was returned or reported as lost.

        It stands still while nothing is measured. None when nothing was measured yet, and for a replayable source.
        """

    def counters(self) -> Mapping[str, int]:
        """Cumulative counts of what went wrong, by reason, for the agent's own metrics."""

    def missing(self) -> Mapping[str, str]:
        """What this host does not let the source measure at present, with the reason: a state, not an error."""

    def close(self) -> None:
        """Let go of files, sockets and processes; may be called twice."""
