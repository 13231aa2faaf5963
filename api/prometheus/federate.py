"""GET /prometheus/federate: the newest settled window of each series as text, for a Prometheus to scrape.

Everything is a gauge that tells of one window, with the window's end as its timestamp: scraped at least once a window,
each window is taken exactly once, so `sum_over_time` over counts and sums is right and `rate` is not. A sketch cannot
be carried in text without losing what makes it mergeable; it becomes quantiles, a count and a sum. Buckets are left
out: a sketch has hundreds, and which are filled changes from window to window, so their sums over time would be wrong.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from starlette.responses import Response

from api.prometheus import envelope
from api.prometheus.calls import Call
from api.prometheus.catalog import MetricSeries, SeriesCatalog
from api.prometheus.encoding import fixed
from api.prometheus.label_names import escaped
from api.prometheus.lists import metric_help, selectors
from api.prometheus.parameters import SECOND_NS
from api.prometheus.store_source import DELTAS, numbers
from api.promql.errors import TooMuchError
from api.promql.samples import Labels
from pipeline.states import SketchState
from store.samples import Instants, SeriesCodes, WindowStates, plan, read
from store.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: A window is shown once it ended so long ago: by then a healthy pipeline adds nothing to it, and a scrape that saw
#: less would not be corrected by the next one.
SETTLED_NS = 10 * SECOND_NS
#: A series silent for more windows is not shown.
WINDOWS = 3
LEVELS = (0.5, 0.9, 0.99, 0.999)
_DELTA = "a delta, not a counter: add windows up by sum_over_time, never by rate"


def federate(call: Call) -> Response:
    """The newest windows of the series that any `match[]` means; nothing without one, as Prometheus."""
    lines: list[str] = []
    with call.service.database.reading() as connection:
        seen = call.seen(connection)
        catalog = SeriesCatalog(seen)
        found: dict[str, MetricSeries] = {}
        for matchers in selectors(call):
            call.interrupt()
            for one in catalog.matching(matchers):
                found[one.row.name] = _united(found.get(one.row.name), one)
        n_series, limit = sum(len(one.labels) for one in found.values()), call.service.config.prometheus.max_series
        if n_series > limit:
            raise TooMuchError(
                f"match[] means {n_series} series, at most {limit} are shown (api.prometheus.max_series); match fewer"
            )
        taken = {row.name for row in catalog.metrics()}
        for name in sorted(found):
            call.interrupt()
            newest = _newest(seen, call, found[name])
            if newest is not None:
                lines += _families(found[name], newest, taken)
    text = "".join(line + "\n" for line in lines)
    return Response(text, headers={"Cache-Control": envelope.NO_STORE}, media_type=CONTENT_TYPE)


def _united(one: MetricSeries | None, other: MetricSeries) -> MetricSeries:
    """The series of both, each once."""
    if one is None:
        return other
    known = {tuple(labels.items()) for labels in one.labels}
    added = [code for code, labels in enumerate(other.labels) if tuple(labels.items()) not in known]
    if not added:
        return one
    renumber = np.full(len(other.labels), -1, np.int64)
    renumber[added] = np.arange(len(added)) + len(one.labels)
    codes = renumber[other.codes.codes]
    ids = np.concatenate([one.codes.ids, other.codes.ids[codes >= 0]])
    order = np.argsort(ids, kind="stable")
    joined = SeriesCodes(ids[order], np.concatenate([one.codes.codes, codes[codes >= 0]])[order])
    return replace(one, labels=[*one.labels, *(other.labels[code] for code in added)], codes=joined)


def _newest(seen: Snapshot, call: Call, series: MetricSeries) -> WindowStates | None:
    """The last of each series' windows."""
    settled_ns = call.now_ns - SETTLED_NS
    asked = Instants(settled_ns, settled_ns, 1, WINDOWS * series.row.window_ns)
    states = read(seen.connection, plan(seen, series.row, series.codes, asked, added=False), call.interrupt)
    if states is None:
        return None
    last = np.flatnonzero(np.diff(states.codes, append=-1) != 0)
    return WindowStates(states.codes[last], states.times_ns[last], states.state.take(last))


def _families(series: MetricSeries, states: WindowStates, taken: set[str]) -> Iterator[str]:
    row = series.row
    labels = [series.labels[code] for code in states.codes.tolist()]
    times = (states.times_ns // 1_000_000).tolist()
    if row.function != "sketch":
        values, has_value = numbers(states.state)
        note = f"; {_DELTA}" if row.function in DELTAS else ""
        yield from _head(row.name, metric_help(row) + note)
        for of_series, time, value, here in zip(labels, times, values.tolist(), has_value.tolist(), strict=True):
            if here:
                yield _sample(row.name, of_series, value, time)
        return
    column = cast("SketchState", states.state).column
    yield from _head(row.name, f"quantiles, {metric_help(row)}; quantiles cannot be averaged or added up")
    for of_series, time, values in zip(labels, times, column.quantiles(np.array(LEVELS)).tolist(), strict=True):
        for level, value in zip(LEVELS, values, strict=True):
            yield _sample(row.name, {**of_series, "quantile": f"{level:g}"}, value, time, of_series.get("quantile"))
    counts = (column.totals() + column.nan_counts).tolist()
    for suffix, numbers_of in (("_count", counts), ("_sum", column.sums.as_float().hi.tolist())):
        if row.name + suffix not in taken:
            yield from _head(row.name + suffix, f"{suffix[1:]} of {metric_help(row)}; {_DELTA}")
            for of_series, time, value in zip(labels, times, numbers_of, strict=True):
                yield _sample(row.name + suffix, of_series, value, time)


def _head(name: str, text: str) -> Iterator[str]:
    shown = escaped(name, metric=True)
    yield f"# HELP {shown} {_escaped_text(text)}"
    yield f"# TYPE {shown} gauge"


def _sample(name: str, labels: Labels, value: float, time_ms: int, own_quantile: str | None = None) -> str:
    shown = dict(labels) if own_quantile is None else {**labels, "exported_quantile": own_quantile}
    pairs = ",".join(
        f'{escaped(label)}="{_escaped_text(text).replace(chr(34), chr(92) + chr(34))}"'
        for label, text in sorted(shown.items())
    )
    braces = f"{{{pairs}}}" if pairs else ""
    return f"{escaped(name, metric=True)}{braces} {fixed(value)} {time_ms}"


def _escaped_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
