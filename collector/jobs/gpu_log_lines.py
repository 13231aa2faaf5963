"""The lines of a job's logs that were kept, out of the stored windows: read for some series at a time, oldest first.

A state keeps so many bytes of lines however long the time is that it stands for. So a log is read in three stretches,
the nearer to its end the finer: what a job wrote in its last minutes is all there, of the days before the first lines
that a rule may know. Its very last lines, whatever they say, are looked for only as far back as there are any.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.jobs.gpu_log_query import LogQuery
from pipeline.line_state import KeptLine, LinesState
from store.registry import MetricRow
from store.samples import Instants, SeriesCodes, plan, read
from store.snapshot import Snapshot

Int64Array = npt.NDArray[np.int64]

_MINUTE_NS: Final = 60 * 10**9
_HOUR_NS: Final = 3600 * 10**9
#: Jobs whose logs end within this time of each other are read together.
TOGETHER_NS: Final = 10 * _MINUTE_NS
#: How long the stretch before the end is, besides.
_NEAR_NS: Final = 10 * _MINUTE_NS


def kept_lines(
    seen: Snapshot, query: LogQuery, series: Sequence[int], since_ns: int, until_ns: int
) -> dict[int, list[KeptLine]]:
    """Of each series the kept lines of windows that overlap [since_ns, until_ns), each once, in order.

    Raises:
        CorruptPageError: a page or body is damaged.
    """
    found: dict[int, set[KeptLine]] = {}
    ids = np.array(sorted(set(series)), np.int64)
    missing = ids
    for after_ns, to_ns in _stretches(since_ns, until_ns, query.window_ns):
        for row, wanted in ((query.first, ids), (query.last, missing), (query.sampled, ids)):
            if row is None:
                continue
            for one, lines in _read(seen, row, wanted, after_ns, to_ns).items():
                found.setdefault(one, set()).update(lines)
        missing = np.array([one for one in missing.tolist() if one not in found], np.int64)
    return {one: sorted(lines, key=lambda line: (line.ts_ns, line.place, line.text)) for one, lines in found.items()}


def _stretches(since_ns: int, until_ns: int, window_ns: int) -> list[tuple[int, int]]:
    """(after, to] of window ends, the last stretch first; bounds are where coarser windows end, too."""
    to_ns = -(-until_ns // window_ns) * window_ns
    first_ns = since_ns // window_ns * window_ns
    near_ns = (until_ns - TOGETHER_NS - _NEAR_NS) // _MINUTE_NS * _MINUTE_NS
    far_ns = (near_ns - _HOUR_NS) // _HOUR_NS * _HOUR_NS
    bounds = [to_ns, *(bound for bound in (near_ns, far_ns) if first_ns < bound < to_ns), first_ns]
    return [(after, to) for to, after in pairwise(bounds) if after < to]


def _read(seen: Snapshot, row: MetricRow, ids: Int64Array, after_ns: int, to_ns: int) -> Mapping[int, list[KeptLine]]:
    if not ids.size:
        return {}
    meant = SeriesCodes(ids, np.arange(ids.size, dtype=np.int64))
    asked = Instants(to_ns, to_ns, to_ns - after_ns, to_ns - after_ns)
    states = read(seen.connection, plan(seen, row, meant, asked, True), lambda: None)
    if states is None:
        return {}
    if not isinstance(states.state, LinesState):
        raise TypeError(f"states of {row.name} are {type(states.state).__name__}; want lines")
    together: dict[int, list[KeptLine]] = {}
    for place, code in enumerate(states.codes.tolist()):
        lines = states.state.lines(place)
        if lines:
            together.setdefault(int(ids[code]), []).extend(lines)
    return together
