"""Which of many matches is the root: by role and tier, by time, by the rank that failed first, by exception chain.

Tiers, the first that has a candidate wins:
1 a fact of the scheduler or of the node, 2 hardware, 3 software, 4 an exception that no line explains (or a signature
too weak to overrule one), 5 what follows from a failure elsewhere.
A data loader's worker that was killed is no cause where somebody tells that memory ran out: SIGKILL is what the kernel
sends then, and the loader only reports it.
Advice is printed with errors and says nothing; what confirms only adds to a root of its reason, and is a guess where
nothing else is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.gpu.matches import Match
from analytics.gpu.node_events import INCIDENT_NS
from analytics.gpu.tracebacks import Stream, Tracebacks, is_exception, is_marker, is_wrapper, stream_of, tracebacks

SCHEDULER_REASONS = frozenset({"time_limit", "job_preempted", "node_failure"})
HARDWARE_REASONS = frozenset(
    {
        "gpu_ecc",
        "gpu_fell_off_bus",
        "gpu_gsp_error",
        "host_hw",
        "kernel_hang",
        "nvlink_error",
        "thermal_power",
    }
)
#: Mostly seen after something else broke: a root only where nothing else is found.
FOLLOWING_REASONS = frozenset(
    {
        "remote_worker_died",
        "nccl_error",
        "nccl_timeout",
        "network_conn",
        "cuda_unknown",
        "mpi_error",
        "mpi_runtime_failure",
        "job_cancelled",
    }
)
#: Reason of a process found killed -> reasons that say why, where one of them is told, too.
KILLED_FOR = {"dataloader_killed": frozenset({"cpu_oom"})}
#: What its line says of its end (group `ended_by`), in small letters: any other signal is a matter of its own.
KILLED = ("is killed by signal", "is killed by signal: killed", "was killed", "exited unexpectedly")
#: Below this a root signature does not overrule an exception: it stands in jobs that go on, too.
WEAK = 40
#: Within a tier a text this telling comes before one that is less so, whichever stands first.
STRONG = 70


@dataclass(frozen=True, slots=True)
class Candidate:
    """A match that may be the root.

    Attributes:
        tier: 1 to 5, see above.
        time_ns: by the job's common clock, None where its line tells none.
        place: among all matches as they were read, from 0.
    """

    match: Match
    tier: int
    time_ns: int | None
    place: int

    @property
    def reason(self) -> str:
        return self.match.signature.reason


@dataclass(frozen=True, slots=True)
class Choice:
    """The root and what stands beside it.

    Attributes:
        root: None where nothing can be one.
        confirming: other matches of the same reason, confirming ones included.
        rivals: the best candidate of each other reason, best first.
        following: cascades and lower tiers, in the order of the log.
        tracebacks: all exceptions of the log.
    """

    root: Candidate | None
    confirming: tuple[Match, ...]
    rivals: tuple[Candidate, ...]
    following: tuple[Match, ...]
    tracebacks: Tracebacks


def tier_of(match: Match, raised: bool = False) -> int:
    """By the signature's role and reason, and by how much its text says.

    Args:
        raised: the match stands on an exception's line, where only a telling text says more than the class does.
    """
    signature = match.signature
    if signature.role != "root" or signature.reason in FOLLOWING_REASONS:
        return 5
    if signature.reason == "core_dump" and signature.weight < STRONG:
        # A process that aborts for an error it has told of before writes this, too.
        return 5
    if is_exception(match) or signature.weight < (STRONG if raised else WEAK):
        return 4
    if signature.reason in SCHEDULER_REASONS:
        return 1
    return 2 if signature.reason in HARDWARE_REASONS else 3


def choose(matches: Sequence[Match], times: Mapping[int, int] | None = None) -> Choice:
    """The root among the matches of one job.

    Args:
        matches: in the order read.
        times: place in `matches` -> UTC ns by the job's common clock, where clocks of nodes were found to disagree;
            without it the lines' own times count.
    """
    found = tracebacks(matches)
    candidates = _unexplained(_candidates(matches, {} if times is None else times, found))
    if not candidates:
        return Choice(None, (), (), _following(matches, None), found)
    ranked = sorted(candidates, key=_order)
    root = ranked[0]
    rivals: dict[str, Candidate] = {}
    for candidate in ranked[1:]:
        if candidate.reason != root.reason:
            rivals.setdefault(candidate.reason, candidate)
    confirming = tuple(
        match
        for match in matches
        if match is not root.match and match.signature.reason == root.reason and match.signature.role != "advice"
    )
    return Choice(root, confirming, tuple(rivals.values()), _following(matches, root), found)


def _candidates(matches: Sequence[Match], times: Mapping[int, int], found: Tracebacks) -> list[Candidate]:
    origins = {(stream_of(one.match), one.match.line.number): one.depth == 0 for one in found.raised}
    origins |= {(stream_of(one), one.line.number): False for one in matches if is_wrapper(one)}
    said = _said_more(matches)
    heaviest = _heaviest(matches)
    roles = (
        ("root", "cascade") if any(match.signature.role in ("root", "cascade") for match in matches) else ("confirm",)
    )
    candidates = []
    for place, match in enumerate(matches):
        if match.signature.role not in roles or is_marker(match):
            continue
        where = (stream_of(match), match.line.number)
        raised = where in origins
        if match.signature.weight < heaviest.get(where, 0) and not (is_exception(match) or is_wrapper(match)):
            continue
        if is_exception(match) and not raised:
            continue
        tier = tier_of(match, raised)
        # By its class alone only the origin of a chain counts, and only where no signature says more of it: what was
        # raised because of it follows, also from an origin that a signature explains.
        if raised and (tier == 4 or is_exception(match)) and (not origins[where] or where in said):
            continue
        candidates.append(Candidate(match, tier, times.get(place, match.line.time_ns), place))
    return candidates


def _unexplained(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Without those that were killed by what another tells."""
    return [one for one in candidates if not any(_killed_for(one, other) for other in candidates)]


