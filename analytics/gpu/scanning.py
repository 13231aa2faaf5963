"""One pass over a job's log: where signatures stand, with the lines around them.

The pass looks for the fixed texts that patterns demand (scanning_literals.py), in blocks of a megabyte, with no regard
to levels such as ERROR. A line that holds one is asked for the other texts that the same patterns demand; those of
which all are there are tried without their anchors, and only where one stands the line is cleaned and told. So ordinary
lines cost no more than the search for texts, and the slowest line a time linear in its bounded length. One machine of
all whole patterns would need no texts, but takes 2 ms for a line unlike those before it, and cannot be built for a
thousand rules (measured).

Memory is bounded whatever the log is: of each signature the first and the last matches are kept and the others counted;
so are lines around matches, and the log's last lines.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.gpu.cleaning import Origin, last_lines_of_block, lines_of_block
from analytics.gpu.cleaning_binary import LOOKED_AT, told_of
from analytics.gpu.cleaning_blocks import LINE_FEED, Block, blocks_of
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.scanning_excerpts import Excerpts
from analytics.gpu.scanning_kept import KeptMatches
from analytics.gpu.scanning_literals import Text
from analytics.gpu.scanning_places import first_lines, lines_after, lines_before, pieces_with, start_of_last
from analytics.gpu.scanning_rules import FixedTexts, Worth
from analytics.gpu.scanning_windows import REACH, WindowScan
from analytics.gpu.signatures import Signature

#: Lines of a log that are kept from its end.
TAIL_LINES: Final = 400
_MOST_REMEMBERED: Final = 32  # blocks that may hold them, where blocks are small or lines are long
#: Lines before and after a match, or after the start of a traceback, that are kept with it.
BEFORE: Final = 4
AFTER: Final = 60
#: Lines around matches that are kept, the first ones and the last ones.
EXCERPT_LINES: Final = 2_000
#: After these words tracebacks follow, which are read even where no signature stands in them.
TRACEBACKS: Final = ("traceback (most recent call last)", "caught signal", "stack trace:", "backtrace:")


@dataclass(frozen=True, slots=True)
class Scan:
    """What one log says.

    Attributes:
        matches: by line, then by the signatures' order; of each signature the first and the last ones.
        dropped: id of a signature -> how many matches were counted and not kept.
        excerpts: lines around matches and tracebacks, by line; the first and the last ones where there are many.
        tail: the last lines.
        lines, bytes: how much was read; a last line without its end counts.
        file: the name to show.
        no_log: what the file is instead of a log, in words; None for text.
    """

    matches: tuple[Match, ...]
    dropped: Mapping[str, int]
    excerpts: tuple[LogLine, ...]
    tail: tuple[LogLine, ...]
    lines: int
    bytes: int
    file: str = ""
    no_log: str | None = None


class Scanner:
    """Signatures made ready; used for any number of logs, one at a time."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.signatures = tuple(signatures)
        placed = list(enumerate(self.signatures))
        self._texts = FixedTexts(placed, [Text(each, any_case=True) for each in TRACEBACKS])
        self._windows = [(place, one) for place, one in placed if one.scope == "window"]

    def scan(self, chunks: Iterable[bytes], origin: Origin) -> Scan:
        """Read one log to its end.

        Args:
            chunks: its bytes, in pieces of any size; a megabyte each is quick (cleaning_blocks.BLOCK_BYTES).
        """
        one = _Pass(self._texts, WindowScan(self._windows, origin), origin)
        for block in blocks_of(one.counted(chunks)):
            one.read(block)
        return one.result()


class _Pass:
    """One log under way."""

    def __init__(self, texts: FixedTexts, windows: WindowScan, origin: Origin) -> None:
        self._texts, self._windows, self._origin = texts, windows, origin
        self._kept = KeptMatches()
        self._excerpts = Excerpts(BEFORE, AFTER, EXCERPT_LINES)
        self._last: deque[Block] = deque()
        self._bytes = 0
        self._start = b""
        self._lines = 0

    def counted(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The chunks; counts their bytes."""
        for chunk in chunks:
            self._bytes += len(chunk)
            if len(self._start) < LOOKED_AT:
                self._start = (self._start + chunk[:LOOKED_AT])[:LOOKED_AT]
            yield chunk

    def read(self, block: Block) -> None:
        """Look for texts, and at the lines that hold them."""
        data = block.data
        self._keep(self._windows.go_on(first_lines(data, block.first_line, REACH)))
        feeds = np.flatnonzero(np.frombuffer(data, np.uint8) == LINE_FEED)
        self._excerpts.begin(block, feeds)
        for start, end, line in pieces_with(self._texts, data, feeds):
            raw = data[start:end]
            worth = self._texts.worth(raw)
            if worth.tells(raw):
                self._look_at(worth, data, start, end, block.first_line, line)
        number = block.first_line + len(feeds)
        self._lines = number - data.endswith(b"\n")
        self._windows.end_of_block(lines_before(data, len(data), number, REACH))
        self._remember(block, feeds)

    def result(self) -> Scan:
        """What there was; the log is at its end."""
        self._keep(self._windows.go_on(()))
        return Scan(
            matches=self._kept.in_order(),
            dropped=self._kept.dropped(),
            excerpts=tuple(line for block in self._excerpts.blocks() for line in lines_of_block(block, self._origin)),
            tail=self._tail(),
            lines=self._lines,
            bytes=self._bytes,
            file=self._origin.file,
            no_log=told_of(self._start),
        )

    def _look_at(self, worth: Worth, data: bytes, start: int, end: int, first_line: int, line: int) -> None:
        raw, number = data[start:end], first_line + line
        found = worth.found_on(raw, self._origin, number)
        for place, made in found:
            self._kept.add(place, number, made)
        if found or worth.traceback:
            self._excerpts.around(line)
        if worth.window:
            before = lines_before(data, start, number, REACH)
            after = lines_after(data, end, number, REACH)
            self._keep(self._windows.hit(number, raw, before, after))

    def _keep(self, matches: Iterable[tuple[int, Match]]) -> None:
        for place, match in matches:
            self._kept.add(place, match.line.number, partial(_itself, match))

    def _remember(self, block: Block, feeds: npt.NDArray[np.int64]) -> None:
        """The last lines of the log so far: those of this block, and of the ones before while it has too few."""
        start, lines = start_of_last(block.data, feeds, TAIL_LINES)
        if start:
            self._last.clear()
        self._last.append(Block(block.data[start:], block.first_line + lines, 0 if start else block.continued))
        while len(self._last) > _MOST_REMEMBERED:
            self._last.popleft()

    def _tail(self) -> tuple[LogLine, ...]:
        found: list[LogLine] = []
        for block in reversed(self._last):
            if len(found) < TAIL_LINES:
                found = last_lines_of_block(block, self._origin, TAIL_LINES - len(found)) + found
        return tuple(found)


def _itself(match: Match) -> Match:
    return match
