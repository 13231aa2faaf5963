"""Which metrics and series a selector means: matchers over `__name__` and labels, against the store's dictionary.

Metrics that keep lines have no samples and are not among them. A label with an empty value is the same as none, as in
Prometheus; series that differ in nothing else are one. Series are those that ever reported: the dictionary does not
know when.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from api.promql.errors import UnsupportedError
from api.promql.samples import Labels
from pipeline.plan import LINE_FUNCTIONS
from store.label_matchers import Matcher, predicate
from store.registry import MetricRow
from store.samples import SeriesCodes
from store.series_labels import SeriesLabels
from store.snapshot import Snapshot

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


class SeriesCatalog:
    """Metrics and series as one transaction sees them."""

    def __init__(self, seen: Snapshot) -> None:
        self._seen = seen

    def metrics(self) -> list[MetricRow]:
        """All metrics by name; those that keep lines are no time series, and are left out."""
        return [row for row in self._seen.view.metrics.values() if row.function not in LINE_FUNCTIONS]

    def refuse_lines(self, matchers: Sequence[Matcher]) -> None:
        """Return when no metric that keeps lines is asked for by its name.

        Raises:
            UnsupportedError: one is; says where its lines are.
        """
        for matcher in matchers:
            row = (
                self._seen.view.metrics.get(matcher.value) if (matcher.label, matcher.operator) == (NAME, "=") else None
            )
            if row is not None and row.function in LINE_FUNCTIONS:
                raise UnsupportedError(
                    f"{row.name} keeps lines of text ({row.function}), which are no samples; "
                    f"ask /api/v1/lines?metric={row.name}"
                )

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
        for series_id, labels in _shown_series(self._seen.labels(query_id)):
            if all(holds(labels.get(label, "")) for label, holds in wanted):
                code = numbers.setdefault(tuple(labels.items()), len(labels_of))
                if code == len(labels_of):
                    labels_of.append(labels)
                ids.append(series_id)
                codes.append(code)
        return labels_of, SeriesCodes(np.array(ids, np.int64), np.array(codes, np.int64))


# A process keeps the labels of few queries, and of each query for as long as it gets no new series.
_shown_of: WeakKeyDictionary[SeriesLabels, list[tuple[int, Labels]]] = WeakKeyDictionary()


def _shown_series(series: SeriesLabels) -> list[tuple[int, Labels]]:
    """(id, labels by name, the empty ones left out) of every series, by id."""
    found = _shown_of.get(series)
    if found is None:
        found = _shown_of[series] = [(series_id, _shown(labels)) for series_id, labels in series.by_id()]
    return found


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
