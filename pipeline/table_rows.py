"""Which row of a static table has a text as its key: a join without building a hash table for every batch.

The hashes of the keys lie in a table of slots with linear probing, which is built once; a batch is looked up in a few
passes of NumPy. A text is only found when it equals the key. Measured over 33,000 texts and 20,000 keys: a third of
what a join takes, and half of what a cast to a Categorical that knows the keys does.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.grouping import IntArray, UnsignedArray, is_constant, rows_of

# Slots per key: few texts need a second probe.
_SPARSE: Final = 4
_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)


class TableRows:
    """The rows of a table by its key column, each key once and none NULL."""

    def __init__(self, keys: pl.Series) -> None:
        """Keys that are no text are not looked up here."""
        self._keys = keys
        self._hashes = np.empty(0, np.uint64)
        self._usable = False
        if keys.dtype == pl.String and len(keys):
            self._hashes = _hashes(keys)
            self._usable = len(np.unique(self._hashes)) == len(keys)
        if self._usable:
            self._bits = (_SPARSE * len(keys)).bit_length()
            self._slots = np.full(1 << self._bits, -1, np.int32)
            self._fill()

    def of(self, texts: pl.Series) -> pl.Series | None:
        """The row of each text, NULL where none has it; None where nothing is known: then join in the usual way."""
        if not self._usable:
            return None
        if len(texts) > 1 and is_constant(texts):  # as on an agent, whose own name or address it is
            return self._found(texts.head(1)).new_from_index(0, len(texts))
        return self._found(texts)

    def _found(self, texts: pl.Series) -> pl.Series:
        hashes = _hashes(texts)
        places = self._places(hashes)
        rows = self._slots[places]
        wrong = self._hashes[rows] != hashes  # an empty slot, -1, looks at the last key
        if wrong.any():
            self._probe(np.flatnonzero(wrong), places, hashes, rows)
            rows[rows < 0] = 0  # which is no match, or the text would have been found
        found = rows_of(self._keys, rows)
        series = pl.Series(rows.astype(np.uint32))
        same = found == texts
        if same.null_count() == 0 and same.all():
            return series
        return pl.select(pl.when(same).then(series)).to_series()

    def _probe(self, rest: IntArray, places: IntArray, hashes: UnsignedArray, rows: npt.NDArray[np.int32]) -> None:
        """Goes on to the next slots for these texts, until the key or an empty slot is there."""
        last = len(self._slots) - 1
        while True:
            rest = rest[(rows[rest] >= 0) & (self._hashes[rows[rest]] != hashes[rest])]
            if not rest.size:
                return
            places[rest] = (places[rest] + 1) & last
            rows[rest] = self._slots[places[rest]]

    def _fill(self) -> None:
        """Each key goes to the first slot that is free, all at once: of those that want one, one gets it."""
        rows, places = np.arange(len(self._keys), dtype=np.int32), self._places(self._hashes)
        while rows.size:
            free = self._slots[places] < 0
            self._slots[places[free]] = rows[free]
            left = self._slots[places] != rows
            rows, places = rows[left], (places[left] + 1) & (len(self._slots) - 1)

    def _places(self, hashes: UnsignedArray) -> IntArray:
        return (hashes >> np.uint64(64 - self._bits)).view(np.int64)


def _hashes(texts: pl.Series) -> UnsignedArray:
    return texts.hash().to_numpy() * _MIXER
