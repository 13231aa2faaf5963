"""What sources are to reach, per core."""

from benchmarks.targets import Target

LOG_MB = "sources.log_mb_per_s"
DOGSTATSD_LINES = "sources.dogstatsd_lines_per_s"
OTLP_POINTS = "sources.otlp_points_per_s"
TARGETS = (
    Target(LOG_MB, 100, ">="),
    Target(DOGSTATSD_LINES, 150_000, ">="),
    Target(OTLP_POINTS, 60_000, ">="),
)
