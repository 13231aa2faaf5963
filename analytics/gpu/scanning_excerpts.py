"""Lines around what was found: places of a block while it is looked at, bytes behind it, cleaned lines at the end.

Where matches are many, most lines around them are dropped for later ones, so nothing is copied before its block ends.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
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
        self._first: list[_Piece] = []
        self._last: deque[_Piece] = deque()
        self._first_taken = self._last_taken = 0
        self._now = _Lines(Block(b"", 1), _NO_FEEDS)
        self._earlier = self._now
        self._owed = 0  # lines that the next block has to give

    def begin(self, block: Block, feeds: npt.NDArray[np.int64]) -> None:
        """The next block and its line feeds; first it gives what places in the block before still want."""
        self._copy()
        self._earlier, self._now = self._now, _Lines(block, feeds)
        if self._owed:
            self._take_to(0, self._owed)

    def around(self, line: int) -> None:
        """The lines around one of the block, from 0; they come in ascending order."""
        now = self._now
        if line < self._before and not now.taken_to:
            self._take_earlier(self._before - line)
        self._take_to(line - self._before, line + self._after + 1)

    def blocks(self) -> Iterator[Block]:
        """What was taken; where the middle was dropped, nothing stands for it."""
        for piece in (*self._first, *self._last):
            yield piece.as_block()

    def _take_to(self, first: int, end: int) -> None:
        """Lines from `first` to the one before `end`; what the block has not is owed by the next."""
        self._owed = max(end - self._now.count, 0)
        self._keep(self._now.piece(first, end))

    def _take_earlier(self, lines: int) -> None:
        earlier = self._earlier
        if earlier.block.data.endswith(b"\n"):
            self._keep(earlier.piece(earlier.count - lines, earlier.count))

    def _keep(self, piece: "_Piece | None") -> None:
        if piece is None:
            return
        if self._first_taken < self._room:
            self._first.append(piece)
            self._first_taken += piece.room
            return
        self._last.append(piece)
        self._last_taken += piece.room
        while self._last_taken > self._room and len(self._last) > 1:
            self._last_taken -= self._last.popleft().room

    def _copy(self) -> None:
        """Let go of the block: what is kept of it gets bytes of its own."""
        for pieces in (reversed(self._first), reversed(self._last)):
            for piece in pieces:
                if piece.copied:
                    break
                piece.copy()


@dataclass(slots=True)
class _Piece:
    """[start, end) of a block, or a copy of that; `room` is how many lines' place it takes."""

    data: bytes
    start: int
    end: int
    first_line: int
    room: int
    copied: bool = False

    def copy(self) -> None:
        self.data, self.copied = self.data[self.start : self.end], True

    def as_block(self) -> Block:
        return Block(self.data if self.copied else self.data[self.start : self.end], self.first_line)


class _Lines:
    """A block with the places of its line feeds, and how much of it was taken."""

    def __init__(self, block: Block, feeds: npt.NDArray[np.int64]) -> None:
        self.block, self.count = block, len(feeds)
        self.taken_to = block.continued
        self._feeds_array = feeds

    @cached_property
    def _feeds(self) -> list[int]:
        feeds: list[int] = self._feeds_array.tolist()
        return feeds

    def piece(self, first_line: int, end_line: int) -> _Piece | None:
        """Lines that were not yet taken, cut where they are large; None where there are none."""
        end = self._start_of(end_line)
        start = max(self._start_of(first_line), self.taken_to)
        if start >= end:
            return None
        self.taken_to = end
        line, stop = bisect_left(self._feeds, start), min(end, start + _LARGEST_BYTES)
        room = max(bisect_left(self._feeds, stop, line) - line, 1) + (stop - start) // _BYTES_OF_A_LINE
        return _Piece(self.block.data, start, stop, self.block.first_line + line, room)

    def _start_of(self, line: int) -> int:
        """Where a line begins; the end of the block for lines behind it."""
        if line <= 0:
            return 0
        return self._feeds[line - 1] + 1 if line <= self.count else len(self.block.data)
