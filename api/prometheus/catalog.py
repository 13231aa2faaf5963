"""Which metrics and series a selector means: matchers over `__name__` and labels, against the store's dictionary.

A label with an empty value is the same as none, as in Prometheus; series that differ in nothing else are one. Series
are those that ever reported: the dictionary does not know when.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import sqlalchemy as sa

from api.promql.samples import Labels
from store import tables
from store.label_matchers import Matcher, predicate
from store.registry import MetricRow, metrics
from store.samples import SeriesCodes

NAME = "__name__"


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """Series of one metric. `labels[i]` are those of code i, without the name."""

    row: MetricRow
    labels: list[Labels]
    codes: SeriesCodes

    def named(self) -> list[Labels]:
        """The labels with the metric's name, which comes first."""
        return [{NAME: self.row.name, **labels} for labels in self.labels]


class Catalog:
    """Metrics and series as one transaction sees them; each query's dictionary is read once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._metrics: list[MetricRow] | None = None
        self._series: dict[int, list[tuple[int, Labels]]] = {}

    def metrics(self) -> list[MetricRow]:
        """All metrics by name."""
        if self._metrics is None:
            self._metrics = metrics(self._connection)
        return self._metrics

    def matching(self, matchers: Sequence[Matcher]) -> list[MetricSeries]:
        """Every metric with a series that all matchers hold for, by name.

        Raises:
            SelectionError: a regular expression that is none.
        """
        named = [predicate(matcher) for matcher in matchers if matcher.label == NAME]
        wanted = [(matcher.label, _remembered(predicate(matcher))) for matcher in matchers if matcher.label != NAME]
        found: list[MetricSeries] = []
        of_query: dict[int, tuple[list[Labels], SeriesCodes]] = {}
        for row in self.metrics():
            if not all(holds(row.name) for holds in named):
                continue
            if row.query_id not in of_query:
                of_query[row.query_id] = self._matching(row.query_id, wanted)
            labels, codes = of_query[row.query_id]
            if labels:
                found.append(MetricSeries(row, labels, codes))
        return found

    def _matching(
        self, query_id: int, wanted: Sequence[tuple[str, Callable[[str], bool]]]
    ) -> tuple[list[Labels], SeriesCodes]:
        numbers: dict[tuple[tuple[str, str], ...], int] = {}
        labels_of: list[Labels] = []
        ids: list[int] = []
        codes: list[int] = []
        for series_id, labels in self._of_query(query_id):
            if all(holds(labels.get(label, "")) for label, holds in wanted):
                code = numbers.setdefault(tuple(labels.items()), len(labels_of))
                if code == len(labels_of):
                    labels_of.append(labels)
                ids.append(series_id)
                codes.append(code)
        return labels_of, SeriesCodes(np.array(ids, np.int64), np.array(codes, np.int64))

    def _of_query(self, query_id: int) -> list[tuple[int, Labels]]:
        """(id, labels by name, the empty ones left out) of every series, by id."""
        if query_id not in self._series:
            table = tables.series
            rows = self._connection.execute(
                sa.select(table.c.id, table.c.labels).where(table.c.query_id == query_id).order_by(table.c.id)
            )
            self._series[query_id] = [(series_id, _shown(orjson.loads(text))) for series_id, text in rows]
        return self._series[query_id]


def _shown(labels: Mapping[str, str]) -> Labels:
    return {name: value for name, value in sorted(labels.items()) if value and name != NAME}


def _remembered(holds: Callable[[str], bool]) -> Callable[[str], bool]:
    """The same answers; each distinct value is looked at once, however many series have it."""
    known: dict[str, bool] = {}

    def check(value: str) -> bool:
        answer = known.get(value)
        if answer is None:
            answer = known[value] = holds(value)
        return answer

    return check
