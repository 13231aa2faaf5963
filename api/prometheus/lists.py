"""labels, label values, series and metadata: what there is to ask for.

Series are those that ever reported; start and end are checked and otherwise not used, because the dictionary of series
does not know when.
"""

from collections.abc import Iterable, Iterator

import orjson
from starlette.responses import Response

from api.prometheus import envelope
from api.prometheus.calls import Call
from api.prometheus.catalog import NAME, MetricSeries, SeriesCatalog
from api.prometheus.errors import BadDataError
from api.prometheus.label_names import unescaped
from api.promql.errors import ExpressionError, TooMuchError, UnsupportedError
from api.promql.parsing import parse, weight_of
from api.promql.pattern_weight import MAX_WEIGHT
from api.promql.samples import Labels
from api.promql.tree import Selector
from store.label_matchers import Matcher
from store.registry import MetricRow

_TRUNCATED = "results truncated due to limit"
_TYPES = {"sketch": "histogram", "count": "counter", "sum": "counter"}
_HELP = {
    "sketch": "distribution",
    "count": "count",
    "sum": "sum",
    "min": "minimum",
    "max": "maximum",
    "avg": "average",
}


def labels(call: Call) -> Response:
    """Names of labels of the series that `match[]` means, or of all."""
    names: set[str] = set()
    for found in _found(call):
        names.add(NAME)
        names.update(*found.labels)
    return _sorted_list(call, names)


def label_values(call: Call) -> Response:
    """Values of one label, whose name may be escaped by U__."""
    name, values = unescaped(call.name), set[str]()
    for found in _found(call):
        if name == NAME:
            values.add(found.row.name)
        else:
            values.update(of_series[name] for of_series in found.labels if name in of_series)
    return _sorted_list(call, values)


def series(call: Call) -> Response:
    """Label sets of all series that any `match[]` means."""
    if not call.given.all("match[]"):
        raise BadDataError("no match[] parameter provided")
    limit, most = call.given.limit(), call.service.config.prometheus.max_series
    listed = list(_distinct(_found(call), most if limit is None else min(limit, most)))
    if limit is None and len(listed) > most:
        raise TooMuchError(
            f"more than {most} series match (api.prometheus.max_series); match fewer label values, or give limit="
        )
    warnings = []
    if limit is not None and len(listed) > min(limit, most):
        listed, warnings = listed[: min(limit, most)], [_TRUNCATED]
    call.interrupt()
    return envelope.success(orjson.dumps(listed), warnings=warnings)


def metadata(call: Call) -> Response:
    """Type, help text and unit of every metric, or of `metric`."""
    wanted = call.given.text("metric")
    limit = call.given.number("limit")
    if call.given.number("limit_per_metric") == 0:
        limit = 0
    with call.service.database.reading() as connection:
        rows = [row for row in SeriesCatalog(call.seen(connection)).metrics() if wanted in ("", row.name)]
    kept = rows if limit is None or limit < 0 else rows[:limit]
    return envelope.success(orjson.dumps({row.name: [_described(row)] for row in kept}))


def metric_type(row: MetricRow) -> str:
    """What Prometheus would call it: counts and sums are what rate() is for."""
    return _TYPES.get(row.function, "gauge")


def metric_help(row: MetricRow) -> str:
    """One sentence about the metric."""
    return f"{_HELP.get(row.function, row.function)} per window of {row.window_ns / 1e9:g} s, by query {row.query}"


def selectors(call: Call) -> list[tuple[Matcher, ...]]:
    """The matchers of each `match[]`.

    Raises:
        BadDataError: one is no plain selector, or their regular expressions together are too heavy.
    """
    texts = call.given.all("match[]")
    weight = sum(weight_of(text) for text in texts)
    if weight > MAX_WEIGHT:
        raise BadDataError.of(
            "match[]",
            f"the regular expressions weigh {weight}, at most {MAX_WEIGHT} is taken; repeat less, or use fewer",
        )
    found: list[tuple[Matcher, ...]] = []
    for text in texts:
        call.interrupt()
        found.append(_selector(text))
    return found


def _selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a `match[]`.

    Raises:
        BadDataError: it is no plain selector.
    """
    try:
        node = parse(text)
    except (ExpressionError, UnsupportedError) as error:
        raise BadDataError.of("match[]", error) from error
    if not isinstance(node, Selector) or node.range_ns is not None or node.offset_ns or node.at is not None:
        raise BadDataError.of("match[]", f'{text[:60]!r} is no series selector; want one such as up{{job="x"}}')
    return node.matchers


def _found(call: Call) -> list[MetricSeries]:
    """What the selectors mean, one after another; everything without any."""
    call.given.time_ns("start", 0)
    call.given.time_ns("end", 0)
    wanted = selectors(call) or [()]
    with call.service.database.reading() as connection:
        catalog = SeriesCatalog(call.seen(connection))
        found: list[MetricSeries] = []
        for matchers in wanted:
            found += catalog.matching(matchers)
            call.interrupt()
    return found


def _distinct(found: Iterable[MetricSeries], most: int) -> Iterator[Labels]:
    """Each label set once, by metric, then labels; one more than `most` at the most."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    for of_metric in sorted(found, key=lambda one: one.row.name):
        for labels_of in sorted(of_metric.named(), key=lambda one: list(one.items())):
            key = tuple(labels_of.items())
            if key not in seen:
                seen.add(key)
                yield labels_of
                if len(seen) > most:
                    return


def _sorted_list(call: Call, values: Iterable[str]) -> Response:
    listed, limit = sorted(values), call.given.limit()
    if limit is not None and len(listed) > limit:
        return envelope.success(orjson.dumps(listed[:limit]), warnings=[_TRUNCATED])
    return envelope.success(orjson.dumps(listed))


def _described(row: MetricRow) -> dict[str, str]:
    return {"type": metric_type(row), "unit": row.unit, "help": metric_help(row)}
