"""Labels of a query's series as columns: which series a question means, and into which group each falls.

Values are numbered per label, so that a comparison looks at each distinct value once and not at each series, and so
that grouping is arithmetic on whole columns. Labels of a series never change, so more are only ever added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from store.label_matchers import Matcher, predicate
from store.rows import rows
from store.upsert import batched

Int64Array = npt.NDArray[np.int64]
_AT_ONCE = 500
_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each series falls into.

    Attributes:
        series: int64[n], ascending ids of all series known.
        group: int64[n], the group of each; -1: not meant.
        labels: of each group, in ascending order of their values.
    """

    series: Int64Array
    group: Int64Array
    labels: list[dict[str, str]]

    def of(self, series: Int64Array) -> Int64Array:
        """The group of each of these series, -1 where it is not meant or not known."""
        if not self.series.size:
            return np.full(series.size, -1, np.int64)
        places = np.minimum(np.searchsorted(self.series, series), self.series.size - 1)
        return np.where(self.series[places] == series, self.group[places], -1)

    def meant(self) -> Int64Array:
        """Ids of the series that are meant."""
        return self.series[self.group >= 0]


class SeriesLabels:
    """All series of one query at some time. Nothing here changes; `load` makes another one."""

    def __init__(self, labels: dict[int, dict[str, str]]) -> None:
        self._labels = labels
        self._series = np.array(sorted(labels), np.int64)
        self._columns: dict[str, tuple[Int64Array, list[str]]] = {}

    @staticmethod
    def load(connection: sa.Connection, query_id: int, known: "SeriesLabels | None" = None) -> "SeriesLabels":
        """All series that the query has in this transaction; of those in `known`, labels are not read again."""
        held = {} if known is None else known._labels
        labels = dict(held)
        if not held:
            found = rows(connection, "SELECT id, labels FROM series WHERE query_id = ?", (query_id,))
            labels.update((series_id, _decode(text)) for series_id, text in found)
            return SeriesLabels(labels)
        # Ids become visible in another order than they were given out, so all are compared.
        ids = rows(connection, "SELECT id FROM series WHERE query_id = ?", (query_id,))
        for chunk in batched([series_id for (series_id,) in ids if series_id not in held], _AT_ONCE):
            found = rows(
                connection,
                f"SELECT id, labels FROM series WHERE id IN ({', '.join('?' * len(chunk))})",
                chunk,
            )
            labels.update((series_id, _decode(text)) for series_id, text in found)
        return SeriesLabels(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def groups(self, by: Sequence[str], where: Sequence[Matcher]) -> Groups:
        """Every series in its group of `by`, those that some matcher does not mean in none.

        Raises:
            SelectionError: a matcher holds no regular expression.
        """
        meant = np.ones(self._series.size, bool)
        for matcher in where:
            codes, values = self._column(matcher.label)
            wanted = predicate(matcher)
            meant &= np.fromiter((wanted(value) for value in values), bool, len(values))[codes]
        if not by:
            return Groups(self._series, np.where(meant, 0, -1), [{}])
        if not meant.any():
            return Groups(self._series, np.full(self._series.size, -1, np.int64), [])
        columns = [self._column(name) for name in by]
        packed, places = np.unique(np.stack([codes[meant] for codes, _ in columns]), axis=1, return_inverse=True)
        group = np.full(self._series.size, -1, np.int64)
        group[meant] = places.reshape(-1)
        labels = [
            {name: values[code] for name, (_, values), code in zip(by, columns, row, strict=True)}
            for row in packed.T.tolist()
        ]
        return Groups(self._series, group, labels)

    def _column(self, label: str) -> tuple[Int64Array, list[str]]:
        """(number of each series' value, the values in order); a label that a series lacks has the empty value."""
        found = self._columns.get(label)
        if found is None:
            values = [self._labels[series_id].get(label, "") for series_id in self._series.tolist()]
            distinct = sorted(set(values))
            number = {value: place for place, value in enumerate(distinct)}
            codes = np.fromiter((number[value] for value in values), np.int64, len(values))
            # Two threads may both make it; they make the same.
            found = self._columns[label] = (codes, distinct)
        return found
