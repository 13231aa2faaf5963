"""What the API is to reach. Times are wall time at the client over loopback."""

from benchmarks.targets import Target

LARGE = "api.p99_30000_sketches_ms"
SCHEMA_6, SCHEMA_3 = "api.vs_prometheus_schema6", "api.vs_prometheus_schema3"
ONE_SERIES, CACHED = "api.one_series_1h_ms", "api.cached_ms"
SMALL = "api.small_queries_per_s"
AGREEMENT = "promql.differential_agreement"
TARGETS = (
    Target(LARGE, 60, "<="),
    Target(SCHEMA_6, 20, ">="),
    Target(SCHEMA_3, 5, ">="),
    Target(ONE_SERIES, 6, "<="),
    Target(CACHED, 1.5, "<="),
    Target(SMALL, 1_500, ">="),
    Target(AGREEMENT, 0.98, ">="),
)
