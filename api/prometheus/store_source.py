"""The store as an evaluator sees it: sketch metrics are sketches, counts and sums are deltas, the rest are readings.

Everything of one evaluation is read in one transaction, begun by its first selector. What a selector would read is
estimated before a page is touched, and refused above the limits.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self, cast

import numpy as np
import sqlalchemy as sa

from api.config import PrometheusConfig
from api.database import Database
from api.prometheus.catalog import NAME, MetricSeries, SeriesCatalog
from api.promql.errors import TooMuchError
from api.promql.samples import (
    BoolArray,
    Float64Array,
    FloatSamples,
    Grouping,
    Interrupt,
    Labels,
    Request,
    Samples,
    SketchSamples,
)
from pipeline.states import AvgState, CountState, MaxState, MinState, SketchState, State, SumState
from store.catalog import Catalog
from store.sampled_out import sampled_out
from store.samples import Instants, PlannedRead, SeriesCodes, WindowStates, estimated, plan, read
from store.snapshot import Snapshot

#: Metrics whose values tell of their own window only.
DELTAS = frozenset({"count", "sum"})
#: A sketch that is still apart once others were added to it is held until the end, so it counts for so many read.
HELD_SKETCH = 16


class StoreSource(AbstractContextManager["StoreSource"]):
    """Samples from the store, for the length of a `with` block."""

    def __init__(
        self, database: Database, config: PrometheusConfig, interrupt: Interrupt, catalog: Catalog | None = None
    ) -> None:
        """Args: catalog: what the process remembers of the store's; None reads it anew."""
        self._database = database
        self._config = config
        self._interrupt = interrupt
        self._stack = ExitStack()
        self._catalog = catalog
        self._seen: Snapshot | None = None
        self._numbers = self._sketches = self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def select(self, request: Request) -> Samples:
        """The samples that the request asks for.

        Raises:
            TooMuchError: more series or samples than the limits allow.
            UnsupportedError: it names a metric that keeps lines.
            SelectionError: a matcher's regular expression is none.
            DatabaseUnavailableError: the database does not answer; raised on leaving the block too.
        """
        if self._seen is None:
            self._seen = Snapshot(self._stack.enter_context(self._database.reading()), self._catalog)
        seen = self._seen
        self._interrupt()
        catalog = SeriesCatalog(seen)
        catalog.refuse_lines(request.matchers)
        found = catalog.matching(request.matchers)
        self._refuse_many_series(found)
        asked = Instants(request.first_ns, max(request.first_ns, request.last_ns), request.step_ns, request.range_ns)
        planned = [self._planned(seen, series, request, asked) for series in found]
        self._refuse_many_samples(seen.connection, planned)
        floats: list[tuple[MetricSeries, WindowStates]] = []
        sketches: list[SketchSamples] = []
        for series, (read_plan, labels, grouped) in zip(found, planned, strict=True):
            states = read(seen.connection, read_plan, self._interrupt)
            if states is None:
                continue
            if series.row.function == "sketch":
                sketches.append(_sketch_samples(states, labels, grouped))
            else:
                floats.append((series, states))
        return Samples(_float_samples(floats), sketches, _lacks(seen.connection, found, [one for one, _, _ in planned]))

    def _planned(
        self, seen: Snapshot, series: MetricSeries, request: Request, asked: Instants
    ) -> tuple[PlannedRead, list[Labels], bool]:
        """(what to read, the labels of its groups, whether they are those of the request's grouping)."""
        added = request.addable and (series.row.function == "sketch" or series.row.function in DELTAS)
        labels, codes = series.named(), series.codes
        grouped = added and request.grouping is not None and series.row.function == "sketch"
        if grouped and request.grouping is not None:
            labels, codes = _grouped(labels, codes, request.grouping)
        return plan(seen, series.row, codes, asked, added), labels, grouped

    def _refuse_many_series(self, found: Sequence[MetricSeries]) -> None:
        n_series, limit = sum(len(series.labels) for series in found), self._config.max_series
        if n_series > limit:
            names = ", ".join(series.row.name for series in found[:3])
            more = f" and {len(found) - 3} more metrics" if len(found) > 3 else ""
            raise TooMuchError(
                f"the selector means {n_series} series (of {names}{more}), at most {limit} are read "
                "(api.prometheus.max_series); name the metric, or match fewer label values"
            )

    def _refuse_many_samples(
        self, connection: sa.Connection, planned: Sequence[tuple[PlannedRead, list[Labels], bool]]
    ) -> None:
        config = self._config
        for read_plan, labels, _ in planned:
            if read_plan.row.function == "sketch":
                count = estimated(connection, read_plan, config.max_sketches // HELD_SKETCH)
                self._sketches += count
                apart = len(labels) * read_plan.asked.bounds().size if read_plan.added else count
                self._held += min(count, apart)
            else:
                self._numbers += estimated(connection, read_plan, config.max_samples)
            self._interrupt()
        if self._numbers > config.max_samples:
            raise TooMuchError(
                f"the query would read about {self._numbers} samples, at most {config.max_samples} are read "
                "(api.prometheus.max_samples); ask for a shorter range or fewer series"
            )
        if self._sketches + (HELD_SKETCH - 1) * self._held > config.max_sketches:
            raise TooMuchError(
                f"the query would read about {self._sketches} sketches and keep {self._held} of them apart, each of "
                f"which counts as {HELD_SKETCH}, at most {config.max_sketches} are read (api.prometheus.max_sketches); "
                "ask for a shorter range or a longer step, match fewer series, or add them up by sum(rate(…))"
            )


def _lacks(connection: sa.Connection, found: Sequence[MetricSeries], planned: Sequence[PlannedRead]) -> list[str]:
    """What to say where agents left records out on purpose: nothing else in an expression's answer tells of it."""
    left_out = sampled_out(connection, planned)
    if not left_out:
        return []
    names = sorted({series.row.name for series in found})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    sentence = (
        f"agents over their CPU budget sampled out {left_out} records in windows read of {', '.join(names[:3])}{more}: "
        "counts, sums and rates leave them out, quantiles are of the others; coverage in the answers below /api/v1 "
        "says which share that is"
    )
    return [sentence]


def numbers(state: State) -> tuple[Float64Array, BoolArray]:
    """The value of each state, and whether it has one: counts, sums, extremes and averages."""
    if isinstance(state, CountState):
        return state.n.astype(np.float64), np.ones(len(state), np.bool_)
    if isinstance(state, SumState):
        return cast("Float64Array", state.sums.as_float().hi), state.present
    if isinstance(state, AvgState):
        with np.errstate(invalid="ignore", divide="ignore"):
            return cast("Float64Array", state.sums.as_float().hi) / state.n, state.n > 0
    if isinstance(state, MinState | MaxState):
        return state.values.astype(np.float64), state.present
    raise TypeError(f"{type(state).__name__} is no number")


def _grouped(labels: list[Labels], codes: SeriesCodes, grouping: Grouping) -> tuple[list[Labels], SeriesCodes]:
    """Groups of the grouping's labels instead of series; numbered in the order in which they are met."""
    names = set(grouping.labels)
    groups: dict[tuple[tuple[str, str], ...], int] = {}
    numbers_of: list[int] = []
    shown: list[Labels] = []
    for of_series in labels:
        kept = {
            name: value
            for name, value in of_series.items()
            if (name not in names and name != NAME if grouping.without else name in names)
        }
        code = groups.setdefault(tuple(kept.items()), len(shown))
        if code == len(shown):
            shown.append(kept)
        numbers_of.append(code)
    return shown, SeriesCodes(codes.ids, np.array(numbers_of, np.int64)[codes.codes])


def _sketch_samples(states: WindowStates, labels: list[Labels], grouped: bool) -> SketchSamples:
    present, series = np.unique(states.codes, return_inverse=True)
    column = cast("SketchState", states.state).column
    shown = [labels[code] for code in present.tolist()]
    return SketchSamples(shown, series.reshape(-1).astype(np.int64), states.times_ns, column, grouped)


def _float_samples(parts: Sequence[tuple[MetricSeries, WindowStates]]) -> FloatSamples:
    """All metrics' numbers one behind the other; a window without a value has no sample."""
    labels: list[Labels] = []
    deltas: list[bool] = []
    series_of: list[np.ndarray] = []
    times: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for series, states in parts:
        found, has_value = numbers(states.state)
        present, places = np.unique(states.codes[has_value], return_inverse=True)
        series_of.append(places.reshape(-1).astype(np.int64) + len(labels))
        times.append(states.times_ns[has_value])
        values.append(found[has_value])
        named = series.named()
        labels += [named[code] for code in present.tolist()]
        deltas += [series.row.function in DELTAS] * present.size
    if not parts:
        nothing = np.empty(0, np.int64)
        return FloatSamples([], np.empty(0, np.bool_), nothing, nothing, np.empty(0))
    return FloatSamples(
        labels, np.array(deltas, np.bool_), np.concatenate(series_of), np.concatenate(times), np.concatenate(values)
    )