def _killed_for(killed: Candidate, cause: Candidate) -> bool:
    if cause.reason not in KILLED_FOR.get(killed.reason, ()) or cause.match.signature.weight < STRONG:
        return False
    if killed.match.captured.get("ended_by", "").lower() not in KILLED or cause.tier > killed.tier:
        return False
    return killed.time_ns is None or cause.time_ns is None or abs(killed.time_ns - cause.time_ns) <= INCIDENT_NS


def _heaviest(matches: Sequence[Match]) -> dict[tuple[Stream, int], int]:
    """Of each line the greatest weight of its signatures: where several match one line, the most telling speaks."""
    heaviest: dict[tuple[Stream, int], int] = {}
    for match in matches:
        if match.signature.role in ("root", "cascade"):
            where = (stream_of(match), match.line.number)
            heaviest[where] = max(heaviest.get(where, 0), match.signature.weight)
    return heaviest


def _said_more(matches: Sequence[Match]) -> set[tuple[Stream, int]]:
    """Lines of which a signature says more than an exception's class does; a message may begin one line below."""
    said = set()
    for match in matches:
        if is_exception(match) or match.signature.role not in ("root", "cascade"):
            continue
        if tier_of(match, raised=True) != 4 and match.signature.reason != "core_dump":
            stream = stream_of(match)
            said.update({(stream, match.line.number), (stream, match.line.number - 1)})
    return said


def _order(candidate: Candidate) -> tuple[int, int, float, int, int]:
    weight = candidate.match.signature.weight
    band = 0 if weight >= STRONG else 1 if weight >= WEAK else 2
    timed = candidate.time_ns is not None
    time = float(candidate.time_ns) if candidate.time_ns is not None else 0.0
    return candidate.tier, band, time if timed else float("inf"), candidate.place, -weight


def _on_one_line(match: Match, other: Match) -> bool:
    return (match.line.file, match.line.number) == (other.line.file, other.line.number)


def _following(matches: Sequence[Match], root: Candidate | None) -> tuple[Match, ...]:
    """What is neither the root nor of its reason, each signature once a stream."""
    seen = set()
    following = []
    for match in matches:
        signature = match.signature
        if signature.role in ("advice", "confirm") or is_marker(match):
            continue
        if root is not None and (signature.reason == root.reason or _on_one_line(match, root.match)):
            continue
        key = (signature.id, match.line.file, match.line.rank)
        if key not in seen:
            seen.add(key)
            following.append(match)
    return tuple(following)
