"""Lines around what was found: taken as bytes while a log goes by, to be cleaned at its end, in bounded number."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.gpu.cleaning_blocks import Block

#: Bytes that are taken at once: long lines must not fill the room of all others.
_LARGEST_BYTES: Final = 64 << 10
_BYTES_OF_A_LINE: Final = 256  # so many bytes take as much room as a line
_NO_FEEDS: Final[npt.NDArray[np.int64]] = np.empty(0, np.int64)


class Excerpts:
    """Collects lines from `before` before to `after` behind places, each once, in the log's order.

    The first ones and the last ones are kept, `most_lines` in all.
    """

    def __init__(self, before: int, after: int, most_lines: int) -> None:
        self._before, self._after = before, after
        self._room = most_lines // 2
        self._first: list[Block] = []
        self._last: deque[Block] = deque()
        self._first_taken = self._last_taken = 0
        self._now = _Lines(Block(b"", 1), _NO_FEEDS)
        self._earlier = self._now
        self._owed = 0  # lines that the next block has to give

    def begin(self, block: Block, feeds: npt.NDArray[np.int64]) -> None:
        """The next block and its line feeds; first it gives what places in the block before still want."""
        self._earlier, self._now = self._now, _Lines(block, feeds)
        if self._owed:
            self._take(block.continued, self._forward(0, self._owed))

    def around(self, start: int, end: int) -> None:
        """The lines around [start, end) of the block; places come in ascending order."""
        now = self._now
        line = now.line_at(start)
        if line < self._before and not now.block.continued and not now.taken_to:
            self._take_earlier(self._before - line)
        self._take(now.start_of(line - self._before), self._forward(now.line_at(end), self._after + 1))

    def blocks(self) -> Iterator[Block]:
        """What was taken; where the middle was dropped, nothing stands for it."""
        yield from self._first
        yield from self._last

    def _forward(self, line: int, lines: int) -> int:
        """Where the line so many further begins; what the block has not is owed by the next."""
        self._owed = max(line + lines - len(self._now.feeds), 0)
        return self._now.start_of(line + lines)

    def _take_earlier(self, lines: int) -> None:
        earlier = self._earlier
        first = max(earlier.start_of(len(earlier.feeds) - lines), earlier.taken_to)
        if first < len(earlier.block.data) and earlier.block.data.endswith(b"\n"):
            self._keep(earlier.piece(first, len(earlier.block.data)))

    def _take(self, first: int, end: int) -> None:
        first = max(first, self._now.taken_to)
        if first < end:
            self._keep(self._now.piece(first, end))

    def _keep(self, piece: Block) -> None:
        if self._first_taken < self._room:
            self._first.append(piece)
            self._first_taken += _room_of(piece)
            return
        self._last.append(piece)
        self._last_taken += _room_of(piece)
        while self._last_taken > self._room and len(self._last) > 1:
            self._last_taken -= _room_of(self._last.popleft())


class _Lines:
    """A block with the places of its line feeds, and how much of it was taken."""

    def __init__(self, block: Block, feeds: npt.NDArray[np.int64]) -> None:
        self.block, self.feeds = block, feeds
        self.taken_to = block.continued

    def line_at(self, place: int) -> int:
        """Which line stands there, from 0."""
        return int(self.feeds.searchsorted(place))

    def start_of(self, line: int) -> int:
        """Where a line begins; the end of the block for lines behind it."""
        if line <= 0:
            return 0
        return int(self.feeds[line - 1]) + 1 if line <= len(self.feeds) else len(self.block.data)

    def piece(self, first: int, end: int) -> Block:
        """[first, end) as a block of its own, cut where it is large; nothing before `end` is taken any more."""
        self.taken_to = end
        data = self.block.data[first : min(end, first + _LARGEST_BYTES)]
        return Block(data, self.block.first_line + self.line_at(first))


def _room_of(piece: Block) -> int:
    return max(piece.data.count(b"\n"), 1) + len(piece.data) // _BYTES_OF_A_LINE
