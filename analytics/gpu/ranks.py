"""Several ranks, one failure: which rank's root explains the collective's timeout of all others, and who was silent.

A collective waits for its slowest rank, so the timeout is written by the ranks that are well. The root is what stands
in the window between the collective's start and its timeout on any rank; what stands long before was survived. Where
nothing does, the ranks that wrote nothing in the window are named: one of them did not come.
Clocks of nodes may disagree; `clock_offsets` finds by how much from what all nodes write at the same moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from analytics.gpu.matches import Match
from analytics.gpu.ranks_activity import Activity, world_of

TIMEOUT_REASON = "nccl_timeout"
#: Where the line tells no duration: the default of the library that most jobs run on.
USUAL_TIMEOUT_S = 600.0
#: Teardown after the timeout is written by others within seconds; a line this late may still be its cause.
SLACK_NS = 60 * 10**9
#: Clocks kept by NTP differ by less; below it no offset is claimed.
LEAST_OFFSET_NS = 30 * 10**9
#: Anchors of one node have to agree with each other this well to be believed.
AGREEMENT_NS = 10 * 10**9
#: So many different events at the same moment are wanted for an offset.
LEAST_ANCHORS = 2


@dataclass(frozen=True, slots=True)
class Window:
    """From the collective's start to its first timeout, by the job's common clock; None where lines tell no time."""

    timeout: Match
    start_ns: int | None
    end_ns: int | None

    def holds(self, time_ns: int | None) -> bool:
        """Whether something of this time may be the timeout's cause; what tells no time may."""
        if time_ns is None or self.start_ns is None or self.end_ns is None:
            return True
        return self.start_ns - SLACK_NS <= time_ns <= self.end_ns + SLACK_NS


def clock_offsets(matches: Sequence[Match]) -> dict[str, int]:
    """How far each node's clock is ahead of the others', in ns; nodes that agree are left out.

    Anchors are the first line of a signature on each of several nodes where what it captured is the same on all (the
    same collective's sequence number, the same job step): events of one moment. An offset is claimed only from at
    least two anchors that agree, so that a root that truly came first on its node is not taken for a wrong clock.
    """
    anchors: dict[tuple[str, str], dict[str, int]] = {}
    for match in matches:
        line = match.line
        if line.node is None or line.time_ns is None or "sequence" not in match.captured:
            continue
        anchor = anchors.setdefault((match.signature.id, match.captured["sequence"]), {})
        anchor.setdefault(line.node, line.time_ns)
    differences: dict[str, list[int]] = {}
    for times in anchors.values():
        if len(times) < 2:
            continue
        middle = int(median(times.values())) if len(times) > 2 else min(times.values())
        for node, time_ns in times.items():
            differences.setdefault(node, []).append(time_ns - middle)
    offsets = {}
    for node, found in differences.items():
        if len(found) >= LEAST_ANCHORS and max(found) - min(found) <= AGREEMENT_NS:
            offset = int(median(found))
            if abs(offset) >= LEAST_OFFSET_NS:
                offsets[node] = offset
    return offsets


def common_times(matches: Sequence[Match], offsets: Mapping[str, int]) -> dict[int, int]:
    """Place in `matches` -> time by the common clock, for lines that tell one."""
    times = {}
    for place, match in enumerate(matches):
        line = match.line
        if line.time_ns is not None:
            times[place] = line.time_ns - offsets.get(line.node or "", 0)
    return times


def timeout_window(matches: Sequence[Match], times: Mapping[int, int]) -> Window | None:
    """The window before the first timeout of a collective, None where none timed out."""
    timeouts = [place for place, match in enumerate(matches) if match.signature.reason == TIMEOUT_REASON]
    if not timeouts:
        return None
    timed = [place for place in timeouts if place in times]
    first = min(timed, key=lambda place: times[place]) if timed else timeouts[0]
    waited = [_waited_ns(matches[place]) for place in timeouts]
    told = [one for one in waited if one is not None]
    end_ns = times.get(first)
    start_ns = None if end_ns is None else end_ns - (max(told) if told else int(USUAL_TIMEOUT_S * 1e9))
    return Window(matches[first], start_ns, end_ns)


def silent_ranks(
    window: Window,
    activity: Activity,
    told: Iterable[Mapping[str, str]],
    reporting: Iterable[int | None],
    offsets: Mapping[str, int],
) -> tuple[int, ...]:
    """Ranks of the job that wrote nothing in the window, in order.

    Args:
        told: named groups of all matches, for the world's size.
        reporting: ranks that wrote of the timeout; they waited, whatever else they wrote.
        offsets: of the nodes' clocks.
    Returns:
        Empty where every rank wrote, and where no rank is known to have reported: then silence tells nothing.
    """
    waiting = {rank for rank in reporting if rank is not None}
    if not waiting:
        return ()
    silent = []
    for rank in sorted(world_of(activity, told) - waiting):
        span = activity.ranks.get(rank)
        if span is None:
            silent.append(rank)
        elif span.last_ns is not None and window.start_ns is not None:
            if span.last_ns - offsets.get(span.node or "", 0) < window.start_ns:
                silent.append(rank)
        elif span.last_ns is None and window.start_ns is None:
            # Without times only the order of lines in one stream is left.
            first = min(activity.ranks[one].last_place for one in waiting if one in activity.ranks) if waiting else 0
            if span.last_place < first:
                silent.append(rank)
    return tuple(silent)


def _waited_ns(match: Match) -> int | None:
    told = match.captured.get("ran_ms") or match.captured.get("timeout_ms") or ""
    return int(told) * 10**6 if told.isdecimal() and len(told) < 13 else None
