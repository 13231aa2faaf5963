"""What is to be reached for adaptive parallelism."""

from typing import Final

from benchmarks.targets import Target

GAIN, GAIN_BUSY = "tail.p999_gain_over_no_correction_pct", "tail.p999_gain_over_no_correction_at_60_pct"
BEST, BEST_LIGHT = "tail.p99_vs_best_baseline", "tail.p99_vs_best_baseline_to_45"
MEAN_BUSY = "tail.mean_vs_sequential_at_80"
RATE = "tail.simulator_requests_per_s"
ERROR, ANSWERED = "tail.whatif_p99_error_pct", "tail.whatif_answered_share"
WRONG_ANSWERS, REAL_ERROR = "tail.whatif_answers_off_by_20_pct", "tail.whatif_p99_error_real_pct"
AGREEMENT = "tail.attribution_agreement"

#: Loads from "light" to "busy"; at 0.6 the correction is to gain less, and at 0.8 the mean counts.
LIGHT: Final = (0.15, 0.3, 0.45)
LOADS: Final = (*LIGHT, 0.6, 0.7, 0.8)
TARGETS = (
    Target(GAIN, 30, ">="),
    Target(GAIN_BUSY, 25, ">="),
    Target(BEST, 1.05, "<="),
    # Wanted below 1: a thousandth is less than what seeds make of a p99.
    Target(BEST_LIGHT, 0.999, "<="),
    Target(MEAN_BUSY, 1.1, "<="),
    Target(RATE, 5e6, ">="),
    Target(ERROR, 6, "<="),
    Target(ANSWERED, 0.7, ">="),
    Target(WRONG_ANSWERS, 0, "<="),
    Target(REAL_ERROR, 15, "<="),
    Target(AGREEMENT, 0.95, ">="),
)
