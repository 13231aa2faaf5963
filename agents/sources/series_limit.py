"""How many series a source lets in, so that one bad label cannot fill a fleet's memory.

A series is a combination of values of the columns that name it. Rows of further series than the limit are left out
and counted, and the names whose rows were left out most often can be shown. A series that has not been seen for a
while makes room again. Rows may be let in by one thread while others ask.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

import polars as pl

# A series is forgotten after one to two of these without a row.
_GENERATION_NS: Final = 1800 * 10**9
_OFFENDERS_KEPT: Final = 1000


class SeriesLimit:
    """What one source has let in.

    Attributes:
        most: series that there may be.
        refused: rows left out.
    """

    def __init__(self, most: int, columns: Sequence[str], named_by: str) -> None:
        """At most `most` combinations of `columns`; `named_by` is the one that offenders are shown by."""
        self.refused = 0
        self.most = most
        self._columns = list(columns)
        self._named_by = named_by
        # No series is in both, so that how many there are is known without a look at each.
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._young_since_ns: int | None = None
        self._offenders: Counter[str] = Counter()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        """Series that are known now."""
        with self._changing:
            return self._known()

    def admit(self, rows: pl.DataFrame, now_ns: int) -> pl.DataFrame:
        """The rows of known series, and of new ones as far as there is room, in their order."""
        with self._changing:
            return self._admitted(rows, now_ns)

    def offenders(self, most: int = 3) -> list[tuple[str, int]]:
        """The names whose rows were left out most often, with how often; the counts of rare ones are too low."""
        with self._changing:
            return self._offenders.most_common(most)

    def _admitted(self, rows: pl.DataFrame, now_ns: int) -> pl.DataFrame:
        self._grow_older(now_ns)
        if not rows.height:
            return rows
        hashes = rows.select(self._columns).hash_rows(seed=0)
        new = self._taken_in(hashes.unique(maintain_order=True).to_list())
        if not new:
            return rows
        out = hashes.is_in(pl.Series(new, dtype=pl.UInt64).implode())
        left_out = rows.filter(out)
        self.refused += left_out.height
        self._note(left_out[self._named_by])
        return rows.filter(~out)

    def _known(self) -> int:
        return len(self._young) + len(self._old)

    def _taken_in(self, hashes: Sequence[int]) -> list[int]:
        """Remember these series; returns those for which there is no room."""
        room = self.most - self._known()
        refused = []
        for one in hashes:
            if one in self._young:
                continue
            if one in self._old:
                self._old.remove(one)
            elif room > 0:
                room -= 1
            else:
                refused.append(one)
                continue
            self._young.add(one)
        return refused

    def _grow_older(self, now_ns: int) -> None:
        if self._young_since_ns is None:
            self._young_since_ns = now_ns
        if not 0 <= now_ns - self._young_since_ns < _GENERATION_NS:
            self._old, self._young, self._young_since_ns = self._young, set(), now_ns

    def _note(self, names: pl.Series) -> None:
        counts = names.value_counts()
        self._offenders.update(dict(zip(counts[names.name].to_list(), counts["count"].to_list(), strict=True)))
        if len(self._offenders) > _OFFENDERS_KEPT:
            # Names from outside must not fill the memory either.
            self._offenders = Counter(dict(self._offenders.most_common(_OFFENDERS_KEPT // 2)))
