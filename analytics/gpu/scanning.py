"""One pass over a job's log: where signatures stand, with the lines around them.

The pass looks for the fixed texts that patterns demand (scanning_literals.py), in blocks of a megabyte, ignoring case
and with no regard to levels such as ERROR. On a line that holds one, the patterns with such a text are tried without
their anchors, and only where one stands the line is cleaned and told. So ordinary lines cost no more than the search
for texts, and the slowest line a time linear in its bounded length. One machine of all whole patterns would need no
texts, but takes 2 ms for a line unlike those before it, and cannot be built for a thousand rules (measured).

Memory is bounded whatever the log is: of each signature the first and the last matches are kept and the others counted;
so are lines around matches, and the log's last lines.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.gpu.cleaning import Origin, clean_line, lines_of_block
from analytics.gpu.cleaning_blocks import LINE_FEED, Block, blocks_of
from analytics.gpu.log_lines import LogLine
from analytics.gpu.matches import Match
from analytics.gpu.scanning_excerpts import Excerpts
from analytics.gpu.scanning_kept import KeptMatches
from analytics.gpu.scanning_literals import required
from analytics.gpu.scanning_places import first_lines, lines_after, lines_before, piece_around, start_of_last
from analytics.gpu.scanning_windows import REACH, WindowScan
from analytics.gpu.signature_patterns import all_of, any_of, compiled, loosely_compiled
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
    """

    matches: tuple[Match, ...]
    dropped: Mapping[str, int]
    excerpts: tuple[LogLine, ...]
    tail: tuple[LogLine, ...]
    lines: int
    bytes: int


class Scanner:
    """Signatures made ready; used for any number of logs, one at a time."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.signatures = tuple(signatures)
        placed = list(enumerate(self.signatures))
        self._windows = [(place, one) for place, one in placed if one.scope == "window"]
        rules = [_Rule(place, one) for place, one in placed if one.scope == "line"]
        by_text: dict[str, list[_Rule]] = {}
        for rule in rules:
            for text in required(rule.signature.pattern):
                by_text.setdefault(text, []).append(rule)
        self._rules = list(by_text.values())
        self._of_rules = all_of(list(by_text))
        of_windows = {text for _, one in self._windows for text in required(one.pattern)}
        self._of_windows = any_of(of_windows) if of_windows else None
        self._of_tracebacks = any_of(TRACEBACKS)
        self._texts = any_of({*by_text, *of_windows, *TRACEBACKS})

    def scan(self, chunks: Iterable[bytes], origin: Origin) -> Scan:
        """Read one log to its end.

        Args:
            chunks: its bytes, in pieces of any size; a megabyte each is quick (cleaning_blocks.BLOCK_BYTES).
        """
        one = _Pass(self, origin)
        for block in blocks_of(one.counted(chunks)):
            one.read(block)
        return one.result()

    def matches_on(self, raw: bytes, origin: Origin, number: int) -> list[tuple[int, Match]]:
        """(place of the signature, match) of all that stand on a raw line, in the signatures' order."""
        rules = {rule.place: rule for text in self._of_rules.Match(raw) or () for rule in self._rules[text]}
        # Cleaning takes parts of a line away; it adds none, unless the line is JSON or in another encoding.
        if raw.isascii() and not raw.startswith((b"{", b" {")):
            rules = {place: rule for place, rule in rules.items() if rule.loose.search(raw) is not None}
        if not rules:
            return []
        line = clean_line(raw, origin, number)
        tried = ((place, rules[place].match(line)) for place in sorted(rules))
        return [(place, match) for place, match in tried if match is not None]

    def windows(self, origin: Origin) -> WindowScan:
        """What follows a log for the signatures over several lines."""
        return WindowScan(self._windows, origin)

    def begins_traceback(self, raw: bytes) -> bool:
        """Whether words stand on a raw line after which tracebacks follow."""
        return self._of_tracebacks.search(raw) is not None

    def wants_window(self, raw: bytes) -> bool:
        """Whether a raw line holds a fixed text of a signature over several lines."""
        return self._of_windows is not None and self._of_windows.search(raw) is not None

    def next_text(self, data: bytes, at: int) -> int:
        """Where the next fixed text begins, -1 for nowhere."""
        found = self._texts.search(data, at)
        return -1 if found is None else int(found.start())


class _Rule:
    """A signature for single lines, with its patterns compiled."""

    def __init__(self, place: int, signature: Signature) -> None:
        self.place, self.signature = place, signature
        self.loose = loosely_compiled(signature.pattern)
        self._pattern = compiled(signature.pattern)
        self._never = compiled(signature.not_pattern) if signature.not_pattern else None

    def match(self, line: LogLine) -> Match | None:
        """Where it stands on the line."""
        found = self._pattern.search(line.text)
        if found is None or (self.signature.sources and line.source not in self.signature.sources):
            return None
        if self._never is not None and self._never.search(line.text) is not None:
            return None
        return Match(self.signature, line, {key: value or "" for key, value in found.groupdict().items()})


class _Pass:
    """One log under way."""

    def __init__(self, scanner: Scanner, origin: Origin) -> None:
        self._scanner = scanner
        self._origin = origin
        self._windows = scanner.windows(origin)
        self._kept = KeptMatches()
        self._excerpts = Excerpts(BEFORE, AFTER, EXCERPT_LINES)
        self._last: deque[Block] = deque()
        self._bytes = 0
        self._lines = 0

    def counted(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The chunks; counts their bytes."""
        for chunk in chunks:
            self._bytes += len(chunk)
            yield chunk

    def read(self, block: Block) -> None:
        """Look for texts, and at the lines that hold them."""
        data = block.data
        self._keep(self._windows.go_on(first_lines(data, block.first_line, REACH)))
        feeds = np.flatnonzero(np.frombuffer(data, np.uint8) == LINE_FEED)
        self._excerpts.begin(block, feeds)
        done = 0
        while (at := self._scanner.next_text(data, done)) >= 0:
            start, end = piece_around(data, at, done)
            self._look_at(data, start, end, block.first_line + int(feeds.searchsorted(start)))
            done = end
        number = block.first_line + len(feeds)
        self._lines = number - data.endswith(b"\n")
        self._windows.end_of_block(lines_before(data, len(data), number, REACH))
        self._remember(block)

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
        )

    def _look_at(self, data: bytes, start: int, end: int, number: int) -> None:
        raw = data[start:end]
        scanner = self._scanner
        found = scanner.matches_on(raw, self._origin, number)
        self._keep(found)
        if found or scanner.begins_traceback(raw):
            self._excerpts.around(start, end)
        if scanner.wants_window(raw):
            before = lines_before(data, start, number, REACH)
            after = lines_after(data, end, number, REACH)
            self._keep(self._windows.hit(number, raw, before, after))

    def _keep(self, matches: Iterable[tuple[int, Match]]) -> None:
        for place, match in matches:
            self._kept.add(place, match)

    def _remember(self, block: Block) -> None:
        """The last lines of the log so far: those of this block, and of the ones before while it has too few."""
        start = start_of_last(block.data, TAIL_LINES)
        first_line = block.first_line + block.data.count(b"\n", 0, start)
        if start:
            self._last.clear()
        self._last.append(Block(block.data[start:], first_line, 0 if start else block.continued))
        while len(self._last) > _MOST_REMEMBERED:
            self._last.popleft()

    def _tail(self) -> tuple[LogLine, ...]:
        found: deque[LogLine] = deque(maxlen=TAIL_LINES)
        for block in self._last:
            found.extend(lines_of_block(block, self._origin))
        return tuple(found)
