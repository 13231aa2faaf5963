"""What is to be reached for GPU jobs."""

from benchmarks.targets import Target

LOG_RATE, FALSE_HITS = "gpu.log_mb_per_s", "gpu.false_hits_on_passed_pct"
HELD_OUT, ABSTENTION = "gpu.leave_one_source_out_category", "gpu.abstention"
SAVED_ALWAYS, SAVED_REASON = "gpu.simulated_gpu_time_saved_pct", "gpu.simulated_gpu_time_saved_pct_vs_per_reason"
#: Share of the labelled logs that has to be answered for the accuracy of the answered to count.
LEAST_COVERAGE = 0.8
TARGETS = (
    Target(LOG_RATE, 40, ">="),
    Target(FALSE_HITS, 1, "<="),
    Target(HELD_OUT, 0.85, ">="),
    Target(ABSTENTION, 0.95, ">="),
    Target(SAVED_ALWAYS, 10, ">="),
    # Wanted above 0: a tenth of a percent is less than the advice's own rounding.
    Target(SAVED_REASON, 0.1, ">="),
)
