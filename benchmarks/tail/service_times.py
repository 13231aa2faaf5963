"""The workloads of the benchmarks: made-up web search, and measured service times where they are at hand."""

import csv
import gzip
import os
from pathlib import Path
from typing import Final

import numpy as np

from analytics.tail.policy_table import Workload

REAL_VARIABLE = "TAILWATCH_TEST_DATA"
REAL_FILE = Path("service_times") / "searchbench_times.csv.gz"
#: Whose times, and scaled to which mean: as long as web search, so that the same speed-ups can be meant.
_ENGINE, _COMMAND, _MEAN_MS = "lucene-10.4.0", "TOP_100_COUNT", 13.47
SYNTHETIC: Final = Workload("Bing-like, synthetic")


def workloads() -> tuple[list[Workload], str]:
    """Those at hand, and a sentence on the measured one: what it is, or why it is absent."""
    folder = os.environ.get(REAL_VARIABLE)
    path = Path(folder) / REAL_FILE if folder else None
    if path is None or not path.is_file():
        return [SYNTHETIC], f"Lucene skipped: {REAL_VARIABLE} names no folder with {REAL_FILE}"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = [
            row for row in csv.DictReader(lines) if (row["engine"], row["command"]) == (_ENGINE, _COMMAND)
        ]  # fmt: skip
    times = np.array([float(row[name]) for row in rows for name in row if name.startswith("us_") and row[name]])
    times = times[times > 0]
    told = (
        f"Lucene: {times.size:,} measured times of {_ENGINE}, {_COMMAND}, drawn anew and scaled to a mean of "
        f"{_MEAN_MS} ms; their speed-ups and predictions are synthetic"
    )
    return [SYNTHETIC, Workload("Lucene, measured times", times * (_MEAN_MS / times.mean()))], told
