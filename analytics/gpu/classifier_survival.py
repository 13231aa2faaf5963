"""What a job went on after was survived, and is no cause; what a line denies, or quotes from data, has not happened.

A failure ends its process, or the process stands still. So where a stream goes on after a finding with the kind of
lines that it wrote before it, or says later that the job ended well, the finding was survived: a retried connection, a
handled exception, a sample that speaks of errors. Lines of the kernel and the scheduler are not judged so: their logs
always go on.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.signature_patterns import compiled
from analytics.gpu.tracebacks import Stream, is_marker, stream_of

#: Identifiers of rows that say that a job ended well.
ENDED_WELL = "ended-well-"
#: So many lines of a kind seen before say that a stream goes on; other ranks may write a few into the same stream.
RESUMED_LINES = 6
_ELSEWHERE = ("kernel", "scheduler", "events")
_STACK = re.compile(r"^(?:\s|File |Traceback|frame #|#\d|\[bt\]|@ |\*\*\*|-{3,}|={3,})")
_LETTERS = re.compile(r"[^A-Za-z]+")
_LONGEST_KIND = 60
#: A count of 0, or a word for none, behind or before what would be a failure.
_DENIED = re.compile(
    r"(?:errors?|fail(?:ures?|ed)|faults?|timeouts?|events?|pages?(?: \([^)]{0,30}\))?|_total|nan|killed"
    r"|oom(?:[_-]?kill\w*)?)\s*[:=]?\s*(?:0|none|no|off|false)(?=\s*(?:$|[,;|)]))"
    r"|\b(?:0|no|zero) (?:\S+ ){0,2}(?:errors?|failures?|failed|timeouts?|out of memory|oom|nans?|throttling|faults?"
    r"|denied)\b"
    r"|(?:has|have) not been seen|none so far|not (?:seen|observed|detected|present) so far",
    re.IGNORECASE,
)
#: Text of the data that a model is fed with or writes, shown in quotes: from the first one to the last of its kind.
_OF_DATA = re.compile(
    r"\b(?:samples?|prompts?|generated|questions?|answers?|completions?|instructions?)\b[\"']?[^\"':]{0,20}"
    r":[^\"']{0,100}([\"']).*\1",
    re.IGNORECASE,
)
_TELLS_OF_FAILURE = re.compile(r"error|fail|exception|abort|crash", re.IGNORECASE)

_FRAME = re.compile(r'^(\s*)File "[^"]*", line \d+')
_LISTED = re.compile(r"^\s*(?:-+> ?)?\d+ {2,}\S")


class Read(Protocol):
    """What is asked of a scanned log: the lines that it kept."""

    @property
    def excerpts(self) -> Sequence[LogLine]: ...

    @property
    def tail(self) -> Sequence[LogLine]: ...


def denied(match: Match) -> bool:
    """Whether the line says that what it names has not happened: a count of 0, a word for none."""
    return _DENIED.search(match.line.text) is not None


def quoted_data(match: Match) -> bool:
    """Whether what matches stands only in a quotation of data, such as a question that a model is to answer.

    Not where the line speaks of a failure before: then the quotation may be its message.
    """
    text = match.line.text
    quotation = _OF_DATA.search(text)
    if quotation is None or _TELLS_OF_FAILURE.search(text, 0, quotation.start()):
        return False
    left = text[: quotation.start(1)] + " " + text[quotation.end() :]
    pattern = _pattern(match.signature.pattern)
    return pattern.search(text) is not None and pattern.search(left) is None


def quoted_code(reads: Sequence[Read]) -> frozenset[tuple[str, int]]:
    """(file, line) of source code that tracebacks quote below their frames: what it says has not happened."""
    quoted = set()
    for read in reads:
        frames: dict[Stream, tuple[int, int]] = {}
        kept = {(line.number, line.text): line for line in (*read.excerpts, *read.tail)}
        for key in sorted(kept):
            line = kept[key]
            stream = line.file, line.rank, line.node
            number, indent = frames.pop(stream, (0, 0))
            deeper = len(line.text) - len(line.text.lstrip()) > indent
            if (number and deeper) or _LISTED.match(line.text):
                quoted.add((line.file, line.number))
            frame = _FRAME.match(line.text)
            if frame is not None:
                frames[stream] = line.number, len(frame.group(1))
    return frozenset(quoted)


@cache
def _pattern(pattern: str) -> Any:
    return compiled(pattern)


def ended_well(matches: Sequence[Match], root: Match) -> bool:
    """Whether the root's file says, after its last sign of failure, that the job ended well.

    What a rank says of itself tells nothing of another: it may have been done before it waited in vain.
    """
    file, rank = root.line.file, root.line.rank
    if root.line.source in _ELSEWHERE:
        return False
    ends = [
        match.line.number
        for match in matches
        if match.line.file == file and _says_well(match) and (rank is None or match.line.rank in (None, rank))
    ]
    signs = [match.line.number for match in matches if match.line.file == file and _is_sign(match)]
    return bool(ends) and max(ends) > max(signs, default=0)


def survived(matches: Sequence[Match], reads: Sequence[Read]) -> frozenset[int]:
    """Identities of the matches after whose last of the same reason their stream went on as before."""
    last: dict[tuple[Stream, str], int] = {}
    first: dict[Stream, int] = {}
    for match in matches:
        if _is_sign(match) and match.line.source not in _ELSEWHERE:
            stream = stream_of(match)
            key = stream, match.signature.reason
            last[key] = max(last.get(key, 0), match.line.number)
            first[stream] = min(first.get(stream, match.line.number), match.line.number)
    if not last:
        return frozenset()
    resumed = _resumed_at(matches, reads, first)
    gone_on = {
        key for key, number in last.items() if sum(place > number for place in resumed.get(key[0], ())) >= RESUMED_LINES
    }
    return frozenset(
        id(match)
        for match in matches
        if match.line.source not in _ELSEWHERE and (stream_of(match), match.signature.reason) in gone_on
    )


def _resumed_at(matches: Sequence[Match], reads: Sequence[Read], first: dict[Stream, int]) -> dict[Stream, list[int]]:
    """Of each stream the lines after its first sign whose kind stood before that sign."""
    signs = {(match.line.file, match.line.number) for match in matches}
    before: dict[Stream, set[str]] = {}
    resumed: dict[Stream, list[int]] = {}
    for read in reads:
        kept = {(line.number, line.text): line for line in (*read.excerpts, *read.tail)}
        for key in sorted(kept):
            line = kept[key]
            kind = _LETTERS.sub(" ", line.text)[:_LONGEST_KIND]
            if len(kind) < 4 or (line.file, line.number) in signs or _STACK.match(line.text):
                continue
            # What bears no rank is written by all of them, so lines of any rank tell that it was survived.
            for stream in {(line.file, line.rank, line.node), (line.file, None, None)} & first.keys():
                if line.number < first[stream]:
                    before.setdefault(stream, set()).add(kind)
                elif kind in before.get(stream, ()):
                    resumed.setdefault(stream, []).append(line.number)
    return resumed


def _says_well(match: Match) -> bool:
    return match.signature.id.startswith(ENDED_WELL)


def _is_sign(match: Match) -> bool:
    return match.signature.role != "advice" and not is_marker(match)
