"""Signatures over several lines that follow each other: the lines around a hit, joined by line feeds.

Around a line that holds a fixed text of such a signature, REACH lines before and after are put together, without those
of other ranks or nodes, which may stand between. A hit at the end of a block waits for the lines of the next.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from analytics.gpu.cleaning import Origin, clean_line
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.scanning_places import Raw
from analytics.gpu.signature_patterns import compiled
from analytics.gpu.signatures import Signature

#: Lines before and after a hit that its window has.
REACH: Final = 8
_REMEMBERED = 256  # places of matches, so that windows that overlap tell each once


@dataclass(slots=True)
class _Waiting:
    """A hit, the lines up to it, and those after it so far."""

    hit: Raw
    before: Sequence[Raw]
    after: list[Raw] = field(default_factory=list)


class WindowScan:
    """Follows one log; `signatures` are (place, signature) of scope `window`."""

    def __init__(self, signatures: Sequence[tuple[int, Signature]], origin: Origin) -> None:
        self._rules = [
            (place, one, compiled(one.pattern), compiled(one.not_pattern) if one.not_pattern else None)
            for place, one in signatures
        ]
        self._origin = origin
        self._before: deque[Raw] = deque(maxlen=REACH)
        self._waiting: list[_Waiting] = []
        self._told: dict[tuple[int, int], None] = {}

    def hit(self, number: int, raw: bytes, before: Sequence[Raw], after: Sequence[Raw]) -> Iterator[tuple[int, Match]]:
        """A line that holds a text, with up to REACH lines on each side, as far as the block has them."""
        missing = REACH - len(before)
        earlier = [each for each in self._before if each[0] < number][-missing:] if missing > 0 else []
        waiting = _Waiting((number, raw), [*earlier, *before], list(after))
        if len(waiting.after) >= REACH:
            yield from self._matches(waiting)
        else:
            self._waiting.append(waiting)

    def go_on(self, first: Sequence[Raw]) -> Iterator[tuple[int, Match]]:
        """The first REACH lines of the next block, for the hits that wait for them; nothing waits where it is empty."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.after += first[: REACH - len(one.after)]
            if len(one.after) >= REACH or not first:
                yield from self._matches(one)
            else:
                self._waiting.append(one)

    def end_of_block(self, last: Sequence[Raw]) -> None:
        """The last REACH lines of a block, which hits of the next look back on."""
        self._before.extend(last)

    def _matches(self, waiting: _Waiting) -> Iterator[tuple[int, Match]]:
        middle = self._clean(waiting.hit)
        around = [self._clean(each) for each in (*waiting.before, waiting.hit, *waiting.after)]
        lines = [each for each in around if (each.rank, each.node) == (middle.rank, middle.node)]
        text = "\n".join(line.text for line in lines)
        starts = [0, *accumulate(len(line.text) + 1 for line in lines[:-1])]
        for place, signature, pattern, never in self._rules:
            if signature.sources and middle.source not in signature.sources:
                continue
            for found in pattern.finditer(text):
                line = lines[bisect_right(starts, found.start()) - 1]
                if (place, line.number) in self._told or (never is not None and never.search(found.group())):
                    continue
                self._remember(place, line)
                yield place, Match(signature, line, {key: value or "" for key, value in found.groupdict().items()})

    def _remember(self, place: int, line: LogLine) -> None:
        self._told[place, line.number] = None
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    def _clean(self, raw: Raw) -> LogLine:
        return clean_line(raw[1], self._origin, raw[0])
