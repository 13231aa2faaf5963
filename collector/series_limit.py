"""The series limit: one bad label must not make series without end.

Series that are known always go on. Groups that would make a new one of a query that has `series_max` are refused,
frame by frame, so that it is known whose records they were. Three steps, each dearer and rarer than the one before:

- Far from the limit (known series plus all groups taken in since fit below it) a frame costs one addition.
- When that sum is too large, what is known and what is pending is counted again, without the database.
- Near the limit every label set is looked up among the known ones, as 64-bit hashes: about 0.1 us a group. Two label
  sets of one hash count as one series, which can only let a series too many in.

The database is looked at every LOOK_S, because other collectors make series too; what they all make within that time
may exceed the limit together. Before anything is refused, it has been looked at within LOOK_AGAIN_S. While it cannot
be asked, what was known last decides; when nothing was known yet, nothing is refused.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from pipeline.gathering import Gathering
from pipeline.partial import Partial
from store.refusals import in_short
from store.registry import RegisteredVersion
from store.series import SeriesIds
from store.series_limit import count_series, example_of, series_after

log = logging.getLogger(__name__)

LOOK_S = 5.0
LOOK_AGAIN_S = 1.0
_NEVER_S = float("-inf")
_BEFORE_ALL_IDS = -(2**63)

Hashes = npt.NDArray[np.uint64]
Pending = Callable[[], Iterable[Gathering]]


@dataclass(frozen=True, slots=True)
class Refused:
    """The groups of one frame that were refused: their records by window, and the labels of one of them."""

    groups: int
    records: dict[int, int]
    example: str


@dataclass(slots=True)
class _Known:
    """What is known of one query's series.

    `counted` is how many the database had at `looked_s`, when SeriesIds remembered `met` of them. `bound` is how many
    there can be by now, pending ones included. Near the limit, `hashes` (sorted) stands for the `loaded` series with
    ids up to `last_id`, and `fresh` for those that are pending now or were at `looked_s`.
    """

    looked_s: float = _NEVER_S
    failed_s: float = _NEVER_S
    counted: int | None = None
    met: int = 0
    bound: int = 0
    near: bool = False
    hashes: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    loaded: int = 0
    last_id: int = _BEFORE_ALL_IDS
    fresh: set[int] = field(default_factory=set)
    refusing: bool = False

    @property
    def size(self) -> int:
        """Series in the database and pending ones; right near the limit only."""
        return self.hashes.size + len(self.fresh)


class SeriesLimit:
    """Decides, for one collector, which groups may go on; used by one thread."""

    def __init__(self, engine: sa.Engine, series_max: int, series: SeriesIds, pending: Pending) -> None:
        """`pending` gives what this collector holds in memory, of all its partitions."""
        self._engine = engine
        self._max = series_max
        self._series = series
        self._pending = pending
        self._queries: dict[int, _Known] = {}

    def split(self, version: RegisteredVersion, partial: Partial) -> tuple[Partial, Refused | None]:
        """The groups that may go on, and what there is to say of the others; near the limit they come out sorted.

        The caller adds the former to what is pending before it asks again.
        """
        if not version.plan.labels or not len(partial):
            return partial, None  # without labels there is one series
        known = self._queries.setdefault(version.query_id, _Known())
        if time.monotonic() - known.looked_s >= LOOK_S:
            self._look(known, version, len(partial))
        if not self._is_near(known, version, len(partial)):
            return partial, None
        partial = partial.sorted()  # groups come in any order; which series are the first must not be by chance
        hashes = _hashes(partial.keys, version.plan.labels)
        kept = self._judge(known, hashes)
        if kept is not None and time.monotonic() - known.looked_s >= LOOK_AGAIN_S:
            self._look(known, version, len(partial))
            kept = self._judge(known, hashes) if known.near else None
        if kept is None:
            return partial, None
        if not known.refusing:
            known.refusing = True
            log.warning(
                "series limit reached, groups that would make new ones are refused query=%s series=%d series_max=%d",
                version.plan.query, known.size, self._max,
            )  # fmt: skip
        return partial.take(np.flatnonzero(kept)), _refused(partial, np.flatnonzero(~kept))

    def _is_near(self, known: _Known, version: RegisteredVersion, n: int) -> bool:
        """Whether taking n more groups in could exceed the limit."""
        if known.near:
            return True
        if known.counted is None:
            return False
        known.bound += n
        if known.bound > self._max:
            made = self._series.known(version.query_id) - known.met
            known.bound = known.counted + made + self._pending_groups(version) + n
        if known.bound > self._max:
            self._look(known, version, n)
        return known.near

    def _judge(self, known: _Known, hashes: Hashes) -> npt.NDArray[np.bool_] | None:
        """bool[n]: which of these may go on, first come first served; None when all may."""
        stored = known.hashes
        # In order they are looked up twice as fast, and mostly all are there.
        if stored.size and np.array_equal(stored[_places(stored, ordered := np.sort(hashes))], ordered):
            return None
        kept = np.zeros(hashes.size, bool) if not stored.size else stored[_places(stored, hashes)] == hashes
        room = self._max - known.size
        if room <= 0 and not known.fresh:
            return kept
        for place in np.flatnonzero(~kept).tolist():
            one = int(hashes[place])
            if one not in known.fresh:
                if room <= 0:
                    continue
                known.fresh.add(one)
                room -= 1
            kept[place] = True
        return None if kept.all() else kept

    def _look(self, known: _Known, version: RegisteredVersion, n: int) -> None:
        """Compare with the database, before n more groups; what failed is tried again after LOOK_AGAIN_S."""
        now_s = time.monotonic()
        if now_s - known.failed_s < LOOK_AGAIN_S:
            return
        try:
            with self._engine.connect() as connection:
                counted = count_series(connection, version.query_id)
                known.bound = counted + self._pending_groups(version) + n
                near = known.bound > self._max
                if near:
                    _load(connection, known, version.query_id, counted)
        except sa.exc.SQLAlchemyError as error:
            known.looked_s = known.failed_s = now_s
            log.warning("series not counted query=%s error=%s", version.plan.query, in_short(error))
            return
        known.looked_s, known.near = now_s, near
        known.counted, known.met = counted, self._series.known(version.query_id)
        known.fresh = self._pending_hashes(known, version) if near else set()
        if not near or known.size < self._max:
            known.refusing = False

    def _of_query(self, version: RegisteredVersion) -> Iterable[Gathering]:
        return (groups for groups in self._pending() if groups.plan.query == version.plan.query)

    def _pending_groups(self, version: RegisteredVersion) -> int:
        return sum(len(groups) for groups in self._of_query(version))

    def _pending_hashes(self, known: _Known, version: RegisteredVersion) -> set[int]:
        """Of the pending groups, those whose series are not in the database."""
        fresh: set[int] = set()
        for groups in self._of_query(version):
            hashes = np.unique(_hashes(groups.keys(), groups.plan.labels))
            if known.hashes.size:
                hashes = hashes[known.hashes[_places(known.hashes, hashes)] != hashes]
            fresh.update(hashes.tolist())
        return fresh


def _load(connection: sa.Connection, known: _Known, query_id: int, counted: int) -> None:
    """Read the series made since the last time; all of them, when one with a smaller id has turned up since."""
    _load_newer(connection, known, query_id)
    if known.loaded < counted:
        known.hashes, known.loaded, known.last_id = np.empty(0, np.uint64), 0, _BEFORE_ALL_IDS
        _load_newer(connection, known, query_id)


def _load_newer(connection: sa.Connection, known: _Known, query_id: int) -> None:
    known.last_id, labels = series_after(connection, query_id, known.last_id)
    known.loaded += len(labels)
    by_names: defaultdict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for one in labels:
        by_names[tuple(sorted(one))].append(one)
    found = [
        _hashes(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"), names)
        for names, rows in by_names.items()
    ]
    known.hashes = np.unique(np.concatenate([known.hashes, *found]))


def _hashes(keys: pl.DataFrame, labels: Sequence[str]) -> Hashes:
    """uint64[n] of the label sets; those of other label names differ."""
    names = sorted(labels)
    salt = np.uint64(int.from_bytes(blake2b("\0".join(names).encode(), digest_size=8).digest()))
    if not names:
        return np.array([salt])
    return keys.select(names).hash_rows().to_numpy() ^ salt


def _places(stored: Hashes, hashes: Hashes) -> npt.NDArray[np.int64]:
    """Where each would stand in `stored`, which is sorted and not empty; the last place for what is beyond it."""
    return np.minimum(np.searchsorted(stored, hashes), stored.size - 1)


def _refused(partial: Partial, places: npt.NDArray[np.int64]) -> Refused:
    keys = partial.keys[places]
    by_window = keys.group_by("window").agg(pl.col("rows").sum())
    labels = keys.select(partial.plan.labels).row(0, named=True)
    return Refused(keys.height, dict(by_window.iter_rows()), example_of(labels))
