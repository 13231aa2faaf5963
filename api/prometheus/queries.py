"""query, query_range and format_query: expressions in, numbers and histograms out."""

from dataclasses import replace

import orjson
from starlette.responses import Response

from api.config import PrometheusConfig
from api.prometheus import envelope
from api.prometheus.calls import Call
from api.prometheus.encoding import encoded
from api.prometheus.errors import BadDataError
from api.prometheus.parameters import MAX_POINTS, SECOND_NS, Parameters, read_steps
from api.prometheus.store_source import StoreSource
from api.promql.answer import Answer
from api.promql.errors import TooMuchError
from api.promql.evaluate import instant, range_query
from api.promql.histograms import Histograms
from api.promql.limits import Limits
from api.promql.parsing import LONGEST_NS, pretty

#: Windows that ended so long ago change only by what comes late.
SETTLED_NS = 300 * SECOND_NS
SETTLED_CACHE = "private, max-age=60"
#: A bucket takes 50 bytes of JSON and four times that while it is written: 200 MB, and some 4 s.
MOST_BUCKETS = 4_000_000


def query(call: Call) -> Response:
    """The expression at one instant: `query`, `time`, `timeout`, `lookback_delta`, `limit`."""
    time_ns = call.given.time_ns("time", call.now_ns // 1_000_000 * 1_000_000)
    limits = _limits(call)
    with _source(call) as source:
        answer = instant(call.given.text("query"), time_ns, source, limits, call.interrupt)
    return _answered(call, answer, time_ns)


def query_range(call: Call) -> Response:
    """The expression at every step from `start` to `end`."""
    steps = read_steps(call.given)
    limits = _limits(call)
    with _source(call) as source:
        answer = range_query(
            call.given.text("query"), steps.start_ns, steps.end_ns, steps.step_ns, source, limits, call.interrupt
        )
    return _answered(call, answer, steps.end_ns)


def format_query(call: Call) -> Response:
    """The expression in canonical form."""
    return envelope.success(orjson.dumps(pretty(call.given.text("query"))))


def _source(call: Call) -> StoreSource:
    service = call.service
    return StoreSource(service.database, service.config.prometheus, call.interrupt, service.reads.catalog)


def _limits(call: Call) -> Limits:
    config = call.service.config.prometheus
    return Limits(
        max_points=MAX_POINTS + 1,
        max_samples=config.max_samples,
        max_series=config.max_series,
        lookback_ns=_lookback_ns(call.given, config),
    )


def _lookback_ns(given: Parameters, config: PrometheusConfig) -> int:
    if not given.text("lookback_delta"):
        return round(config.lookback_s * SECOND_NS)
    lookback_ns = given.duration_ns("lookback_delta")
    if not 0 < lookback_ns <= LONGEST_NS:
        raise BadDataError.of("lookback_delta", "it must be longer than 0 and at most 50 years")
    return lookback_ns


def _answered(call: Call, answer: Answer, newest_ns: int) -> Response:
    call.interrupt()
    limit = call.given.limit()
    warnings = list(answer.warnings)
    if limit is not None and answer.kind in ("vector", "matrix") and len(answer.labels) > limit:
        answer = _cut(answer, limit)
        warnings.append("results truncated due to limit")
    buckets = len(answer.histograms.cells)
    if buckets > MOST_BUCKETS:
        raise TooMuchError(
            f"the answer would be {buckets} histogram buckets, at most {MOST_BUCKETS} are written into one; ask for "
            "histogram_quantile of them, add series up by sum by (…), or take a longer step"
        )
    cache = SETTLED_CACHE if newest_ns < call.now_ns - SETTLED_NS else envelope.NO_STORE
    return envelope.success(
        encoded(answer, newest_ns, call.interrupt), warnings=warnings, infos=answer.infos, cache=cache
    )


def _cut(answer: Answer, limit: int) -> Answer:
    """The first series only; their points come first, too."""
    n_floats = int((answer.float_series < limit).sum())
    n_histograms = int((answer.histogram_series < limit).sum())
    kept = answer.histograms
    end = int(kept.offsets[n_histograms])
    return replace(
        answer,
        labels=answer.labels[:limit],
        float_series=answer.float_series[:n_floats],
        float_times_ns=answer.float_times_ns[:n_floats],
        float_values=answer.float_values[:n_floats],
        histogram_series=answer.histogram_series[:n_histograms],
        histogram_times_ns=answer.histogram_times_ns[:n_histograms],
        histograms=Histograms(
            kept.schema, kept.offsets[: n_histograms + 1], kept.cells[:end], kept.counts[:end],
            kept.totals[:n_histograms], kept.sums[:n_histograms],
        ),
    )  # fmt: skip
