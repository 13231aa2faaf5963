"""The collector's own metrics, in a registry of their own (names: docs/reference/collector.md)."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

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
    "tailwatch_collector_pending_bytes", "Bytes of frames whose additions are not flushed yet.", registry=REGISTRY
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
