"""The columns of a drive-day: what one drive said of itself on one UTC day, whoever made it.

Names are those of the stream `smart` (docs/sources/smart.md), so nothing is renamed on the way from smartctl to a
model. Unknown is NULL, never 0. A drive is named by its serial number, or by host and device where it tells none; the
name is a key and never a feature.
"""

from typing import Final

import polars as pl

#: Cumulative counts of things that should not happen; growth of any of them is a symptom. In the order of SYSTOR'16:
#: data errors, reallocations, program and erase failures, the link.
SYMPTOMS: Final = (
    "uncorrectable_total",
    "media_errors_total",
    "crc_total",
    "realloc_total",
    "pending_count",  # may fall again: the only one that does
    "program_fail_total",
    "erase_fail_total",
    "downshift_total",
    "e2e_total",
)
#: Cumulative counts of ordinary work and of what a drive has been through.
COUNTERS: Final = (
    "err_log_entries_total",
    "power_on_h",
    "power_cycles_total",
    "unsafe_shutdowns_total",
    "host_written_bytes",
    "host_read_bytes",
    "nand_written_bytes",
)
#: Readings of the moment. `wear_used_pct` may exceed 100.
GAUGES: Final = (
    "wear_used_pct",
    "spare_pct",
    "spare_threshold_pct",
    "temperature_c",
    "read_error_raw",  # attribute 1 of hard disks as it stands: vendors count it differently, some go down again
    "critical_warning",
    "passed",
    "failing",
)
#: What a drive is, as numbers: nothing that gets better or worse.
FACTS: Final = ("rotation_rpm",)  # 0: a solid-state drive
#: Which drive it is. `drive` and `day` together are the key; `node` is the host, `rack` where that stands.
IDENTITY: Final = ("drive", "day", "node", "rack", "model", "vendor", "family", "firmware", "kind")
#: What is odd about the day: none is an error, each may be a reason to say Unknown.
FLAGS: Final = (
    "no_smart",  # a virtual disk or a RAID volume: what figures it gives are made up
    "moved",  # seen on another node than on the day before, or on two
    "hours_back",  # power_on_h fell: another drive's readings, or a clock that went back
    "counter_reset",  # some counter of SYMPTOMS or COUNTERS fell (pending_count and power_on_h aside)
    "negative",  # some count was below zero; it is NULL here
)

DAYS: Final[dict[str, pl.DataType]] = {
    "drive": pl.String(),
    "day": pl.Date(),
    **dict.fromkeys(IDENTITY[2:], pl.String()),
    **dict.fromkeys((*SYMPTOMS, *COUNTERS, *GAUGES, *FACTS), pl.Int64()),
    "readings": pl.Int64(),  # how many readings the day is made of
    **dict.fromkeys(FLAGS, pl.Boolean()),
}

#: The family of every drive that a generator made up (fleet.py): by it they are told from real ones in any table.
SYNTHETIC_FAMILY: Final = "synthetic"

#: Fail-stop failures: one row a drive, on the UTC day on which it was found dead or replaced for failing.
FAILURES: Final[dict[str, pl.DataType]] = {"drive": pl.String(), "day": pl.Date()}

#: What people call the columns; reasons and pages say it so.
WORDS: Final = {
    "uncorrectable_total": "uncorrectable errors",
    "media_errors_total": "media errors",
    "crc_total": "interface CRC errors",
    "realloc_total": "reallocated sectors",
    "pending_count": "sectors waiting to be reallocated",
    "program_fail_total": "program failures",
    "erase_fail_total": "erase failures",
    "downshift_total": "link speed downshifts",
    "e2e_total": "end-to-end errors",
    "err_log_entries_total": "error log entries",
    "power_on_h": "hours powered on",
    "power_cycles_total": "power cycles",
    "unsafe_shutdowns_total": "unsafe shutdowns",
    "host_written_bytes": "bytes written by the host",
    "host_read_bytes": "bytes read by the host",
    "nand_written_bytes": "bytes written to flash",
    "wear_used_pct": "rated life used",
    "spare_pct": "spare blocks left",
    "spare_threshold_pct": "where spare blocks count as critical",
    "temperature_c": "temperature",
    "read_error_raw": "read error rate as the vendor counts it",
    "critical_warning": "critical warnings",
    "passed": "the drive's own verdict",
    "failing": "smartctl's verdict that it is failing",
    "rotation_rpm": "revolutions a minute",
}
