"""Exceptions in a log, put together to the chains in which they were raised.

Works on matches, not on lines: the rows of signatures/exceptions.yaml find the exceptions (their pattern has the group
`exception`), where a traceback begins, and what links two of them. Frames are not needed, so a traceback whose top or
frames were cut off still counts; one whose exception was cut off is told apart. An exception that only reports that
another process failed takes its place in a chain, and is none of its own.
A chain is what one process raised, each exception because of the one before it or while that one was handled. Its
origin is the first: Python prints the oldest first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analytics.gpu.matches import Match

#: Identifiers of the rows that mark a traceback's parts.
BEGINS = "traceback-begins"
LINKS = frozenset({"traceback-direct-cause", "traceback-while-handling"})
#: The row that knows an exception by the form of its name and no more.
ANY_EXCEPTION = "exception-any"
#: Rows of exceptions that only report that another process failed.
WRAPPERS = "raised-wrapper-"

Stream = tuple[str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception in its chain.

    Attributes:
        match: its line.
        chain: number of its chain in this log, from 0.
        depth: 0 for the chain's origin, 1 for what was raised because of it, and so on.
    """

    match: Match
    chain: int
    depth: int


@dataclass(frozen=True, slots=True)
class Tracebacks:
    """All exceptions of a log, oldest chain first, and where a traceback ends without its exception."""

    raised: tuple[Raised, ...]
    cut_off: tuple[Match, ...]


def is_exception(match: Match) -> bool:
    """Whether a match stands for an exception by its class alone."""
    return bool(match.captured.get("exception")) or match.signature.id == ANY_EXCEPTION


def is_marker(match: Match) -> bool:
    """Whether a match is only a part of a traceback."""
    return match.signature.id == BEGINS or match.signature.id in LINKS


def is_wrapper(match: Match) -> bool:
    """Whether a match is an exception that only reports that another process failed."""
    return match.signature.id.startswith(WRAPPERS)


def stream_of(match: Match) -> Stream:
    """Which stream of text a line belongs to: lines of several ranks in one file are different streams."""
    return match.line.file, match.line.rank, match.line.node


def tracebacks(matches: Iterable[Match]) -> Tracebacks:
    """The chains of all streams.

    Args:
        matches: of a whole log, in any order. Several exceptions on one line count as the one of the greatest weight:
            the row for any exception stands behind every other.
    Cost: O(n log n) for n exceptions and markers; other matches are passed over.
    """
    streams: dict[Stream, list[Match]] = {}
    for match in matches:
        if is_exception(match) or is_marker(match) or is_wrapper(match):
            streams.setdefault(stream_of(match), []).append(match)
    raised: list[Raised] = []
    cut_off: list[Match] = []
    chains = 0
    for found in streams.values():
        walk = _Walk(chains)
        for match in _one_per_line(found):
            walk.take(match)
        walk.end()
        raised += walk.raised
        cut_off += walk.cut_off
        chains = walk.chain + 1
    return Tracebacks(tuple(raised), tuple(cut_off))


class _Walk:
    """Goes over one stream's exceptions and markers in the order of its lines."""

    def __init__(self, first_chain: int) -> None:
        self.raised: list[Raised] = []
        self.cut_off: list[Match] = []
        self.chain = first_chain - 1
        self._begun: Match | None = None
        self._linked = False
        self._any = False
        self._depth = 0

    def take(self, match: Match) -> None:
        if match.signature.id == BEGINS:
            if self._begun is not None:
                self.cut_off.append(self._begun)
            self._begun = match
        elif match.signature.id in LINKS:
            self._linked = self._any
        elif is_wrapper(match):
            self._new_or_linked()
        else:
            self._raise(match)

    def end(self) -> None:
        if self._begun is not None:
            self.cut_off.append(self._begun)

    def _raise(self, match: Match) -> None:
        self._new_or_linked()
        self.raised.append(Raised(match, self.chain, self._depth))

    def _new_or_linked(self) -> None:
        if self._linked:
            self._depth += 1
        else:
            self.chain += 1
            self._depth = 0
        self._begun = None
        self._linked = False
        self._any = True


def _one_per_line(matches: Sequence[Match]) -> list[Match]:
    """By line; a wrapper wins over the class of the exception it stands on, the more telling class over others."""
    best: dict[int, Match] = {}
    for match in matches:
        other = best.get(match.line.number)
        if other is None or _rank(match) > _rank(other):
            best[match.line.number] = match
    return [best[number] for number in sorted(best)]


def _rank(match: Match) -> tuple[bool, bool, int]:
    return is_wrapper(match), is_exception(match), match.signature.weight
