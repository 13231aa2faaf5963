"""What adaptive partitioning is to reach, as ratios within one run."""

from benchmarks.targets import Target

STABLE_P50, STABLE_P95 = "jarvis.epochs_to_stable_p50", "jarvis.epochs_to_stable_p95"
BYTES, GAIN_OVER_BEST_OP = "jarvis.bytes_vs_best_baseline", "jarvis.bytes_gain_over_best_op"
THROUGHPUT, AGENTS = "jarvis.throughput_gain_constrained", "jarvis.agents_per_collector"
OVERHEAD = "jarvis.adaptation_overhead_pct"
CHAIN_RATE, CHAIN_VS_POLARS = "jarvis.chain_records_per_s", "jarvis.chain_vs_polars"
CHAIN_VS_POLARS_1M, CHAIN_VS_POLARS_TEXT_KEYS = "jarvis.chain_vs_polars_1m", "jarvis.chain_vs_polars_text_keys"
TARGETS = (
    Target(STABLE_P50, 5, "<="),
    Target(STABLE_P95, 8, "<="),
    Target(BYTES, 1.03, "<="),
    Target(GAIN_OVER_BEST_OP, 1.5, ">="),
    Target(THROUGHPUT, 1.2, ">="),
    Target(AGENTS, 1.75, ">="),
    Target(OVERHEAD, 3, "<="),
    Target(CHAIN_RATE, 10_000_000, ">="),
    Target(CHAIN_VS_POLARS, 1.0, ">="),
    Target(CHAIN_VS_POLARS_1M, 0.7, ">="),
    Target(CHAIN_VS_POLARS_TEXT_KEYS, 0.7, ">="),
)
