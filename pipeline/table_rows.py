"""Which row of a static table has a text as its key: a join without building a hash table for every batch.

The keys are the first categories of a Categorical of their own, so that the code of a known text is its row. Polars
keeps that dictionary between batches: looking 33,000 texts up among 20,000 keys costs a third of a join.
"""

from typing import Final

import polars as pl

from pipeline.grouping import is_constant

# Texts that are no key become categories too. After so many the dictionary is given up: it must not grow for ever.
UNKNOWN_TEXTS: Final = 1 << 16


class TableRows:
    """The rows of a table by its key column, each key once and none NULL."""

    def __init__(self, keys: pl.Series) -> None:
        """Keys that are no text are not looked up here."""
        self._n = len(keys)
        self._keys: pl.Series | None = None  # held, because Polars forgets codes that no series has any more
        if keys.dtype == pl.String:
            held = keys.cast(pl.Categorical(pl.Categories.random()))
            in_order = held.to_physical() == pl.int_range(self._n, dtype=pl.UInt32, eager=True)
            self._keys = held if bool(in_order.all()) else None

    def of(self, texts: pl.Series) -> pl.Series | None:
        """The row of each text, NULL where none has it; None where nothing is known: then join in the usual way."""
        if self._keys is None:
            return None
        if len(texts) > 1 and is_constant(texts):  # as on an agent, whose own name or address it is
            return self._looked_up(texts.head(1), self._keys.dtype).new_from_index(0, len(texts))
        return self._looked_up(texts, self._keys.dtype)

    def _looked_up(self, texts: pl.Series, dtype: pl.DataType) -> pl.Series:
        rows = texts.alias("#").to_frame().select(pl.col("#").cast(dtype).to_physical()).to_series()
        highest = rows.max()
        if not isinstance(highest, int) or highest < self._n:
            return rows
        if highest >= self._n + UNKNOWN_TEXTS:
            self._keys = None
        return pl.select(pl.when(rows < self._n).then(rows)).to_series()
