"""Which row a key has: windows and label texts to numbers that stay the same for as long as the object lives.

Texts are coded once by Polars, those of a short dictionary by what is remembered of them; what follows is integers.
Two codes become one by a table while that is small beside the number of known pairs, else by a search among the known
pairs in order.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from pipeline.coded import Coded
from pipeline.state import IntArray

# A table of pairs may have this many slots at all, and as many per known pair.
FREE_SLOTS: Final = 1 << 16
SLOTS_PER_PAIR: Final = 16
_UNKNOWN: Final = -1


class KeyRows:
    """Numbers keys 0, 1, 2, ... as they come."""

    def __init__(self, labels: list[str]) -> None:
        """Keys of a window and these labels."""
        self._labels = {name: _Texts() for name in labels}
        self._windows = _Numbers()
        self._pairs = [_Pairs() for _ in labels]

    def __len__(self) -> int:
        """How many keys are known."""
        return len(self._pairs[-1]) if self._pairs else len(self._windows)

    def rows(self, windows: IntArray, labels: Sequence[pl.Series | Coded]) -> IntArray:
        """The row of each key; keys not seen before get the next rows."""
        codes: IntArray | None = None
        place = 0
        for mine in self._codes(labels):
            if codes is None:
                codes = mine
            else:
                codes, place = self._pairs[place].codes(codes, mine), place + 1
        by_window = self._windows.codes(windows)
        return by_window if codes is None else self._pairs[place].codes(codes, by_window)

    def _codes(self, labels: Sequence[pl.Series | Coded]) -> list[IntArray]:
        """The codes of the texts, label by label; one call of Polars for all, for each wakes a thread."""
        known = list(self._labels.values())
        if not labels or not len(labels[0]):
            return [np.empty(0, np.int64) for _ in labels]
        found = {place: known[place].recoded(label) for place, label in enumerate(labels) if isinstance(label, Coded)}
        plain = {place: label for place, label in enumerate(labels) if isinstance(label, pl.Series)}
        if plain:
            together = pl.DataFrame([label.alias(str(place)) for place, label in plain.items()])
            coded = together.select(pl.col(str(place)).cast(known[place].type).to_physical() for place in plain)
            for (place, label), column in zip(plain.items(), coded.get_columns(), strict=True):
                found[place] = column.to_numpy().astype(np.int64)
                known[place].learn(label, found[place])
        return [found[place] for place in range(len(labels))]

    def keys(self) -> tuple[IntArray, dict[str, pl.Series]]:
        """Window and label texts of every row, in order of the rows."""
        codes = np.arange(len(self))
        if not self._pairs:
            return self._windows.values[codes], {}
        codes, by_window = self._pairs[-1].both(codes)
        texts: dict[str, pl.Series] = {}
        for place, (name, known) in reversed(list(enumerate(self._labels.items()))):
            if place:
                codes, mine = self._pairs[place - 1].both(codes)
            else:
                mine = codes
            texts[name] = known.texts(mine).alias(name)
        return self._windows.values[by_window], {name: texts[name] for name in self._labels}


class _Texts:
    """Texts to codes: 0, 1, 2, ... by first appearance."""

    def __init__(self) -> None:
        # Categories of its own: nothing outlives the object. Polars forgets codes that no series has any more.
        self.type = pl.Categorical(pl.Categories.random())
        self._remembered = pl.Series([""]).cast(self.type)
        self._known = pl.Series([""])
        self._recalled: dict[str, int] = {}  # of the texts in dictionaries

    def recoded(self, label: Coded) -> IntArray:
        """The codes of a column that has codes of its own; texts that no row uses are not learnt."""
        codes = self._recall(label)
        unknown = label.codes[codes < 0]
        if not unknown.size:
            return codes
        new = [label.texts[place] for place in np.unique(unknown).tolist()]
        texts = pl.Series(new, dtype=pl.String)
        given = texts.cast(self.type).to_physical().to_numpy().astype(np.int64)
        self.learn(texts, given)
        self._recalled.update(zip(new, given.tolist(), strict=True))
        return self._recall(label)

    def _recall(self, label: Coded) -> IntArray:
        return np.array([self._recalled.get(text, _UNKNOWN) for text in label.texts], np.int64)[label.codes]

    def learn(self, texts: pl.Series, codes: IntArray) -> None:
        """Remember the texts of codes that were not known before."""
        n = int(codes.max()) + 1
        if n > len(self._known):
            firsts = np.full(n, len(codes), np.int64)
            np.minimum.at(firsts, codes, np.arange(len(codes)))
            new = texts.gather(firsts[len(self._known) :])
            self._known = pl.concat([self._known, new.alias("")], rechunk=True)

    def texts(self, codes: IntArray) -> pl.Series:
        return self._known.gather(codes)


class _Numbers:
    """Few distinct integers to codes."""

    def __init__(self) -> None:
        self.values = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.values)

    def codes(self, numbers: IntArray) -> IntArray:
        if numbers.size and (numbers == numbers[0]).all():  # the usual frame: one window
            known = np.flatnonzero(self.values == numbers[0])
            if known.size:
                return np.full(numbers.size, known[0])
        distinct, places = np.unique(numbers, return_inverse=True)
        new = distinct[~np.isin(distinct, self.values)]
        self.values = np.concatenate([self.values, new])
        order = np.argsort(self.values)
        found: IntArray = order[np.searchsorted(self.values, distinct, sorter=order)]
        return found[places.reshape(-1)]


class _Pairs:
    """Pairs of codes to codes: 0, 1, 2, ... in no particular order within a call."""

    def __init__(self) -> None:
        self._packed = np.empty(0, np.int64)  # by code: left << 32 | right
        self._shape = (0, 0)
        self._table: np.ndarray[tuple[int], np.dtype[np.int32]] | None = np.empty(0, np.int32)
        self._ordered = np.empty(0, np.int64)
        self._order = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._packed)

    def codes(self, left: IntArray, right: IntArray) -> IntArray:
        if not left.size:
            return np.empty(0, np.int64)
        packed = left << 32 | right
        found = self._found(packed, left, right)
        unknown = found < 0
        if unknown.any():
            new = np.unique(packed[unknown])
            self._packed = np.concatenate([self._packed, new])
            self._learn()
            found = self._found(packed, left, right)
        return found

    def both(self, codes: IntArray) -> tuple[IntArray, IntArray]:
        """The pairs that have these codes."""
        packed = self._packed[codes]
        return packed >> 32, packed & 0xFFFFFFFF

    def _found(self, packed: IntArray, left: IntArray, right: IntArray) -> IntArray:
        if self._table is not None:
            rows, columns = self._shape
            if int(left.max()) < rows and int(right.max()) < columns:
                rows_found: IntArray = self._table[left * columns + right].astype(np.int64)
                return rows_found
            found = np.full(packed.size, _UNKNOWN)
            inside = (left < rows) & (right < columns)
            found[inside] = self._table[left[inside] * columns + right[inside]]
            return found
        if not len(self._ordered):
            return np.full(packed.size, _UNKNOWN)
        place = np.searchsorted(self._ordered, packed)
        place[place == len(self._ordered)] = 0
        known: IntArray = np.where(self._ordered[place] == packed, self._order[place], _UNKNOWN)
        return known

    def _learn(self) -> None:
        left, right = self.both(np.arange(len(self._packed)))
        if self._table is not None:
            rows, columns = (
                max(1 << (int(part.max())).bit_length(), held)
                for part, held in zip((left, right), self._shape, strict=True)
            )
            if rows * columns <= FREE_SLOTS + SLOTS_PER_PAIR * len(self._packed):
                if (rows, columns) != self._shape:
                    self._table, self._shape = np.full(rows * columns, _UNKNOWN, np.int32), (rows, columns)
                self._table[left * columns + right] = np.arange(len(self._packed))
                return
            self._table = None
        self._order = np.argsort(self._packed)
        self._ordered = self._packed[self._order]
