"""Which other jobs ran on a node when its kernel wrote something: by the lines that they wrote there around that time.

Asked only where a kernel tells of something that jobs die of.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analytics.gpu.node_events import short_name
from analytics.gpu.scanning import Scan
from collector.jobs.gpu_log_counts import with_lines
from collector.jobs.gpu_log_query import LogQuery, LogSeries
from store.snapshot import Snapshot

#: A job that wrote nothing for so long before and after has hardly run there.
_AROUND_NS: Final = 600 * 10**9


def tells_of_kernel(scans: Sequence[Scan]) -> bool:
    """Whether a kernel's line matches a rule."""
    return any(match.line.source == "kernel" for scan in scans for match in scan.matches)


def others_beside(
    seen: Snapshot, query: LogQuery, series: LogSeries, job: str, scans: Sequence[Scan]
) -> dict[str, tuple[str, ...]]:
    """Short name of each node whose kernel the scans cite -> other jobs that wrote there at that time, by name.

    Raises:
        CorruptPageError: a page is damaged.
    """
    times: dict[str, tuple[int, int]] = {}
    for match in (match for scan in scans for match in scan.matches if match.line.source == "kernel"):
        node, time_ns = short_name(match.line.node or ""), match.line.time_ns
        if node and time_ns is not None:
            low, high = times.get(node, (time_ns, time_ns))
            times[node] = min(low, time_ns), max(high, time_ns)
    found = {}
    for node, (low, high) in times.items():
        theirs = sorted(one for one in series.beside.get(node, ()) if series.labels[one]["job"] != job)
        ids = with_lines(seen, query, np.array(theirs, np.int64), low - _AROUND_NS, high + _AROUND_NS)
        if ids.size:
            found[node] = tuple(sorted({series.labels[one]["job"] for one in ids.tolist()}))
    return found
