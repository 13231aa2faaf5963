"""When each rank wrote last, and with how many lines: what tells a rank that went silent from one that waited.

Ranks are those that lines tell. Bounded: beyond `MOST_RANKS` different ones, further ranks are counted and no more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from analytics.gpu.log_lines import LogLine

MOST_RANKS = 65_536


@dataclass(slots=True)
class RankSpan:
    """Of one rank: the first and the last time it told, and on which node.

    first_ns, last_ns are None as long as none of its lines tells a time; `last_place` counts lines of the whole job.
    """

    node: str | None
    first_ns: int | None = None
    last_ns: int | None = None
    last_place: int = 0
    lines: int = 0


@dataclass(slots=True)
class Activity:
    """Of all ranks of a job, fed with lines in the order read."""

    ranks: dict[int, RankSpan] = field(default_factory=dict)
    lines: int = 0
    left_out: int = 0

    def see(self, line: LogLine) -> None:
        """Count one line."""
        self.lines += 1
        if line.rank is None:
            return
        span = self.ranks.get(line.rank)
        if span is None:
            if len(self.ranks) >= MOST_RANKS:
                self.left_out += 1
                return
            span = self.ranks[line.rank] = RankSpan(line.node)
        span.lines += 1
        span.last_place = self.lines
        span.node = span.node or line.node
        if line.time_ns is not None:
            span.first_ns = line.time_ns if span.first_ns is None else min(span.first_ns, line.time_ns)
            span.last_ns = line.time_ns if span.last_ns is None else max(span.last_ns, line.time_ns)

    def see_all(self, lines: Iterable[LogLine]) -> None:
        """Count many lines."""
        for line in lines:
            self.see(line)


def world_of(activity: Activity, told: Iterable[Mapping[str, str]]) -> frozenset[int]:
    """All ranks that the job has: those that wrote, and all below a world size that a line tells.

    Args:
        told: named groups of matches; `world_size` counts where it is a number of at most `MOST_RANKS`.
    """
    sizes = [int(groups["world_size"]) for groups in told if groups.get("world_size", "").isdecimal()]
    ranks = set(activity.ranks)
    usable = [size for size in sizes if 0 < size <= MOST_RANKS]
    if usable:
        ranks.update(range(max(usable)))
    return frozenset(ranks)
