"""The series dictionary: label values to series ids, per query.

Ids never change once committed, so they are remembered in memory; those of a transaction that has not committed yet
are kept apart and forgotten when it fails.
"""

import json
from collections import Counter
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa

from store import tables
from store.upsert import batched, insert_missing

_LOOKUP_CHUNK = 500
_Place = tuple[int, tuple[str, ...]]


def label_text(labels: dict[str, str]) -> str:
    """Labels as they stand in the series table: JSON with sorted keys and no spaces."""
    return json.dumps(labels, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _label_hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


class SeriesIds:
    """Finds or makes the ids of series inside the caller's transactions."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], int] = {}
        # By query, label names and values, so that a row of labels known before costs one look-up and no JSON.
        self._known_rows: dict[_Place, dict[tuple[str, ...], int]] = {}
        self._uncommitted: dict[tuple[int, str], int] = {}
        self._uncommitted_rows: dict[_Place, dict[tuple[str, ...], int]] = {}
        self._sizes: Counter[int] = Counter()

    def known(self, query_id: int) -> int:
        """How many series of the query are remembered: what this process has made, and what it has met."""
        return self._sizes[query_id]

    def met(self) -> set[int]:
        """Queries of which this transaction has met series that were not remembered, and so may have made some."""
        return {query_id for query_id, _ in self._uncommitted}

    def resolve(self, connection: sa.Connection, query_id: int, labels: pl.DataFrame, n: int) -> npt.NDArray[np.int64]:
        """int64[n] ids for the n rows of string columns `labels`; missing series are made.

        `n` is told apart because a frame without columns has no rows.
        """
        if not labels.width:
            text = label_text({})
            self._fill(connection, query_id, [text])
            return np.full(n, self._lookup(query_id, text), np.int64)
        place = query_id, tuple(labels.columns)
        known = self._known_rows.setdefault(place, {})
        rows = list(zip(*(column.to_list() for column in labels.get_columns()), strict=True))
        missing = list(dict.fromkeys(row for row in rows if row not in known))
        if missing:
            texts = {row: label_text(dict(zip(labels.columns, row, strict=True))) for row in missing}
            self._fill(connection, query_id, list(texts.values()))
            found = {row: self._lookup(query_id, text) for row, text in texts.items()}
            self._uncommitted_rows.setdefault(place, {}).update(found)
            known = known | found
        return np.array([known[row] for row in rows], np.int64)

    def committed(self) -> None:
        """The transaction went through: keep its ids."""
        self._sizes.update(query_id for query_id, _ in self._uncommitted)
        self._known.update(self._uncommitted)
        for place, rows in self._uncommitted_rows.items():
            self._known_rows[place].update(rows)
        self.rolled_back()

    def rolled_back(self) -> None:
        """The transaction failed: its ids do not exist."""
        self._uncommitted.clear()
        self._uncommitted_rows.clear()

    def _lookup(self, query_id: int, text: str) -> int:
        key = (query_id, text)
        found = self._known.get(key)
        return self._uncommitted[key] if found is None else found

    def _fill(self, connection: sa.Connection, query_id: int, texts: list[str]) -> None:
        missing = [
            text for text in texts if (query_id, text) not in self._known and (query_id, text) not in self._uncommitted
        ]
        # Sorted, so that two collectors making the same series never wait for each other in a circle.
        hashes = {text: _label_hash(text) for text in sorted(missing)}
        insert_missing(
            connection,
            tables.series,
            [{"query_id": query_id, "labels": text, "labels_hash": known} for text, known in hashes.items()],
        )
        for chunk in batched(list(hashes.values()), _LOOKUP_CHUNK):
            rows = connection.execute(
                sa.select(tables.series.c.labels, tables.series.c.id).where(
                    tables.series.c.query_id == query_id, tables.series.c.labels_hash.in_(chunk)
                )
            )
            self._uncommitted.update({(query_id, labels): int(series_id) for labels, series_id in rows})
