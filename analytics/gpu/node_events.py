"""What kernels of a job's nodes tell, joined to the job: by node, time and PCI address.

A kernel log holds the events of days and of other jobs. An event counts for a job where its node is one of the job's
and its time lies in the job's; what tells no node or time is taken as belonging to the job it was given with.
Of the NVIDIA driver's Xid events several follow from another on the same GPU, and some are the program's own doing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from analytics.gpu.matches import Match

#: Events that are written for each process of a GPU that another event took down, or that contain another.
SYMPATHETIC_XIDS = frozenset({45, 94, 95, 154})
#: Mostly the program's own fault: a wrong address or instruction, and the reset of its channel.
APPLICATION_XIDS = frozenset({13, 31, 43, 68, 69})
#: Before a job's start and after its end: kernels write late, and nodes are drained afterwards.
SLACK_NS = 120 * 10**9
#: Events on one GPU within this time are one incident.
INCIDENT_NS = 300 * 10**9


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known of a job besides its logs; everything may be unknown.

    Attributes:
        nodes: names; empty: not known, and no event is left out for its node.
        start_ns, end_ns: UTC.
        gpus_before, gpus_after: node -> how many GPUs it showed; a GPU may vanish without any line about it.
        failed: what the scheduler or the exit code says; None where nobody does, and the logs have to.
        job: its name, "" where unknown.
        others: short name of a node -> other jobs that ran there when its kernel wrote what it did (shared_nodes.py).
    """

    nodes: frozenset[str] = frozenset()
    start_ns: int | None = None
    end_ns: int | None = None
    gpus_before: dict[str, int] = field(default_factory=dict)
    gpus_after: dict[str, int] = field(default_factory=dict)
    failed: bool | None = None
    job: str = ""
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Joined:
    """Matches that count for the job, in their order, and in words what was left out and why."""

    matches: tuple[Match, ...]
    notes: tuple[str, ...]


def join(matches: Sequence[Match], facts: JobFacts) -> Joined:
    """Leave out events of other nodes and times, and those that follow from another event on the same GPU."""
    elsewhere = [match for match in matches if match.line.source == "kernel" and not _belongs(match, facts)]
    left_out = {id(match) for match in elsewhere}
    kept = [match for match in matches if id(match) not in left_out]
    following = _following(kept)
    notes = []
    if elsewhere:
        notes.append(f"{len(elsewhere)} kernel events of other nodes or times were left out")
    if following:
        numbers = sorted({match.captured["xid"] for match in kept if id(match) in following}, key=int)
        notes.append(
            f"Xid {', '.join(numbers)} followed from another Xid on the same GPU and was not taken for a cause"
        )
    return Joined(tuple(match for match in kept if id(match) not in following), (*notes, *vanished(facts)))


def vanished(facts: JobFacts) -> tuple[str, ...]:
    """In words, which nodes show fewer GPUs after the job than before."""
    return tuple(
        f"node {node} showed {before} GPUs before the job and {facts.gpus_after[node]} after it"
        for node, before in sorted(facts.gpus_before.items())
        if facts.gpus_after.get(node, before) < before
    )


def pci_address(text: str) -> str:
    """An address in one form: domain of 8 hex digits, bus, device and function, small letters.

    `0000:07:00`, `07:00.0` and `00000000:07:00.0` are one GPU. What is no address comes back in small letters.
    """
    parts = text.strip().lower().removeprefix("pci:").split(":")
    if len(parts) == 2:
        parts = ["0", *parts]
    if len(parts) != 3:
        return text.strip().lower()
    domain, bus, device = parts
    device, _, function = device.partition(".")
    return f"{domain.rjust(8, '0')}:{bus.rjust(2, '0')}:{device.rjust(2, '0')}.{function or '0'}"


def short_name(node: str) -> str:
    """Short and full names of hosts are the same node."""
    return node.partition(".")[0]


def gpu_of(match: Match) -> tuple[str, str] | None:
    """Node and PCI address of an event, None where it names no address."""
    pci = match.captured.get("pci")
    return (match.line.node or "", pci_address(pci)) if pci else None


def _belongs(match: Match, facts: JobFacts) -> bool:
    line = match.line
    if facts.nodes and line.node is not None and not _is_one_of(line.node, facts.nodes):
        return False
    if line.time_ns is None:
        return True
    after_start = facts.start_ns is None or line.time_ns >= facts.start_ns - SLACK_NS
    return after_start and (facts.end_ns is None or line.time_ns <= facts.end_ns + SLACK_NS)


def _is_one_of(node: str, nodes: frozenset[str]) -> bool:
    return node in nodes or any(short_name(node) == short_name(other) for other in nodes)


def _following(matches: Sequence[Match]) -> set[int]:
    """Identities of sympathetic events with another, telling one on the same GPU at about the same time."""
    telling: dict[tuple[str, str], list[int | None]] = {}
    sympathetic: list[tuple[Match, tuple[str, str]]] = []
    for match in matches:
        number, gpu = match.captured.get("xid", ""), gpu_of(match)
        if not number.isdecimal() or gpu is None or match.signature.role not in ("root", "cascade"):
            continue
        if int(number) in SYMPATHETIC_XIDS:
            sympathetic.append((match, gpu))
        elif int(number) not in APPLICATION_XIDS:
            telling.setdefault(gpu, []).append(match.line.time_ns)
    return {id(match) for match, gpu in sympathetic if _near(match.line.time_ns, telling.get(gpu, ()))}


def _near(time_ns: int | None, others: Sequence[int | None]) -> bool:
    return any(time_ns is None or other is None or abs(time_ns - other) <= INCIDENT_NS for other in others)
