"""Which files of tests take longest: workers begin with them, so that they all end at about the same time."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What one process can do alone, from about 20 s down to 5 s of one core, waiting included; then whole systems.
LONG = (
    "tests/agents/test_faults.py",
    "tests/store/test_rollups.py",
    "tests/collector/test_series_limit.py",
    "tests/collector/test_starts.py",
    "tests/collector/test_exactly_once.py",
    "tests/collector/jobs/test_drives.py",
    "tests/collector/test_database_restart.py",
    "tests/collector/test_kafka_rebalance.py",
    "tests/wire/test_kafka_faults.py",
    "tests/store/test_coverage.py",
    "tests/collector/test_wrong_clocks.py",
    "tests/store/test_days.py",
    "tests/collector/test_kafka_topic_changes.py",
    "tests/store/test_migration_0002.py",
    "tests/wire/test_transport_laws.py",
    "tests/benchmarks/test_quantiles.py",
    "tests/collector/test_in_flight.py",
    "tests/collector/test_partition.py",
    "tests/api/test_fuzz.py",
    "tests/collector/test_failures.py",
    "tests/fuzzing/test_parsers.py",
    "tests/collector/test_restored_spools.py",
    "tests/quantiles/test_mutants.py",
    "tests/wire/test_kafka_security.py",
    "tests/architecture/test_sources.py",
    "tests/system/test_faults.py",
    "tests/system/test_kill.py",
    "tests/tailwatch/test_demo.py",
    "tests/promql_differential/test_agreement.py",
)
