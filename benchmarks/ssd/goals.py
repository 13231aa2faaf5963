"""What is to be reached for drives; rates are per core."""

from benchmarks.targets import Target

HDD10, SYNTHETIC30 = "ssd.hdd10_aucpr", "ssd.synthetic30_aucpr"
OVER_RULE, CALIBRATION = "ssd.recall_over_rule_at_equal_fpr", "ssd.calibration"
FEATURE_ROWS, SCORED = "ssd.features_rows_per_s", "ssd.scoring_drives_per_s"
TARGETS = (
    Target(HDD10, 0.22, ">="),
    # The bound of an interval, wanted above 0: a thousandth of the failed drives is less than one of them.
    Target(OVER_RULE, 0.001, ">="),
    Target(SYNTHETIC30, 0.30, ">="),
    Target(CALIBRATION, 1, ">="),
    Target(FEATURE_ROWS, 500_000, ">="),
    Target(SCORED, 1_000_000, ">="),
)
