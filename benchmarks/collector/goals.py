"""What the collector and the store are to reach, per core."""

from benchmarks.targets import Target

PARTIALS, END_TO_END = "collector.partials_per_s", "collector.partials_end_to_end_per_s"
DRAINED = "collector.drained_records_per_s"
UPSERT = "store.upsert_vs_driver"
READ_SQLITE, READ_POSTGRESQL = "store.read_30000_sketches_ms", "store.read_30000_sketches_postgresql_ms"
MEMORY, SMALL_MEMORY = "collector.memory_per_key", "collector.memory_per_small_key_bytes"
FRESHNESS, RECOVERY = "collector.freshness_p99_s", "collector.recovery_s"
WIRE_BYTES, WIRE_CPU = "wire.narrowed_vs_zstd", "wire.narrowed_vs_zstd_cpu"
TARGETS = (
    Target(PARTIALS, 1_000_000, ">="),
    Target(END_TO_END, 300_000, ">="),
    Target(DRAINED, 5_000_000, ">="),
    Target(UPSERT, 0.85, ">="),
    Target(READ_SQLITE, 45, "<="),
    Target(READ_POSTGRESQL, 65, "<="),
    Target(MEMORY, 2, "<="),
    Target(SMALL_MEMORY, 1024, "<="),
    Target(FRESHNESS, 5, "<="),
    Target(RECOVERY, 10, "<="),
    Target(WIRE_BYTES, 0.92, "<="),
    Target(WIRE_CPU, 0.6, "<="),
)
