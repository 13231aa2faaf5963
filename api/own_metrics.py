"""The API's own Prometheus metrics, in a registry of their own: what GET /metrics shows.

Label values are bounded: routes are templates or "unmatched", methods are known ones or "other".
"""

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder

from api.request_quantiles import RequestQuantiles


class OwnMetrics:
    """All counters and summaries of one API process; safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tailwatch_api_requests_total",
            "Requests answered, by route template, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.request_duration = RequestQuantiles()
        self.registry.register(self.request_duration)
        self.refused_requests = Counter(
            "tailwatch_api_refused_requests_total",
            "Requests refused before any route saw them: no_key, malformed_key, unknown_key, expired_key, revoked_key, "
            "scope, rate_of_key, rate_of_address, url_too_long, headers_too_large, body_too_large, body_too_slow, "
            "head_too_slow.",
            ["reason"],
            registry=self.registry,
        )
        self.telemetry_rows_sent = Counter(
            "tailwatch_api_telemetry_rows_sent_total",
            "Latency rows handed to the telemetry socket.",
            registry=self.registry,
        )
        self.telemetry_rows_dropped = Counter(
            "tailwatch_api_telemetry_rows_dropped_total",
            "Latency rows that could not be sent: no_listener, socket_full, buffer_full or socket_error.",
            ["reason"],
            registry=self.registry,
        )
        self.database_errors = Counter(
            "tailwatch_api_database_errors_total",
            "Reads that failed in the database: locked, busy, disk, unreachable, damaged, schema, stopping, other.",
            ["reason"],
            registry=self.registry,
        )
        self.answer_cache = Counter(
            "tailwatch_api_answer_cache_total",
            "Questions answered from an answer from before (hit) or computed (miss).",
            ["outcome"],
            registry=self.registry,
        )
        self.answer_cache_bytes = Gauge(
            "tailwatch_api_answer_cache_bytes",
            "About how much memory answers from before take.",
            registry=self.registry,
        )
        self.questions_ended = Counter(
            "tailwatch_api_questions_ended_total",
            "Questions refused or ended before their answer was there: time, client_gone, too_costly, busy.",
            ["reason"],
            registry=self.registry,
        )

        self.logs_classified = Counter(
            "tailwatch_api_logs_classified_total",
            "Uploads of logs that were read to their end, by what came out: answered, abstained, no_failure.",
            ["status"],
            registry=self.registry,
        )
        self.log_bytes = Counter(
            "tailwatch_api_log_bytes_total",
            "Bytes of uploaded logs that were read, unpacked.",
            registry=self.registry,
        )

        self.recorded_requests = Counter(
            "tailwatch_api_recorded_requests_total",
            "Requests that services recorded and sent, by what became of them: accepted, duplicate (a batch that was "
            "kept before), or the reason for which they were left out.",
            ["result"],
            registry=self.registry,
        )

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that `accept` asks for, with its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
