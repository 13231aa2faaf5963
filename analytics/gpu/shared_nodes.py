"""Kernel events of nodes that several jobs ran on at once: which are the other jobs', and of which nobody can say.

A kernel names no jobs. But memory control groups of Slurm and other schedulers have the job in their names; and a
process or GPU that the job's own log names is the job's. What is left on a shared node is evidence, and no more.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from analytics.gpu.matches import Match
from analytics.gpu.node_events import JobFacts, gpu_of, short_name

_GROUPS: Final = re.compile(r"(?:memcg=|cpuset=|Memory cgroup out of memory: in |Task in )(/[^\s,]+)")
_PROCESS: Final = re.compile(r"\b(?:pid[=: ]{1,2}'?|Killed process )(\d{2,})")
#: Of a job's name, digits that a scheduler may have made it from stand for it.
_ID: Final = re.compile(r"\d{3,}")
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Sharing:
    """Matches that may be the job's, in their order.

    Attributes:
        unsure: identities of those that may be another job's as well, on so many `lines`.
        others: in words, whose else.
        notes: in words, what was left out.
    """

    matches: tuple[Match, ...]
    unsure: frozenset[int]
    lines: int
    others: str
    notes: tuple[str, ...]

    def said(self, root: Match | None) -> list[str]:
        """In words, what became of those that may be another job's; `root` is what was chosen of all."""
        if root is not None and id(root) in self.unsure:
            node = root.line.node
            return [f"node {node} ran other jobs at that time ({self.others}): what its kernel wrote may be about them"]
        about = f"{self.lines} kernel lines may be about other jobs of the node ({self.others}): set aside"
        return [about] if self.lines else []


def share(matches: Sequence[Match], facts: JobFacts, own_texts: Iterable[str]) -> Sharing:
    """Leave out events that name another job of their node, and tell those that name none.

    Args:
        own_texts: lines of the job's own logs.
    """
    on_shared = [one for one in matches if one.line.source == "kernel" and _others(one, facts)]
    if not on_shared:
        return Sharing(tuple(matches), frozenset(), 0, "", ())
    named = [one for one in on_shared if _names_another(one, facts)]
    theirs = set(map(id, named))
    own = "\n".join(own_texts)
    unsure = [one for one in on_shared if id(one) not in theirs and not _is_own(one, facts, own)]
    names = sorted({name for one in unsure for name in _others(one, facts)})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    notes = [f"{_lines(named)} kernel lines name another job of the node and were left out"] if named else []
    return Sharing(
        tuple(one for one in matches if id(one) not in theirs),
        frozenset(map(id, unsure)),
        _lines(unsure),
        ", ".join(name[:80] for name in names[:_SHOWN]) + more,
        tuple(notes),
    )


def _lines(matches: Sequence[Match]) -> int:
    return len({(one.line.file, one.line.node, one.line.number) for one in matches})


def _others(match: Match, facts: JobFacts) -> Sequence[str]:
    return facts.others.get(short_name(match.line.node or ""), ())


def _names_another(match: Match, facts: JobFacts) -> bool:
    groups = _GROUPS.findall(match.line.text)
    return not _named(facts.job, groups) and any(_named(other, groups) for other in _others(match, facts))


def _is_own(match: Match, facts: JobFacts, own: str) -> bool:
    if _named(facts.job, _GROUPS.findall(match.line.text)):
        return True
    process = _PROCESS.search(match.line.text)
    if process is not None and re.search(rf"(?i)\b(?:pid|process)\W{{1,4}}{process[1]}\b|:{process[1]}:", own):
        return True
    gpu = gpu_of(match)
    # Without the function, and as much of the domain as everybody writes.
    return gpu is not None and gpu[1].partition(".")[0][4:] in own.lower()


def _named(job: str, groups: Iterable[str]) -> bool:
    """Whether a control group's name holds the job, or the number in its name, by itself."""
    if not job:
        return False
    names = "|".join(map(re.escape, [job, *_ID.findall(job)]))
    alone = re.compile(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])")
    return any(alone.search(group) for group in groups)
