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
transport_failures = Counter(
    "tailwatch_collector_transport_failures_total", "Times the transport could not be read.", registry=REGISTRY
)
lag_records = Gauge(
    "tailwatch_collector_lag_records",
    "Records of a partition held here that are not in the database yet.",
    ["partition"],
    registry=REGISTRY,
)
pending_bytes = Gauge(
    "tailwatch_collector_pending_bytes", "Bytes of frames whose additions are not flushed yet.", registry=REGISTRY
)
partitions_held = Gauge(
    "tailwatch_collector_partitions_held", "Partitions claimed by this collector.", registry=REGISTRY
)
