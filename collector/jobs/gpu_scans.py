"""Scans of the logs of some jobs at once: their kept lines as bytes, through the rules, in bounded memory.

Pages hold the series of many jobs, so jobs whose logs end at about the same time are read together. Of a job with
thousands of logs each one's share of what is kept is smaller: the first lines and the last ones.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from analytics.gpu.cleaning import Origin
from analytics.gpu.node_events import SLACK_NS, short_name
from analytics.gpu.scanning import TAIL_LINES, Scan, Scanner
from collector.jobs.gpu_log_lines import TOGETHER_NS, kept_lines
from collector.jobs.gpu_log_query import KERNEL, LogQuery, LogSeries
from pipeline.line_state import KeptLine
from store.snapshot import Snapshot
from store.upsert import batched

#: Series that are read at once.
SERIES_AT_ONCE: Final = 256
#: Bytes of one job's lines that are looked at, dealt over its logs; each has at least the smaller share.
MOST_BYTES: Final = 8 << 20
LEAST_SHARE: Final = 2 << 10
#: Lines of a job's logs that are kept from their ends, beside matches; each log has at least a few.
_MOST_TAIL: Final = 40_000
_LEAST_TAIL: Final = 8
_NS: Final = 10**9


@dataclass(slots=True)
class Logs:
    """What is to be read of one attempt, and then what its logs say.

    Attributes:
        series: of the job itself. of_nodes: of the kernels and the schedulers of its nodes.
        from_ns, to_ns: its lines were written at or after the one and before the other.
        scans: one a log that has lines. last_ns: when its last line was written, None without any.
        others: short name of a node whose kernel tells something -> other jobs that ran there then.
    """

    job: str
    series: Sequence[int]
    of_nodes: Sequence[int]
    from_ns: int
    to_ns: int
    scans: list[Scan] = field(default_factory=list)
    last_ns: int | None = None
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some series of some logs, as many as are read in one transaction."""

    series: Sequence[int]
    owners: Mapping[int, Sequence[tuple[Logs, bool]]]
    since_ns: int
    until_ns: int

    def scan(self, seen: Snapshot, query: LogQuery, series: LogSeries, scanner: Scanner) -> None:
        """Put their scans into the logs.

        Raises:
            CorruptPageError: a page that one of them needs is damaged.
        """
        found = kept_lines(seen, query, self.series, self.since_ns, self.until_ns)
        for number in self.series:
            for one, of_node in self.owners[number]:
                _scan(one, found.get(number, ()), series.origin(number), scanner, of_node)


def pieces_of(logs: Sequence[Logs]) -> Iterator[Piece]:
    """All series of all of them, once for those that end together: lines near an end are read the finest."""
    by_end: dict[int, list[Logs]] = {}
    for one in logs:
        by_end.setdefault(one.to_ns // TOGETHER_NS, []).append(one)
    for _, together in sorted(by_end.items()):
        yield from _pieces_of(together)


def _pieces_of(logs: Sequence[Logs]) -> Iterator[Piece]:
    owners: dict[int, list[tuple[Logs, bool]]] = {}
    for one in logs:
        for of_node, ids in ((False, one.series), (True, one.of_nodes)):
            for number in ids:
                owners.setdefault(number, []).append((one, of_node))
    since_ns, until_ns = min(one.from_ns for one in logs) - SLACK_NS, max(one.to_ns for one in logs) + SLACK_NS
    for some in batched(sorted(owners), SERIES_AT_ONCE):
        yield Piece(some, owners, since_ns, until_ns)


def _scan(one: Logs, lines: Sequence[KeptLine], origin: Origin, scanner: Scanner, of_node: bool) -> None:
    slack_ns = SLACK_NS if of_node else 0
    mine = [line for line in lines if one.from_ns - slack_ns <= line.ts_ns < one.to_ns + slack_ns]
    if of_node and origin.source != KERNEL:
        named = re.compile(rf"(?<!\w){re.escape(one.job)}(?!\w)")
        mine = [line for line in mine if named.search(line.text)]
    if not mine:
        return
    if not of_node:
        one.last_ns = max(one.last_ns or 0, mine[-1].ts_ns)
    n_logs = len(one.series) + len(one.of_nodes)
    share = max(LEAST_SHARE, MOST_BYTES // n_logs)
    scan = scanner.scan([b"".join(map(_stamped, _shortened(mine, share)))], origin)
    tail = min(TAIL_LINES, max(_LEAST_TAIL, _MOST_TAIL // n_logs))
    one.scans.append(replace(scan, tail=scan.tail[-tail:], excerpts=scan.excerpts[-4 * tail :]))


def _shortened(lines: Sequence[KeptLine], share: int) -> list[KeptLine]:
    """The first lines and the last ones that fit into so many bytes, half of them each."""
    sizes = [len(line.text) for line in lines]  # characters: the bound is for memory, not exact
    if sum(sizes) <= share:
        return list(lines)
    first, used = 0, 0
    while used + sizes[first] <= share // 2:
        used += sizes[first]
        first += 1
    last, used = len(lines), 0
    while last > first and (used + sizes[last - 1] <= share // 2 or last == len(lines)):
        used += sizes[last - 1]
        last -= 1
    return [*lines[:first], *lines[last:]]


def _stamped(line: KeptLine) -> bytes:
    """A line with its time as a logger would write it, for those that tell none; JSON has to stay whole."""
    text = line.text.replace("\n", "\r")  # one line, as the agent read it
    if text.startswith(("{", " {")):
        return f"{text}\n".encode()
    seconds, rest_ns = divmod(line.ts_ns, _NS)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"[{when:%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z] {text}\n".encode()


def series_of_nodes(series: LogSeries, nodes: Iterable[str]) -> list[int]:
    """The series of the kernels and the schedulers of these nodes."""
    return [number for node in sorted({short_name(node) for node in nodes}) for number in series.of_node.get(node, ())]
