"""The collector's own metrics, in a registry of their own (names: docs/reference/collector.md).

What is counted by reason or query stands there with 0 from the start: a counter that comes up with its first event
looks, to whoever draws it, as if nothing was ever asked.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from collector.errors import MetricsPortError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REGISTRY = CollectorRegistry()
#: A partition that nothing of was written for so long, and for some flushes, is what /healthz complains of.
UNWELL_AFTER_S: Final = 60.0

frames = Counter("tailwatch_collector_frames_total", "Frames read from the transport.", registry=REGISTRY)
frame_bytes = Counter("tailwatch_collector_frame_bytes_total", "Bytes of the frames read.", registry=REGISTRY)
flush_seconds = Histogram(
    "tailwatch_collector_flush_seconds",
    "Time of one flush transaction.",
    registry=REGISTRY,
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
flush_failures = Counter(
    "tailwatch_collector_flush_failures_total", "Flushes that failed, by reason.", ["reason"], registry=REGISTRY
)
for _reason in ("fenced", "database", "refused"):
    flush_failures.labels(_reason)
offset_resets = Counter(
    "tailwatch_collector_offset_resets_total",
    "Times a partition's position was out of range and reading went on at the earliest record.",
    registry=REGISTRY,
)
skipped_offsets = Counter(
    "tailwatch_collector_skipped_offsets_total",
    "Offsets passed over because the transport holds nothing there, or no longer.",
    registry=REGISTRY,
)
missing_frames = Counter(
    "tailwatch_collector_missing_frames_total",
    "Frames that had not come 10 s after a later one of their agent's start.",
    registry=REGISTRY,
)
lost_frames = Counter(
    "tailwatch_collector_lost_frames_total",
    "Missing frames that are no longer waited for.",
    registry=REGISTRY,
)
transport_failures = Counter(
    "tailwatch_collector_transport_failures_total", "Times the transport could not be read.", registry=REGISTRY
)
lag_records = Gauge(
    "tailwatch_collector_lag_records",
    "Records of a partition held here that are not in the database yet.",
    ["partition"],
    registry=REGISTRY,
)
flush_age_seconds = Gauge(
    "tailwatch_collector_flush_age_seconds",
    "Seconds since all that was read of a partition held here was last in the database.",
    ["partition"],
    registry=REGISTRY,
)
pending_bytes = Gauge(
    "tailwatch_collector_pending_bytes",
    "Bytes of frames whose additions are not flushed yet, and of lines in them.",
    registry=REGISTRY,
)
partitions_held = Gauge(
    "tailwatch_collector_partitions_held", "Partitions claimed by this collector.", registry=REGISTRY
)
records_too_old = Counter(
    "tailwatch_collector_records_too_old_total", "Records older than the coarsest level is kept.", registry=REGISTRY
)
records_over_series_max = Counter(
    "tailwatch_collector_records_over_series_max_total",
    "Records refused because their query has as many series as it may have.",
    ["query"],
    registry=REGISTRY,
)
records_too_new = Counter(
    "tailwatch_collector_records_too_new_total",
    "Records refused because their window lies too far ahead of the clock.",
    registry=REGISTRY,
)
shared_ids = Counter(
    "tailwatch_collector_shared_ids_total", "Times an agent id was found in use by two at once.", registry=REGISTRY
)
restored_spools = Counter(
    "tailwatch_collector_restored_spools_total",
    "Starts of agents with a spool that was restored from an older disk.",
    registry=REGISTRY,
)
dead_letters = Counter("tailwatch_collector_dead_letters_total", "Frames that became dead letters.", registry=REGISTRY)
dead_letters_dropped = Counter(
    "tailwatch_collector_dead_letters_dropped_total", "Dead letters deleted to make room for newer.", registry=REGISTRY
)
job_seconds = Histogram(
    "tailwatch_collector_job_seconds",
    "Time of one round of a scheduled job.",
    ["job"],
    registry=REGISTRY,
    buckets=(0.01, 0.1, 0.3, 1, 3, 10, 30, 100),
)
job_failures = Counter(
    "tailwatch_collector_job_failures_total",
    "Rounds of a scheduled job that failed, by reason.",
    ["job", "reason"],
    registry=REGISTRY,
)
jobs_lease_held = Gauge(
    "tailwatch_collector_jobs_lease_held", "1 where this collector does the scheduled jobs.", registry=REGISTRY
)
rolled_up = Counter(
    "tailwatch_collector_rolled_up_windows_total", "Coarser windows computed from finer ones.", registry=REGISTRY
)
drives = Gauge(
    "tailwatch_collector_drives",
    "Drives by state, where this collector scores them.",
    ["state"],
    registry=REGISTRY,
)
for _state in ("good", "watch", "replace", "unknown"):
    drives.labels(_state)
drives_lag_seconds = Gauge(
    "tailwatch_collector_drives_lag_seconds",
    "Seconds since the newest complete round of scoring drives began, or since one was first due; 0 without drives.",
    registry=REGISTRY,
)
drives_round_seconds = Histogram(
    "tailwatch_collector_drives_round_seconds",
    "Time of one round of scoring drives.",
    registry=REGISTRY,
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
drives_failures = Counter(
    "tailwatch_collector_drives_failures_total",
    "Rounds of scoring drives, or parts of one, that failed, by reason.",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("lease", "database", "damaged", "model", "data", "fenced", "fault"):
    drives_failures.labels(_reason)
drives_without_series = Gauge(
    "tailwatch_collector_drives_without_series",
    "Good drives of which no series is written because there are more than jobs.drives.series_max_drives.",
    registry=REGISTRY,
)
drives_lease_held = Gauge(
    "tailwatch_collector_drives_lease_held", "1 where this collector scores drives.", registry=REGISTRY
)
gpu_lag_seconds = Gauge(
    "tailwatch_collector_gpu_lag_seconds",
    "Seconds since the newest whole round over failed GPU jobs began, or since one was first due; 0 without any.",
    registry=REGISTRY,
)
gpu_round_seconds = Histogram(
    "tailwatch_collector_gpu_round_seconds",
    "Time of one round over failed GPU jobs.",
    registry=REGISTRY,
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
gpu_failures = Counter(
    "tailwatch_collector_gpu_failures_total",
    "Rounds over failed GPU jobs, or parts of one, that failed, by reason.",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("lease", "database", "damaged", "model", "data", "rules", "library", "fenced", "fault"):
    gpu_failures.labels(_reason)
gpu_waiting = Gauge(
    "tailwatch_collector_gpu_waiting_jobs",
    "Jobs with lines or reports that are not looked into yet, where this collector does it.",
    registry=REGISTRY,
)
gpu_diagnosed = Counter(
    "tailwatch_collector_gpu_diagnosed_total",
    "Diagnoses of failed GPU jobs that were new or other than before, by status.",
    ["status"],
    registry=REGISTRY,
)
for _status in ("answered", "abstained"):
    gpu_diagnosed.labels(_status)
gpu_lease_held = Gauge(
    "tailwatch_collector_gpu_lease_held", "1 where this collector looks into failed GPU jobs.", registry=REGISTRY
)
tail_lag_seconds = Gauge(
    "tailwatch_collector_tail_lag_seconds",
    "Seconds since the newest whole round over services began, or since one was first due; 0 without any.",
    registry=REGISTRY,
)
tail_round_seconds = Histogram(
    "tailwatch_collector_tail_round_seconds",
    "Time of one round over services, rests included, runs left out.",
    registry=REGISTRY,
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
tail_failures = Counter(
    "tailwatch_collector_tail_failures_total",
    "Rounds over services, or parts of one, that failed, by reason.",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("lease", "database", "damaged", "data", "library", "fenced", "fault"):
    tail_failures.labels(_reason)
tail_requests = Counter(
    "tailwatch_collector_tail_requests_total",
    "Recorded requests taken in, by what became of them: counted in minutes, too late for them, or of a time to come.",
    ["result"],
    registry=REGISTRY,
)
for _result in ("counted", "late", "ahead"):
    tail_requests.labels(_result)
tail_minutes = Counter(
    "tailwatch_collector_tail_minutes_total",
    "Minutes of services computed, those computed again included.",
    registry=REGISTRY,
)
tail_runs = Counter(
    "tailwatch_collector_tail_runs_total",
    "Runs that ended, by kind and state.",
    ["kind", "state"],
    registry=REGISTRY,
)
for _kind in ("what_if", "search", "learn"):
    for _state in ("done", "refused", "failed", "cancelled"):
        tail_runs.labels(_kind, _state)
tail_lease_held = Gauge(
    "tailwatch_collector_tail_lease_held", "1 where this collector works on services.", registry=REGISTRY
)


def serve(host: str, port: int, unwell_after_s: float = UNWELL_AFTER_S) -> None:
    """Show these metrics for as long as the process runs, and on /healthz whether what is read is also written.

    Raises:
        MetricsPortError: the address cannot be had.
    """
    try:
        server, _ = start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        raise MetricsPortError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; set collector.metrics_port to another port, "
            "or to 0 for none, and collector.metrics_host to an address of this machine"
        ) from error
    metrics = server.get_app()
    assert metrics is not None
    server.set_app(_with_health(metrics, unwell_after_s))


def know_queries(names: Iterable[str]) -> None:
    """Show that none of their records were refused so far."""
    for name in names:
        records_over_series_max.labels(name)


def _with_health(metrics: "WSGIApplication", unwell_after_s: float) -> "WSGIApplication":
    """The library answers every path with the metrics, so /healthz would be well whatever happens."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return metrics(environ, start_response)
        problem = _problem(unwell_after_s)
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        start_response("503 Service Unavailable" if problem else "200 OK", headers)
        return [f"{problem or 'ok'}\n".encode()]

    return answer


def _problem(unwell_after_s: float) -> str:
    """Asked of the gauges, which also tell when the thread that reads and writes stands still."""
    samples = (sample for family in flush_age_seconds.collect() for sample in family.samples)
    late = {sample.labels["partition"]: sample.value for sample in samples if sample.value > unwell_after_s}
    if not late:
        return ""
    worst = max(late, key=lambda number: late[number])
    return (
        f"nothing of {len(late)} partitions was written to the database for more than {unwell_after_s:g} s, "
        f"the longest of partition {worst}, {late[worst]:.0f} s; the log says why"
    )
